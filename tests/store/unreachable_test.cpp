// A database that can't be reached at the start.
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit::store;

TEST_CASE("whoever opens a database that can't be reached is told what libpq says") {
  struct place {
    std::string host, words;
  };
  // The longest label of a name has 63 characters: of a longer one no name server is asked.
  for (const auto& [host, words] :
       {place{"127.0.0.1:1", "Connection refused"}, place{std::string(64, 'x'), "could not translate host name"}}) {
    auto opened = task_store::open("postgresql://me:sesame@" + host + "/x");
    REQUIRE(opened.has_error());
    const auto& message = opened.error().message;
    INFO(message);
    CHECK(message.starts_with("the store postgresql://me@"));
    CHECK(message.find(" can't be reached: ") != std::string::npos);
    CHECK(message.find(words) != std::string::npos);
    CHECK(message.ends_with("; see davit.store.url"));
    CHECK(message.find("asked again") == std::string::npos);
    CHECK(message.find("sesame") == std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
  }
}
