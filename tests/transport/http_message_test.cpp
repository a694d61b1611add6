#include "fixture/raw_client.hpp"
#include "fixture/test_engine.hpp"
#include "transport/http_message.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

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

TEST_CASE("a proxy's form of a target means what stands behind the host", "[http]") {
  for (auto [absolute, usual] : {std::pair{"http://a:7300/v1/tasks?limit=1", "/v1/tasks?limit=1"},
                                 {"https://a/x%20y", "/x%20y"},
                                 {"http://a", "/"},
                                 {"http://a?x=1", "/?x=1"}}) {
    INFO(absolute);
    server_request one, other;
    REQUIRE(read_target(absolute, one));
    REQUIRE(read_target(usual, other));
    CHECK(one.header("host").starts_with('a'));
    CHECK(one.path == other.path);
    CHECK(one.segments == other.segments);
    CHECK(one.query == other.query);
  }
}

TEST_CASE("a target that leads elsewhere or nowhere is refused", "[http]") {
  for (auto target :
       {"/../x", "/%2e%2e/x", "/%00", "/%", "/%zz", "ftp://a/x", "http:///x", "http://a/../x", "*", "", "x"}) {
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

TEST_CASE("a request of HTTP/1.1 names one host, and may name it in its target", "[http]") {
  davit::test::scratch_folder folder;
  io_runtime io{1};
  auto path = folder / "socket";
  auto server = http_server::listen(io, davit::transport::endpoint{path, {}, 0, {}}, {},
                                    [](exchange_ptr one) { one->respond({}); });
  REQUIRE(server.has_value());
  auto status = [&](const std::string& request) {
    davit::test::raw_client client{path};
    client.send(request);
    return client.read().substr(0, 12);
  };
  CHECK(status("GET / HTTP/1.1\r\nConnection: close\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") == "HTTP/1.1 200");
  CHECK(status("GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") == "HTTP/1.1 200");
  CHECK(status("GET / HTTP/1.0\r\n\r\n") == "HTTP/1.1 200");
  (*server)->stop();
  io.stop();
}
