// An agent that can't be healed once a file is there: CONFIG FILE [stuck | stuck-api]. Its API fails again and again;
// with "stuck", an actor never ends either. With "stuck-api" its scheduler fails again and again, and its API neither
// answers nor ends.
#include "api/api_server.hpp"
#include "cli/agent_process.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <atomic>
#include <filesystem>
#include <iostream>
#include <thread>

namespace {

void sleep_for_ever() {
  std::this_thread::sleep_for(std::chrono::hours{24});
}

/// Fails each scheduler that the supervisor knows, until there is no supervisor any more.
void fail_schedulers(caf::actor_system& system, const davit::supervisor_actor& supervisor) {
  caf::scoped_actor self{system};
  for (auto alive = true; alive;) {
    self->request(supervisor, std::chrono::seconds{10}, davit::find_atom_v)
      .receive([&](const davit::directory& all) { self->send_exit(all.scheduler, caf::exit_reason::out_of_workers); },
               [&](const caf::error&) { alive = false; });
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
}

} // namespace

int main(int count, char** arguments) {
  auto config = davit::read_configuration(arguments[1], {});
  for (const auto& one : config.mistakes)
    std::cerr << one.text() << std::endl;
  std::filesystem::path sign = arguments[2];
  std::string stuck = count > 3 ? arguments[3] : "";
  return davit::run_agent(std::move(config),
                          [=](caf::actor_system& system, davit::context_ptr context, davit::api_handles handles) {
                            static std::atomic<bool> first{true};
                            if (stuck == "stuck" && first.exchange(false))
                              system.spawn<caf::detached>([](caf::event_based_actor*) { sleep_for_ever(); });
                            auto supervisor = handles.supervisor;
                            auto api = davit::spawn_api(system, std::move(context), std::move(handles));
                            std::thread{[api, sign, stuck, supervisor, &system] {
                              while (!std::filesystem::exists(sign))
                                std::this_thread::sleep_for(std::chrono::milliseconds{20});
                              if (stuck == "stuck-api") {
                                caf::anon_send(api, davit::continuation{sleep_for_ever});
                                fail_schedulers(system, supervisor);
                              } else {
                                caf::anon_send_exit(api, caf::exit_reason::out_of_workers);
                              }
                            }}.detach();
                            return api;
                          });
}
