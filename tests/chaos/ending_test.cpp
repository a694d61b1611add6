// What becomes of an agent, and who ends it, when one of its actors fails repeatedly.
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"

#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct client : agent_client {
  using agent_client::speak_to;

  /// 0: nobody answers.
  int status(const std::string& method, const std::string& target, const std::string& body = {}) {
    try {
      return http(method, target, {}, body).status;
    } catch (const std::exception&) {
      return 0;
    }
  }
};

/// Fails whatever `find` gives, each time anew, until the restart budget is spent several times over.
void fail_again_and_again(test_agent& agent, const std::function<caf::actor(const directory&)>& find) {
  caf::actor last;
  for (int i = 0; i < 6; ++i) {
    caf::actor now;
    REQUIRE(eventually([&] {
      now = find(agent.process().addresses());
      return now && now != last;
    }));
    last = now;
    caf::anon_send_exit(now, caf::exit_reason::out_of_workers);
  }
}

/// A port of loopback that somebody listens on.
struct taken_port {
  int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::uint16_t number = 0;
  taken_port() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(socket, 1) == 0
        && ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0)
      number = ntohs(address.sin_port);
  }
  ~taken_port() { ::close(socket); }
};

engine_settings nobody(const scratch_folder& folder, const std::string& name) {
  engine_settings engine;
  engine.name = name;
  engine.endpoint = "unix://" + (folder / "no.sock");
  return engine;
}

} // namespace

TEST_CASE("an agent that can't be healed ends with 1 and the reason, whatever is stuck; nothing is accepted meanwhile",
          "[ending]") {
  auto stuck = GENERATE(as<std::string>{}, "", "stuck", "stuck-api");
  CAPTURE(stuck);
  scratch_folder folder;
  std::ofstream{folder / "davit.conf"} << "davit {\n  agent {\n    data-dir = \"" << (folder / "data")
                                       << "\"\n  }\n  api {\n    listen = \"unix://" << (folder / "api.sock")
                                       << "\"\n  }\n  engines {\n    e {\n      endpoint = \"unix://"
                                       << (folder / "no.sock") << "\"\n    }\n  }\n}\n";
  std::vector<std::string> words{DAVIT_FAILING, folder / "davit.conf", folder / "fail"};
  if (!stuck.empty())
    words.push_back(stuck);
  process agent{words};
  struct client client;
  client.speak_to(folder / "api.sock");
  REQUIRE(eventually([&] { return client.status("GET", "/healthz") == 200; }));
  std::ofstream{folder / "fail"} << "now";
  auto closed = eventually([&] {
    return agent.err().find("the agent ends") != std::string::npos
        || agent.out().find("the agent ends") != std::string::npos;
  });
  CHECK(closed);
  if (stuck == "stuck") { // it is still there
    CHECK(client.status("GET", "/healthz") != 200);
    CHECK(client.status("POST", "/v1/tasks", R"({"image": "x"})") / 100 != 2);
  } else if (stuck == "stuck-api") {
    CHECK(client.status("GET", "/healthz") == 503);
    CHECK(client.status("POST", "/v1/tasks", R"({"image": "x"})") == 503);
  }
  auto ended = agent.wait(60s);
  CAPTURE(ended.out, ended.err);
  CHECK(ended.exit_code == 1);
  CHECK((ended.out + ended.err).find(stuck == "stuck-api" ? "scheduler fails repeatedly" : "api fails repeatedly")
        != std::string::npos);
}

TEST_CASE("an agent whose port is taken ends at once with 1, and the last line says why", "[ending]") {
  scratch_folder folder;
  std::ofstream{folder / "davit.conf"} << "davit {\n  agent {\n    data-dir = \"" << (folder / "data")
                                       << "\"\n  }\n  engines {\n    e {\n      endpoint = \"unix://"
                                       << (folder / "no.sock") << "\"\n    }\n  }\n}\n";
  taken_port taken;
  process agent{{DAVIT_BINARY, "agent", "--config-file=" + (folder / "davit.conf"),
                 "--davit.api.listen=\"tcp://127.0.0.1:" + std::to_string(taken.number) + "\""}};
  auto ended = agent.wait(15s); // before the watchdog would end it
  CHECK(ended.exit_code == 1);
  auto lines = ended.out + ended.err;
  CHECK((std::filesystem::status(folder / "data").permissions() & std::filesystem::perms::others_all)
        == std::filesystem::perms::none);
  CHECK(lines.substr(lines.rfind('\n', lines.size() - 2) + 1).find("Address already in use") != std::string::npos);
}

TEST_CASE("a file at the place of the API's socket is left as it is", "[ending]") {
  scratch_folder folder;
  std::ofstream{folder / "davit.conf"} << "davit {\n  agent {\n    data-dir = \"" << (folder / "data")
                                       << "\"\n  }\n  engines {\n    e {\n      endpoint = \"unix://"
                                       << (folder / "no.sock") << "\"\n    }\n  }\n}\n";
  std::ofstream{folder / "precious"} << "precious";
  process agent{{DAVIT_BINARY, "agent", "--config-file=" + (folder / "davit.conf"),
                 "--davit.api.listen=\"unix://" + (folder / "precious") + "\""}};
  auto ended = agent.wait(15s);
  CHECK(ended.exit_code == 1);
  CHECK((ended.out + ended.err).find("there is a file of this name that is not a socket") != std::string::npos);
  std::ifstream file{folder / "precious"};
  CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "precious");
}

TEST_CASE("a sink or a reaper that fails for ever does not end its agent; an engine's connection or sandbox keeper "
          "makes that engine down",
          "[ending]") {
  scratch_folder folder;
  test_agent agent{{nobody(folder, "e"), nobody(folder, "f")}, [&](agent_settings& settings) {
                     sink_settings sink;
                     sink.name = "s";
                     sink.path = folder / "out.jsonl";
                     settings.logs.sinks.push_back(sink);
                   }};
  std::string why;
  fail_again_and_again(agent, [](const directory& all) {
    return all.sinks.empty() ? caf::actor{} : caf::actor_cast<caf::actor>(all.sinks.begin()->second);
  });
  CHECK(agent.process().alive(why));
  CHECK(eventually(
    [&] { return agent.http("GET", "/v1/sinks").body.find("sink s fails repeatedly") != std::string::npos; }));
  CHECK(agent.metric("davit_suspended{subtree=\"sink s\"}") == 1);
  fail_again_and_again(agent, [](const directory& all) { return caf::actor_cast<caf::actor>(all.reaper); });
  CHECK(agent.process().alive(why));
  fail_again_and_again(agent, [](const directory& all) {
    return all.engines.empty() ? caf::actor{} : caf::actor_cast<caf::actor>(all.engines.begin()->second);
  });
  CHECK(eventually([&] {
    return agent.http("GET", "/v1/engines").body.find("engine_connection e fails repeatedly") != std::string::npos;
  }));
  fail_again_and_again(agent, [](const directory& all) {
    return all.sandboxes.contains("f") ? caf::actor_cast<caf::actor>(all.sandboxes.at("f")) : caf::actor{};
  });
  CHECK(eventually([&] {
    return agent.http("GET", "/v1/engines").body.find("sandbox_keeper f fails repeatedly") != std::string::npos;
  }));
  CHECK(agent.process().alive(why));
  CHECK(agent.http("GET", "/healthz").status == 200);
}
