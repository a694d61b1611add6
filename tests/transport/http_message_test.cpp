#include "transport/http_message.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit::transport;

TEST_CASE("a target is taken apart into decoded segments and parameters", "[http]") {
  server_request request;
  REQUIRE(read_target("/v1//tasks/a%20b/?label=x%3Dy&name=&flag", request));
  CHECK(request.path == "/v1/tasks/a b");
  CHECK(request.segments == std::vector<std::string>{"v1", "tasks", "a b"});
  CHECK(request.query
        == std::vector<std::pair<std::string, std::string>>{{"label", "x=y"}, {"name", ""}, {"flag", ""}});
  CHECK(request.parameter("label") == "x=y");
  CHECK(request.parameter("none").empty());
}

TEST_CASE("a query without a name or a value is not a parameter", "[http]") {
  for (auto target : {"/logs?", "/logs?&", "/logs?&&"}) {
    INFO(target);
    server_request request;
    REQUIRE(read_target(target, request));
    CHECK(request.query.empty());
  }
  server_request request;
  REQUIRE(read_target("/logs?follow=1&", request));
  CHECK(request.query == std::vector<std::pair<std::string, std::string>>{{"follow", "1"}});
}

TEST_CASE("a target that leads elsewhere or nowhere is refused", "[http]") {
  for (auto target : {"/../x", "/%2e%2e/x", "/%00", "/%", "/%zz", "http://evil/", "*", "", "x"}) {
    INFO(target);
    server_request request;
    CHECK_FALSE(read_target(target, request));
  }
}

TEST_CASE("a header says how its body comes", "[http]") {
  server_response response{200, "text/plain", "four", {{"Retry-After", "1"}}};
  CHECK(render_header(response, {false, true, false})
        == "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nRetry-After: 1\r\nContent-Length: 4\r\nConnection: "
           "keep-alive\r\n"
           "X-Content-Type-Options: nosniff\r\n\r\n");
  CHECK(render_header(response, {true, false, false})
        == "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nRetry-After: 1\r\nTransfer-Encoding: chunked\r\nConnection: "
           "close\r\n"
           "X-Content-Type-Options: nosniff\r\n\r\n");
  response.status = 204;
  CHECK(render_header(response, {}).find("Content-") == render_header(response, {}).find("Content-Type-Options"));
  CHECK(render_chunk(std::string(17, 'x')) == "11\r\n" + std::string(17, 'x') + "\r\n");
}
