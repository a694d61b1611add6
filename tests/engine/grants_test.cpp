// An image that an owner has pulled with credentials is not another's for lying on the same engine.
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_registry.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fstream>
#include <sstream>

using namespace davit;
using namespace davit::test;

namespace {

const std::string password = "sesame-open";

/// An engine with a registry that asks for a password; the image app:1 is there, and on the engine is not.
struct engine_and_registry {
  test_engine engine{"a"};
  test_registry registry{password};
  token_file tokens;
  std::string a = tokens.make("a1", "submit,read", {"--owner", "team-a"}),
              b = tokens.make("b1", "submit,read", {"--owner", "team-b"}),
              c = tokens.make("c1", "submit,read", {"--owner", "team-c"});
  std::string listen = listen_address();

  engine_and_registry() {
    engine.docker("login -u user -p " + password + " " + host());
    registry.push(engine, "app:1");
    engine.docker("logout " + host());
  }
  std::string host() const {
    auto text = registry.image("");
    text.pop_back();
    return text;
  }
  engine_settings settings(start_mode start) const {
    auto all = engine.settings(2);
    all.sandboxes = start == start_mode::cold ? 0 : 2;
    return all;
  }
  std::function<void(agent_settings&)> owners(std::function<void(agent_settings&)> more = {}) const {
    return [this, more](agent_settings& settings) {
      settings.api_listen = {listen};
      settings.access.tokens_file = tokens.path;
      if (more)
        more(settings);
    };
  }
  /// As a config.json.
  std::string credentials(const std::string& word = password) const {
    return R"({"auths":{")" + host() + R"(":{"username":"user","password":")" + word + R"("}}})";
  }
  std::string digest() const {
    auto text = engine.docker("image inspect -f '{{index .RepoDigests 0}}' " + registry.image("app:1"));
    return text.substr(0, text.find('\n'));
  }
  void pull_by_hand() const {
    engine.docker("login -u user -p " + password + " " + host());
    engine.docker("pull -q " + registry.image("app:1"));
    engine.docker("logout " + host());
  }
};

task_spec of(const std::string& image, pull_policy pull, start_mode start = start_mode::automatic) {
  auto spec = busybox("echo ran");
  spec.image = image;
  spec.pull = pull;
  spec.start = start;
  return spec;
}

task run(agent_client& agent, const std::string& token, task_spec spec, const std::string& credentials = {}) {
  if (!credentials.empty())
    spec.secrets["DOCKER_AUTH_CONFIG"] = {credentials, false};
  agent.use_token(token);
  auto ended = agent.run(std::move(spec));
  if (ended.outcome == outcome::succeeded)
    CHECK(agent.logs(ended.id).out == "ran\n");
  return ended;
}

/// What an owner is told, without the image's name.
std::string told(const task& ended, const std::string& image) {
  auto text = to_string(ended.outcome.value()) + ": " + ended.message + " / " + ended.attempts.back().evidence.start;
  auto slash = image.find('/'), colon = image.rfind(':');
  for (const auto& name : {image, "/v2" + image.substr(slash, colon - slash) + "/"})
    for (auto at = text.find(name); at != std::string::npos; at = text.find(name))
      text.replace(at, name.size(), "IMAGE");
  return text;
}

/// The sandboxes that wait for a task.
std::string waiting_in(const test_engine& engine) {
  return engine.docker("ps -q --filter name=davit-sandbox | sort");
}

} // namespace

TEST_CASE("an image that one owner pulled with credentials is another's only after the registry has given it to them",
          "[images][grants]") {
  auto start = GENERATE(start_mode::warm, start_mode::cold);
  engine_and_registry on;
  test_agent agent{{on.settings(start)}, on.owners()};
  auto image = on.registry.image("app:1"), missing = on.registry.image("none:1");
  auto spec = [&](pull_policy pull) { return of(image, pull, start); };
  auto by_digest = [&](pull_policy pull) { return of(on.digest(), pull, start); };
  CHECK(run(agent, on.a, spec(pull_policy::missing), on.credentials()).outcome == outcome::succeeded);
  if (start == start_mode::warm)
    REQUIRE(eventually([&] { return !waiting_in(on.engine).empty(); }));
  std::istringstream waiting{waiting_in(on.engine)};
  auto refused = [&](const std::string& who, const std::string& words = {}) {
    for (auto pull : {pull_policy::never, pull_policy::missing, pull_policy::always}) {
      auto theirs = run(agent, who, spec(pull), words);
      CHECK(theirs.outcome == outcome::image_unavailable);
      // As if it were nowhere.
      CHECK(told(theirs, image) == told(run(agent, who, of(missing, pull, start), words), missing));
      CHECK(run(agent, who, by_digest(pull), words).outcome == outcome::image_unavailable);
    }
  };
  refused(on.b);
  refused(on.b, on.credentials("wrong-word"));
  for (std::string one; waiting >> one;) // nor did they take what waits for the other
    CHECK(waiting_in(on.engine).find(one) != std::string::npos);
  for (auto pull : {pull_policy::never, pull_policy::missing}) {
    CHECK(run(agent, on.a, spec(pull)).outcome == outcome::succeeded);
    CHECK(run(agent, on.a, by_digest(pull)).outcome == outcome::succeeded);
  }
  agent.restart();
  refused(on.b);
  CHECK(run(agent, on.a, spec(pull_policy::never)).outcome == outcome::succeeded);
  CHECK(run(agent, on.b, spec(pull_policy::missing), on.credentials()).outcome == outcome::succeeded);
  CHECK(run(agent, on.b, spec(pull_policy::never)).outcome == outcome::succeeded);
  agent.restart();
  on.registry.stop();
  for (const auto& owner : {on.a, on.b}) {
    CHECK(run(agent, owner, spec(pull_policy::missing)).outcome == outcome::succeeded);
    CHECK(run(agent, owner, by_digest(pull_policy::never)).outcome == outcome::succeeded);
  }
  refused(on.c);
  refused(on.c, on.credentials()); // nobody says that they are good
}

TEST_CASE("containers without an init are looked at too", "[images][grants]") {
  engine_and_registry on;
  test_agent agent{{on.settings(start_mode::cold)}, on.owners()};
  auto spec = of(on.registry.image("app:1"), pull_policy::missing);
  spec.init = false;
  CHECK(run(agent, on.a, spec, on.credentials()).outcome == outcome::succeeded);
  CHECK(run(agent, on.b, spec).outcome == outcome::image_unavailable);
  CHECK(run(agent, on.a, spec).outcome == outcome::succeeded);
  CHECK(run(agent, on.b, spec, on.credentials()).outcome == outcome::succeeded);
}

TEST_CASE("a private image is private by its id too", "[images][grants]") {
  engine_and_registry on;
  test_agent agent{{on.settings(start_mode::cold)}, on.owners([](agent_settings& s) { s.policy.allow_ids = true; })};
  // Another than the image that the engine has already.
  shell("d=$(mktemp -d) && mkdir -p $d/bin && cp /bin/busybox $d/bin/sh && echo x > $d/mark && tar -C $d -c . | docker "
        "-H unix://"
        + on.engine.socket() + " import - busybox:test >/dev/null && rm -rf $d");
  on.engine.docker("login -u user -p " + password + " " + on.host());
  on.registry.push(on.engine, "own:1");
  on.engine.docker("logout " + on.host());
  on.engine.docker("rmi -f busybox:test");
  auto image = on.registry.image("own:1");
  CHECK(run(agent, on.a, of(image, pull_policy::missing), on.credentials()).outcome == outcome::succeeded);
  auto id = on.engine.docker("image inspect -f '{{.Id}}' " + image);
  id = id.substr(0, id.find('\n'));
  CHECK(run(agent, on.b, of(id, pull_policy::missing)).outcome == outcome::image_unavailable);
  CHECK(run(agent, on.a, of(id, pull_policy::missing)).outcome == outcome::succeeded);
}

TEST_CASE("an image that was on the engine before stays every owner's, whoever pulls it with credentials",
          "[images][grants]") {
  engine_and_registry on;
  test_agent agent{{on.settings(start_mode::cold)}, on.owners()};
  on.pull_by_hand();
  auto image = on.registry.image("app:1");
  CHECK(run(agent, on.b, of(image, pull_policy::never)).outcome == outcome::succeeded);
  CHECK(run(agent, on.a, of(image, pull_policy::always), on.credentials("wrong-word")).outcome
        == outcome::image_unavailable);
  CHECK(run(agent, on.b, of(image, pull_policy::never)).outcome == outcome::succeeded);
  CHECK(run(agent, on.a, of(image, pull_policy::always), on.credentials()).outcome == outcome::succeeded);
  CHECK(run(agent, on.b, of(image, pull_policy::never)).outcome == outcome::succeeded);
  CHECK(run(agent, on.c, of(on.digest(), pull_policy::never)).outcome == outcome::succeeded);
}

TEST_CASE("what the agent's own credentials can pull is for every owner", "[images][grants]") {
  engine_and_registry on;
  auto config = on.tokens.folder / "config.json";
  std::ofstream{config} << on.credentials();
  test_agent agent{{on.settings(start_mode::cold)}, on.owners([&](agent_settings& s) { s.docker_config = config; })};
  auto image = on.registry.image("app:1");
  CHECK(run(agent, on.a, of(image, pull_policy::missing), on.credentials()).outcome == outcome::succeeded);
  CHECK(run(agent, on.b, of(image, pull_policy::never)).outcome == outcome::image_unavailable);
  CHECK(run(agent, on.b, of(image, pull_policy::missing)).outcome == outcome::succeeded);
  on.registry.stop();
  CHECK(run(agent, on.c, of(image, pull_policy::missing)).outcome == outcome::succeeded);
}

TEST_CASE("what came by a pull during which the agent died is nobody's until the registry has given it to them",
          "[images][grants]") {
  engine_and_registry on;
  cutting_proxy way{static_cast<std::uint16_t>(std::stoi(on.host().substr(on.host().find(':') + 1)))};
  auto image = "127.0.0.1:" + std::to_string(way.port()) + "/app:1";
  auto words = R"({"auths":{"127.0.0.1:)" + std::to_string(way.port()) + R"(":{"username":"user","password":")"
             + password + R"("}}})";
  test_daemon agent{{on.settings(start_mode::cold)}, {"--davit.api.tokens-file=" + on.tokens.path}};
  agent.start();
  way.silence(true);
  auto spec = of(image, pull_policy::missing);
  spec.secrets["DOCKER_AUTH_CONFIG"] = {words, false};
  agent.use_token(on.a);
  auto first = agent.submit(spec);
  agent.await_phase(first, "pull");
  REQUIRE(eventually(
    [&] { return shell("sqlite3 " + agent.data() + "/davit.db 'SELECT COUNT(*) FROM image_pull'") == "1\n"; }));
  agent.kill();
  on.pull_by_hand(); // as the engine may have ended it
  on.engine.docker("tag " + on.registry.image("app:1") + " " + image);
  agent.start();
  CHECK(run(agent, on.b, of(image, pull_policy::never)).outcome == outcome::image_unavailable);
  CHECK(run(agent, on.c, of(on.registry.image("app:1"), pull_policy::never)).outcome == outcome::succeeded);
  way.silence(false);
  agent.use_token(on.a);
  auto ended = agent.wait(first);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(run(agent, on.b, of(image, pull_policy::never)).outcome == outcome::image_unavailable);
  CHECK(run(agent, on.a, of(image, pull_policy::never)).outcome == outcome::succeeded);
}
