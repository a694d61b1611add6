// The store keeper or the log keeper, alone in a system of its own.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/log_keeper.hpp"
#include "actors/metrics.hpp"
#include "actors/store_keeper.hpp"
#include "configuration/configuration.hpp"
#include "fixture/test_engine.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <optional>

namespace davit::test {

using namespace std::chrono_literals;

struct keeper_fixture {
  scratch_folder folder;
  caf_configuration config;
  transport::io_runtime io;
  caf::actor_system system{config};
  context_ptr context = with([](auto&) {});

  context_ptr with(std::function<void(log_settings&)> change) {
    agent_settings settings;
    settings.logs.max_bytes = byte_size{1000};
    change(settings.logs);
    settings.name = "a";
    settings.data_dir = folder.path();
    settings.store_url = "sqlite://" + (folder / "davit.db");
    std::string wrong;
    auto rules = policy::make(settings.policy, wrong);
    return std::make_shared<const agent_context>(
      agent_context{settings, io, rules, std::make_shared<metrics>(system), nullptr});
  }

  caf::scoped_actor self{system};

  ~keeper_fixture() { io.stop(); }

  template <class Result, class Actor, class... Args>
  Result ask(const Actor& whom, Args... args) {
    std::optional<Result> result;
    self->request(whom, 30s, std::move(args)...)
      .receive([&](Result& answer) { result = std::move(answer); }, [](const caf::error& e) { FAIL(text_of(e)); });
    return std::move(*result);
  }

  template <class Result, class Actor, class... Args>
  caf::error refusal(const Actor& whom, Args... args) {
    caf::error result;
    self->request(whom, 30s, std::move(args)...)
      .receive([](const Result&) {}, [&](const caf::error& e) { result = e; });
    return result;
  }

  template <class Actor, class... Args>
  caf::error failure(const Actor& whom, Args... args) {
    caf::error result;
    self->request(whom, 30s, std::move(args)...).receive([] {}, [&](const caf::error& e) { result = e; });
    return result;
  }
};

inline log_batch batch_of(const attempt_key& key, const log_lease& lease, std::string bytes) {
  return {key, lease.source, bytes.size(), {{log_stream::out, std::chrono::system_clock::now(), bytes}}};
}

} // namespace davit::test
