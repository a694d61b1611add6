#include "fixture/scripted_engine.hpp"
#include "transport/engine_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <catch2/catch_test_macros.hpp>

#include <future>
#include <optional>

using namespace davit;
using namespace davit::test;
using namespace davit::transport;
using namespace std::chrono_literals;

TEST_CASE("connecting can be cancelled in each of its calls, also while the engine's id is looked up", "[client]") {
  for (const auto* path : {"/_ping", "/version", "/info", "/volumes/davit-engine"}) {
    CAPTURE(path);
    call_options options;
    options.control = std::make_shared<call_control>();
    options.until = within(30s); // one that isn't cancelled ends as timed_out
    std::promise<void> over;
    scripted_engine engine{"a", [&, ended = over.get_future().share()](const std::string& request, auto&) {
                             if (request.find(path) == std::string::npos)
                               return false;
                             options.control->cancel();
                             ended.wait(); // it does not answer
                             return true;
                           }};
    boost::asio::io_context context;
    auto client = std::make_shared<engine_client>(context, *endpoint_of(engine.settings()));
    std::optional<result<engine_info>> answer;
    boost::asio::co_spawn(client->executor(), client->connect(options),
                          [&](std::exception_ptr failed, result<engine_info> value) {
                            if (!failed)
                              answer.emplace(std::move(value));
                          });
    context.run();
    over.set_value();
    REQUIRE(answer);
    REQUIRE_FALSE(answer->has_value());
    CHECK(answer->error().code == engine_errc::cancelled);
  }
}
