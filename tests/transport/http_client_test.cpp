// What a client's answer is when the client has gone.
#include "transport/http_client.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include <memory>

using namespace davit;
using namespace davit::transport;

TEST_CASE("an answer outlives its client, the connection and the io_context, whether the connection stays or not",
          "[http]") {
  io_runtime io{1};
  auto made = http_server::listen(io, endpoint{"", "127.0.0.1", 0, {}}, {}, when_whole([](exchange_ptr one) {
                                    server_response answer{200, "text/plain", "hello", {}};
                                    answer.headers.emplace_back("X-Word", "kept");
                                    one->respond(std::move(answer));
                                  }));
  REQUIRE(made.has_value());
  for (bool stays : {true, false}) {
    result<http_response> answer = error{};
    {
      boost::asio::io_context context{1};
      auto client = std::make_shared<http_client>(context.get_executor(), (*made)->where());
      http_request request;
      request.target = "/";
      if (!stays)
        request.headers.emplace_back("Connection", "close");
      boost::asio::co_spawn(
        context, [&]() -> awaitable<void> { answer = co_await client->request(request, {}); }, boost::asio::detached);
      context.run();
    }
    REQUIRE(answer.has_value());
    CHECK(answer->body == "hello");
    CHECK(answer->header("x-word") == "kept");
    CHECK(answer->header("x-none").empty());
  }
  (*made)->stop();
  io.stop();
}
