// An agent whose API fails again and again once a file is there: CONFIG FILE [stuck]. With "stuck", an actor never ends either.
#include "api/api_server.hpp"
#include "cli/agent_process.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <atomic>
#include <filesystem>
#include <iostream>
#include <thread>

int main(int count, char** arguments) {
  auto config = davit::read_configuration(arguments[1], {});
  for (const auto& one : config.mistakes)
    std::cerr << one.text() << std::endl;
  std::filesystem::path sign = arguments[2];
  auto stuck = count > 3;
  return davit::run_agent(std::move(config), [=](caf::actor_system& system, davit::context_ptr context, davit::api_handles addresses) {
    static std::atomic<bool> first{true};
    if (stuck && first.exchange(false))
      system.spawn<caf::detached>([](caf::event_based_actor*) { std::this_thread::sleep_for(std::chrono::hours{24}); });
    auto api = davit::spawn_api(system, std::move(context), std::move(addresses));
    std::thread{[api, sign] {
      while (!std::filesystem::exists(sign))
        std::this_thread::sleep_for(std::chrono::milliseconds{20});
      caf::anon_send_exit(api, caf::exit_reason::out_of_workers);
    }}.detach();
    return api;
  });
}
