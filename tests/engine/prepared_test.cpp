// Inputs that a task finds in its image are exactly what unpacking brings, and nobody else's.
#include "actors/prepared_plan.hpp"
#include "fixture/file_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_random.hpp>

#include <map>
#include <random>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// Odd names, modes and times, links, empty folders, a sparse file; and so many files that unpacking takes its time.
const char* const odd_files = R"sh(
  mkdir -p empty 'with blank/deep/er' .hidden
  printf 'int main() {}\n' > main.cpp; printf '#!/bin/sh\necho tool\n' > tool; chmod 755 tool
  printf x > 'with blank/ünïcödé 文.txt'; printf y > "$(printf 'new\nline')"; : > .hidden/empty
  printf '\377' > "$(printf 'bad\377utf8')"
  ln -s ../tool .hidden/link; ln -s ../../above above; ln -s /nowhere dangling
  ln -s "$(printf 'l%.0s' $(seq 200))" long-link
  n=$(printf 'n%.0s' $(seq 250)); mkdir -p "$n/$n"; printf z > "$n/$n/$n"
  head -c 300000 /dev/urandom > random; truncate -s 1M sparse; printf end >> sparse
  chmod 0600 random; chmod 0700 .hidden; chmod 0444 main.cpp; chmod 0555 empty
  touch -d '1999-12-31 23:59:59.123456789' main.cpp; touch -d '2001-02-03' empty; touch -h -d '2005-05-05' dangling
  mkdir many; for i in $(seq 1000); do printf $i > many/f$i; done
)sh";

/// Everything that can be seen of the files, but for what differs between file systems: sizes of folders, numbers of
/// links to them, and when the input's own folder was made; and when the image's folder in it was, which Docker forgets
/// as it fills a volume.
const char* const look = R"sh(
  cd "$1" || exit 1
  find . -mindepth 1 ! -path ./sub -print0 | sort -z | xargs -0 stat -c '%N %f %u:%g %y'
  find . -type f -print0 | sort -z | xargs -0 stat -c '%n %s %h'
  find . -type f -print0 | sort -z | xargs -0 cat | sha256sum
  stat -c '%n %f %u:%g' .
  p=$1; while [ "$p" != / ]; do p=$(dirname "$p"); stat -c '%n %f %u:%g' "$p"; done
  id; pwd
)sh";

const std::string prepared_evidence = "cold: its inputs were in a prepared image";

std::string folder_with(const scratch_folder& scratch, const std::string& name, const std::string& script) {
  auto path = scratch / name;
  shell("mkdir -p " + path + " && cd " + path + " && { " + script + "\n}");
  return path;
}

task_spec looking(const std::string& tree, const std::string& path) {
  auto spec = busybox("");
  spec.command = {"sh", "-c", look, "sh", path};
  spec.inputs.push_back({tree, path});
  return spec;
}

bool was_prepared(const task& ended) {
  return ended.attempts.back().evidence.start == prepared_evidence;
}

std::string prepared_images_of(const any_engine& engine) {
  return engine.docker("images -q --filter reference='davit.invalid/*/*'");
}

std::size_t count_of(const std::string& lines) {
  return static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'));
}

engine_settings settings_of(const any_engine& engine) {
  auto settings = engine.settings(4);
  settings.prepared_images = byte_size{10ull << 30};
  settings.sandboxes = 0;
  return settings;
}

/// Has the task's inputs unpacked until there is an image with them.
void prepare(test_agent& agent, const any_engine& engine, const task_spec& spec) {
  auto before = count_of(prepared_images_of(engine));
  for (int i = 0; i < 2; ++i) {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    REQUIRE(ended.outcome == outcome::succeeded);
    REQUIRE(!was_prepared(ended));
  }
  REQUIRE(eventually([&] { return count_of(prepared_images_of(engine)) == before + 1; }, 60s));
  REQUIRE(eventually([&] { return agent.metric("davit_prepared_size_bytes_total") > 0; }));
}

/// An image with folders, users and a configuration of its own.
void make_furnished(const any_engine& engine) {
  engine.docker("run --network none --name furnished busybox:test sh -c '"
                "mkdir -p /there/sub /etc; echo old > /there/old; echo old > /there/sub/old; chmod 0711 /there; "
                "chown 7:8 /there; echo root:x:0:0::/:/bin/sh > /etc/passwd; "
                "echo someone:x:1234:99::/:/bin/sh >> /etc/passwd; echo crowd:x:99: > /etc/group'");
  engine.docker(R"(commit -c 'ENV A=b' -c 'WORKDIR /there' -c 'LABEL of.image=x' -c 'LABEL davit.prepared=sha256:1' )"
                R"(-c 'VOLUME /elsewhere' -c 'HEALTHCHECK CMD true' -c 'EXPOSE 80' )"
                R"(furnished furnished:test)");
  engine.docker("rm furnished");
}

} // namespace

TEST_CASE("a prepared image has exactly what unpacking brings, and the configuration of the task's own",
          "[files][prepared]") {
  static const test_engine engine{"a"};
  static const bool furnished = (make_furnished(engine), true);
  CHECK(furnished);
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  auto tree = upload(agent, folder_with(scratch, "odd", odd_files));
  auto path = GENERATE(as<std::string>{}, "/src", "/deep/er/src/", "/there", "/there/sub");
  auto user = GENERATE(as<std::string>{}, "", "1000:1000", "someone");
  CAPTURE(path, user);
  auto spec = looking(tree, path);
  spec.image = "furnished:test";
  spec.user = user;
  spec.outputs["all"].path = path;
  prepare(agent, engine, spec);
  auto cold = agent.run([&] {
    auto unpacked = spec;
    unpacked.start = start_mode::cold;
    return unpacked;
  }());
  auto warm = agent.run(spec);
  INFO(warm.message << ' ' << warm.attempts.back().evidence.start);
  REQUIRE(warm.outcome == outcome::succeeded);
  CHECK(was_prepared(warm));
  CHECK(!was_prepared(cold));
  CHECK(agent.logs(warm.id).out == agent.logs(cold.id).out);
  if (path != "/there")
    CHECK(output_of(warm, "all").tree == output_of(cold, "all").tree);
  CHECK(warm.attempts.back().image_id == cold.attempts.back().image_id);
  auto name
    = engine.docker("images --format '{{.Repository}}:{{.Tag}}' --filter reference='davit.invalid/*/*' | head -1");
  name.pop_back();
  auto config = "image inspect -f '{{json .Config}} {{.Architecture}} {{.Os}}' ";
  CHECK(engine.docker(config + name) == engine.docker(config + std::string{"furnished:test"}));
  CHECK(agent.metric("davit_prepared_tasks_total{result=\"hit\"}") == 1);
  CHECK(eventually([&] { return engine.leftovers().empty(); }));
}

TEST_CASE("a file that a task writes to in its image is not seen by the next one", "[files][prepared]") {
  static const test_engine engine{"a"};
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  auto folder = folder_with(scratch, "files", odd_files);
  auto tree = upload(agent, folder);
  auto spec
    = busybox("cat /src/tool; echo x >> /src/tool; rm -r /src/many; ls /src/many 2>/dev/null | wc -l; "
              "mkdir /src/made && mv /src/made /src/moved && mv '/src/with blank' /src/other && ls /src/other | wc -l");
  spec.inputs.push_back({tree, "/src"});
  spec.outputs["all"].path = "/src";
  prepare(agent, engine, spec);
  std::string first;
  for (int i = 0; i < 3; ++i) {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    REQUIRE(ended.outcome == outcome::succeeded);
    CHECK(was_prepared(ended));
    CHECK(agent.logs(ended.id).out == "#!/bin/sh\necho tool\n0\n2\n");
    auto out = output_of(ended, "all");
    REQUIRE(out.state == output_state::kept);
    auto files = read_archive(agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/outputs/all")).files;
    CHECK(files.at("tool") == "#!/bin/sh\necho tool\nx\n");
    CHECK(!files.contains("many/f1"));
  }
}

TEST_CASE("where it is not sure that it is the same, inputs are unpacked each time", "[files][prepared]") {
  static const test_engine engine{"a"};
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  auto many = "mkdir many; for i in $(seq 1000); do : > many/f$i; done; ";
  auto tree = upload(agent, folder_with(scratch, "many", many));
  auto spec = looking(tree, "/src");
  auto how = GENERATE(as<std::string>{}, "hard links", "whiteouts", "few", "volume", "tmpfs", "read only", "cold",
                      "nested", "image's volume", "image's link", "off");
  CAPTURE(how);
  if (how == "hard links")
    spec.inputs[0].tree = upload(agent, folder_with(scratch, "links", many + std::string{"ln many/f1 other"}));
  else if (how == "whiteouts")
    spec.inputs[0].tree = upload(agent, folder_with(scratch, "wh", many + std::string{": > many/.wh.f2"}));
  else if (how == "few")
    spec.inputs[0].tree = upload(agent, folder_with(scratch, "few", "echo x > x"));
  else if (how == "volume")
    spec.mounts.push_back({mount_type::volume, "", "/src/many", false, {}});
  else if (how == "tmpfs")
    spec.mounts.push_back({mount_type::tmpfs, "", "/src/x", false, {}});
  else if (how == "read only")
    spec.read_only = true;
  else if (how == "cold")
    spec.start = start_mode::cold;
  else if (how == "nested")
    spec.inputs.push_back({tree, "/src/other"});
  else if (how.starts_with("image's")) {
    engine.docker("run --network none --name made busybox:test sh -c 'mkdir -p /real; ln -s /real /link'");
    engine.docker("commit -c 'VOLUME /src/many' made strange:test");
    engine.docker("rm made");
    spec.image = "strange:test";
    if (how == "image's link")
      spec = looking(tree, "/link/src"), spec.image = "strange:test";
  }
  auto off = settings_of(engine);
  off.prepared_images = {};
  test_agent never{{off}};
  auto& with = how == "off" ? never : agent;
  if (how == "off")
    upload(never, scratch / "many");
  for (int i = 0; i < 4; ++i) {
    auto ended = with.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    REQUIRE(ended.outcome == outcome::succeeded);
    CHECK(!was_prepared(ended));
  }
  CHECK(prepared_images_of(engine).empty());
}

TEST_CASE("an owner's inputs are in no image of another's tasks, and no task can name such an image",
          "[files][prepared][owners]") {
  static const test_engine engine{"a"};
  token_file tokens;
  auto a = tokens.make("a", "submit,read,metrics", {"--owner", "team-a"}),
       b = tokens.make("b", "submit,read", {"--owner", "team-b"});
  auto listen = listen_address();
  test_agent agent{{settings_of(engine)}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};
  scratch_folder scratch;
  auto folder = folder_with(scratch, "odd", odd_files);
  agent.use_token(a);
  auto spec = looking(upload(agent, folder), "/src");
  prepare(agent, engine, spec);
  CHECK(was_prepared(agent.run(spec)));
  agent.use_token(b);
  CHECK(upload(agent, folder) == spec.inputs[0].tree);
  CHECK(!was_prepared(agent.run(spec)));
  auto named = busybox("cat /src/tool");
  named.image
    = engine.docker("images --format '{{.Repository}}:{{.Tag}}' --filter reference='davit.invalid/*/*' | head -1");
  named.image.pop_back();
  named.pull = pull_policy::never;
  CHECK(agent.http("POST", "/v1/tasks", {}, json::write(json::to_value(named))).status == 403);
  named.image = engine.docker("images -q --no-trunc --filter reference='davit.invalid/*/*' | head -1").substr(0, 71);
  CHECK(agent.http("POST", "/v1/tasks", {}, json::write(json::to_value(named))).status == 403);
}

TEST_CASE("whatever becomes of images, each task has its inputs", "[files][prepared]") {
  test_engine engine{"a"};
  engine.docker("tag busybox:test name:test");
  engine.docker("create --network none --name keeps-the-base name:test true");
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  auto spec = looking(upload(agent, folder_with(scratch, "odd", odd_files)), "/src");
  spec.image = "name:test";
  prepare(agent, engine, spec);
  auto good = agent.run(spec);
  CHECK(was_prepared(good));
  auto runs = [&] {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.logs(ended.id).out == agent.logs(good.id).out);
    return was_prepared(ended);
  };
  SECTION("an operator removes it") {
    REQUIRE(eventually([&] { return count_of(engine.docker("ps -aq")) == 1; }));
    engine.docker("image prune -af");
    CHECK(prepared_images_of(engine).empty());
    CHECK(!runs());
    CHECK(!runs());
    CHECK(eventually([&] { return count_of(prepared_images_of(engine)) == 1; }, 60s));
    CHECK(eventually([&] { return runs(); }, 60s));
  }
  SECTION("its base's name stands for another image") {
    engine.docker("run --network none --name made busybox:test sh -c 'mkdir /src; echo new > /src/new'");
    engine.docker("commit made name:test");
    engine.docker("rm made");
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(!was_prepared(ended));
    CHECK(agent.logs(ended.id).out.find("./new") != std::string::npos);
    CHECK(ended.attempts.back().image_id != good.attempts.back().image_id);
    engine.docker("tag busybox:test name:test");
    CHECK(runs());
  }
  SECTION("its agent ends, and another comes") {
    agent.restart();
    CHECK(runs());
  }
  SECTION("its base is gone when an agent comes") {
    engine.docker("rm keeps-the-base");
    engine.docker("create --network none --name made busybox:test true");
    engine.docker("export -o " + (scratch / "other.tar") + " made");
    engine.docker("import " + (scratch / "other.tar") + " other:test");
    engine.docker("rm made");
    REQUIRE(eventually([&] { return engine.docker("ps -aq").empty(); }));
    engine.docker("rmi name:test busybox:test");
    agent.restart();
    spec.image = "other:test";
    CHECK(!runs());
    CHECK(eventually([&] { return prepared_images_of(engine).empty(); }));
  }
  SECTION("the limit is lower now") {
    auto lower = settings_of(engine);
    lower.prepared_images = byte_size{1};
    test_agent other{{lower}};
    auto same = spec;
    upload(other, scratch / "odd");
    CHECK(!was_prepared(other.run(same)));
    CHECK(eventually([&] { return prepared_images_of(engine).empty(); }));
    CHECK(!runs());
  }
}

TEST_CASE("the longest unused go when the next one needs the room", "[files][prepared]") {
  static const test_engine engine{"a"};
  auto settings = settings_of(engine);
  settings.prepared_images = byte_size{9 << 20};
  test_agent agent{{settings}};
  scratch_folder scratch;
  auto spec_of = [&](const std::string& name) {
    auto folder = folder_with(
      scratch, name, "mkdir d; for i in $(seq 1000); do echo " + name + " > d/$i; done; head -c 4M /dev/urandom > big");
    return looking(upload(agent, folder), "/src");
  };
  auto a = spec_of("a"), b = spec_of("b"), c = spec_of("c"); // 4 MiB each
  auto had = [&](const task_spec& spec) {
    auto ended = agent.run(spec);
    REQUIRE(ended.outcome == outcome::succeeded);
    return was_prepared(ended);
  };
  prepare(agent, engine, a);
  prepare(agent, engine, b);
  CHECK(had(a));
  for (int i = 0; i < 2; ++i)
    CHECK(!had(c));
  CHECK(eventually([&] { return had(c); }, 60s));
  CHECK(had(a));
  CHECK(!had(b));
  CHECK(count_of(prepared_images_of(engine)) == 2);
}

TEST_CASE("random tasks, removals and restarts: every task sees its own inputs", "[files][prepared]") {
  test_engine engine{"a"};
  engine.docker("create --network none --name keeps-the-base busybox:test true");
  auto seed = GENERATE(take(1, random(1u, 1'000'000u)));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto pick = [&](int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); };
  token_file tokens;
  const std::string owners[]
    = {tokens.make("a", "submit,read", {"--owner", "team-a"}), tokens.make("b", "submit,read", {"--owner", "team-b"})};
  auto listen = listen_address();
  test_agent agent{{settings_of(engine)}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};
  scratch_folder scratch;
  std::string trees[3], expected[3][2];
  for (int i = 0; i < 3; ++i) {
    auto folder = folder_with(scratch, std::to_string(i),
                              "mkdir d; for i in $(seq 1000); do echo $i" + std::to_string(i) + " > d/$i; done");
    for (const auto& owner : owners) {
      agent.use_token(owner);
      trees[i] = upload(agent, folder);
    }
  }
  int prepared = 0;
  for (int i = 0; i < 60; ++i) {
    auto what = pick(20);
    if (what == 0) {
      engine.docker("image prune -af");
    } else if (what == 1) {
      agent.restart();
      agent.use_token(owners[0]);
    } else if (what == 2) {
      auto one = prepared_images_of(engine).substr(0, 12);
      if (!one.empty())
        engine.docker("rmi -f " + one + " || true");
    } else {
      auto tree = pick(3) / 2, where = pick(3) / 2; // some more often
      auto spec = looking(trees[tree], where == 0 ? "/src" : "/deep/src");
      agent.use_token(owners[pick(2)]);
      auto ended = agent.run(spec);
      INFO(i << ' ' << ended.message << ' ' << ended.attempts.back().evidence.start);
      REQUIRE(ended.outcome == outcome::succeeded);
      prepared += was_prepared(ended);
      auto seen = agent.logs(ended.id).out;
      auto& same = expected[tree][where];
      if (same.empty())
        same = seen;
      CHECK(seen == same);
    }
  }
  CHECK(expected[0][0] != expected[1][0]);
  CHECK(prepared > 0);
}
