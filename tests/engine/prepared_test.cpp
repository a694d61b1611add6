// Trees that an engine has ready are exactly what unpacking brings, and nobody else's.
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
#include <set>
#include <sstream>

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
  n=$(printf 'n%.0s' $(seq 120)); mkdir -p "$n/$n"; printf z > "$n/$n/$n$n"
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

const std::string prepared_evidence = "cold: its files were ready on the engine";

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

/// The marks of trees that the engine has ready.
std::string trees_of(const any_engine& engine) {
  return engine.docker("volume ls -q --filter label=davit.lower");
}

/// The volumes that were made for containers.
std::string overlays_of(const any_engine& engine) {
  return engine.docker("volume ls -q --filter label=davit.used-by");
}

void remove_volumes(const any_engine& engine, const std::string& names, const std::string& which = {}) {
  std::istringstream list{engine.docker("volume ls -q --filter name=" + names + which)};
  for (std::string name; std::getline(list, name);)
    engine.docker("volume rm " + name + " 2>&1 || true");
}

std::size_t count_of(const std::string& lines) {
  return static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'));
}

engine_settings settings_of(const any_engine& engine) {
  auto settings = engine.settings(4);
  settings.prepared_trees = byte_size{10ull << 30};
  settings.sandboxes = 0;
  return settings;
}

/// Has the task's inputs unpacked until the engine has them ready.
void prepare(test_agent& agent, const task_spec& spec) {
  auto bytes = agent.metric("davit_prepared_size_bytes_total");
  for (int i = 0; i < 2; ++i) {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    REQUIRE(ended.outcome == outcome::succeeded);
    REQUIRE(!was_prepared(ended));
  }
  REQUIRE(eventually([&] { return agent.metric("davit_prepared_size_bytes_total") > bytes; }, 60s));
}

/// An image with folders, users and a configuration of its own.
void make_furnished(const any_engine& engine) {
  engine.docker("run --network none --name furnished busybox:test sh -c '"
                "mkdir -p /there/sub /etc; echo old > /there/old; echo old > /there/sub/old; chmod 0711 /there; "
                "chown 7:8 /there; echo root:x:0:0::/:/bin/sh > /etc/passwd; "
                "echo someone:x:1234:99::/:/bin/sh >> /etc/passwd; echo crowd:x:99: > /etc/group'");
  engine.docker(R"(commit -c 'ENV A=b' -c 'WORKDIR /there' -c 'LABEL of.image=x' -c 'LABEL davit.tree=1' )"
                R"(-c 'VOLUME /elsewhere' -c 'HEALTHCHECK CMD true' -c 'EXPOSE 80' )"
                R"(furnished furnished:test)");
  engine.docker("rm furnished");
}

} // namespace

TEST_CASE("what an engine has ready is exactly what unpacking brings", "[files][prepared]") {
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
  prepare(agent, spec);
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
  CHECK(agent.metric("davit_prepared_trees_total{result=\"hit\"}") == 1);
  CHECK(eventually([&] { return engine.leftovers().empty() && overlays_of(engine).empty(); }));
}

TEST_CASE("what a task changes in a tree that was ready is not seen by the next one", "[files][prepared]") {
  static const test_engine engine{"a"};
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  auto folder = folder_with(scratch, "files", odd_files);
  auto tree = upload(agent, folder);
  auto spec
    = busybox("cat /src/tool; echo x >> /src/tool; rm -r /src/many; ls /src/many 2>/dev/null | wc -l; "
              "mkdir /src/made && mv /src/made /src/moved && mv '/src/with blank' /src/other && ls /src/other | wc -l; "
              "ln /src/random /src/name && echo x >> /src/name && cmp /src/random /src/name && echo same");
  spec.inputs.push_back({tree, "/src"});
  spec.outputs["all"].path = "/src";
  prepare(agent, spec);
  std::string first;
  for (int i = 0; i < 3; ++i) {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    REQUIRE(ended.outcome == outcome::succeeded);
    CHECK(was_prepared(ended));
    CHECK(agent.logs(ended.id).out == "#!/bin/sh\necho tool\n0\n2\nsame\n");
    auto out = output_of(ended, "all");
    REQUIRE(out.state == output_state::kept);
    auto files = read_archive(agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/outputs/all")).files;
    CHECK(files.at("tool") == "#!/bin/sh\necho tool\nx\n");
    CHECK(!files.contains("many/f1"));
  }
}

TEST_CASE("where it is not sure that it is the same, inputs are unpacked each time", "[files][prepared]") {
  static const test_engine engine{"a"};
  auto settings = settings_of(engine);
  settings.profile = policy_profile::privileged;
  test_agent agent{{settings}};
  scratch_folder scratch;
  auto how = GENERATE(as<std::string>{}, "few", "hard links", "long paths", "scope", "volume", "powers", "read only",
                      "cold", "image's volume", "off");
  CAPTURE(how);
  auto files = how == "few"        ? "echo x > x"
             : how == "hard links" ? "echo x > x; ln x other"
             : how == "long paths" ? "n=$(printf 'n%.0s' $(seq 130)); mkdir -p $n/$n"
                                   : "echo x > x; ln -s x y";
  std::string many = how == "few" ? "" : "mkdir many; for i in $(seq 1000); do : > many/f$i; done; ";
  auto spec = looking(upload(agent, folder_with(scratch, "many", many + files)), "/src");
  if (how == "scope")
    spec.cache_scope = "pr/7";
  else if (how == "volume")
    spec.mounts.push_back({mount_type::volume, "", "/src/many", false, {}});
  else if (how == "powers")
    spec.cap_add.emplace_back("SYS_ADMIN");
  else if (how == "read only")
    spec.read_only = true;
  else if (how == "cold")
    spec.start = start_mode::cold;
  else if (how == "image's volume") {
    engine.docker("run --network none --name made busybox:test true");
    engine.docker("commit -c 'VOLUME /src/many' made strange:test");
    engine.docker("rm made");
    spec.image = "strange:test";
  }
  auto off = settings_of(engine);
  off.prepared_trees = {};
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
  CHECK(trees_of(engine).empty());
}

TEST_CASE("odd trees, and what is mounted in them", "[files][prepared]") {
  static const test_engine engine{"a"};
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  std::string many = "mkdir many; for i in $(seq 1000); do : > many/f$i; done; ";
  auto how
    = GENERATE(as<std::string>{}, "whiteouts", "tmpfs", "nested", "nested cache", "image's link", "image's last link");
  CAPTURE(how);
  auto files = how == "whiteouts" ? ": > many/.wh.f2; : > .wh..wh..opq" : "echo x > x";
  auto tree = upload(agent, folder_with(scratch, "tree", many + files));
  auto spec = looking(tree, "/src");
  if (how.starts_with("image")) {
    engine.docker("run --network none --name made busybox:test sh -c 'mkdir -p /real/there; ln -s /real /link; "
                  "ln -s there /real/last; echo x > /real/there/old'");
    engine.docker("commit made linked:test");
    engine.docker("rm made");
    spec = looking(tree, how == "image's link" ? "/link/src" : "/real/last");
    spec.image = "linked:test";
  }
  // The engine makes the folders that something is mounted on, each time anew.
  const std::string names
    = "cd /src && find . | sort | sha256sum; find . -type f -print0 | sort -z | xargs -0 cat | sha256sum; ";
  if (how == "tmpfs" || how.starts_with("nested"))
    spec.command = {"sh", "-c", names};
  if (how == "tmpfs")
    spec.mounts.push_back({mount_type::tmpfs, "", "/src/t", false, {}});
  if (how == "nested")
    spec.inputs.push_back({upload(agent, folder_with(scratch, "inner", many + "echo inner > inner")), "/src/in/ner"});
  if (how == "nested cache") {
    spec.caches.push_back({"k", "/src/cache", {}, {}});
    spec.command[2]
      += "[ -e /src/cache/d ] || { mkdir /src/cache/d; for i in $(seq 1000); do : > /src/cache/d/$i; done; }";
  }
  std::string seen;
  auto hits = 0, runs = 0;
  REQUIRE(eventually(
    [&] {
      auto ended = agent.run(spec);
      INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
      REQUIRE(ended.outcome == outcome::succeeded);
      auto out = agent.logs(ended.id).out;
      if (!seen.empty() && how != "nested cache")
        CHECK(out == seen);
      seen = out;
      hits += was_prepared(ended);
      return hits >= 4 || (how == "image's last link" && ++runs == 6);
    },
    120s));
  if (how == "nested" || how == "nested cache")
    CHECK(count_of(trees_of(engine)) >= 2);
  CHECK(eventually([&] { return overlays_of(engine).empty(); }));
}

TEST_CASE("an owner's trees are ready for no other's tasks, and no task can name their volumes",
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
  prepare(agent, spec);
  CHECK(was_prepared(agent.run(spec)));
  agent.use_token(b);
  CHECK(upload(agent, folder) == spec.inputs[0].tree);
  CHECK(!was_prepared(agent.run(spec)));
  for (const auto* role : {"", ".tree"}) {
    auto named = busybox("true");
    auto name = trees_of(engine);
    name.pop_back();
    named.mounts.push_back({mount_type::volume, name + role, "/x", false, {}});
    CHECK(agent.http("POST", "/v1/tasks", {}, json::write(json::to_value(named))).status == 403);
  }
}

TEST_CASE("what a cache begins with is ready too, and so is what is kept of it the same", "[files][prepared][caches]") {
  static const test_engine engine{"a"};
  test_agent agent{{settings_of(engine)}};
  auto spec
    = busybox("cd /cache; if [ -e n ]; then echo found $(find . | wc -l) $(cat d/7); rm -r d; else "
              "mkdir d; for i in $(seq 1200); do echo $i > d/$i; done; echo > n; chown -R 7:8 .; fi; ls -ldn .");
  spec.caches.push_back({"key", "/cache", {}, {}});
  auto run = [&] {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    REQUIRE(ended.outcome == outcome::succeeded);
    return ended;
  };
  auto first = run();
  CHECK(first.attempts.back().caches[0].kept);
  auto unpacked = run();
  CHECK(!was_prepared(unpacked));
  CHECK(agent.logs(unpacked.id).out.starts_with("found 1203 7\n"));
  REQUIRE(eventually([&] { return was_prepared(run()); }, 60s));
  for (int i = 0; i < 3; ++i) {
    auto ended = run();
    CHECK(was_prepared(ended));
    CHECK(ended.attempts.back().caches[0].restored == "key");
    CHECK(agent.logs(ended.id).out.starts_with("found 1203 7\n"));
  }
  // What is kept under another key is what the task has left, not what it began with.
  spec.caches[0] = {"next", "/cache", {"key"}, {}};
  auto next = run();
  CHECK(was_prepared(next));
  CHECK(next.attempts.back().caches[0].kept);
  spec.caches[0] = {"next", "/cache", {}, {}};
  spec.command[2] = "find /cache | wc -l";
  CHECK(agent.logs(run().id).out == "2\n");
  CHECK(eventually([&] { return overlays_of(engine).empty(); }));
}

TEST_CASE("whatever becomes of volumes, each task has its inputs", "[files][prepared]") {
  test_engine engine{"a"};
  engine.docker("tag busybox:test name:test");
  test_agent agent{{settings_of(engine)}};
  scratch_folder scratch;
  auto spec = looking(upload(agent, folder_with(scratch, "odd", odd_files)), "/src");
  spec.image = "name:test";
  prepare(agent, spec);
  auto good = agent.run(spec);
  CHECK(was_prepared(good));
  auto runs = [&] {
    auto ended = agent.run(spec);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.logs(ended.id).out == agent.logs(good.id).out);
    return was_prepared(ended);
  };
  SECTION("an operator removes all that is unused") {
    REQUIRE(eventually([&] { return engine.docker("ps -aq").empty(); }));
    remove_volumes(engine, "davit-");
    CHECK(trees_of(engine).empty());
    CHECK(!runs());
    CHECK(!runs());
    CHECK(eventually([&] { return count_of(trees_of(engine)) == 1; }, 60s));
    CHECK(eventually([&] { return runs(); }, 60s));
  }
  SECTION("an operator removes all that is unused while a task runs") {
    auto slow = spec;
    slow.command = {"sh", "-c", "until [ -e /src/go ]; do sleep 0.1; done; find /src -type f | wc -l; cat /src/tool"};
    auto id = agent.submit(slow);
    std::string name;
    REQUIRE(eventually([&] {
      name = engine.docker("ps -q --filter label=davit.task=" + to_string(id));
      return !name.empty();
    }));
    name.pop_back();
    engine.docker("system prune -af --volumes");
    remove_volumes(engine, "davit-");
    engine.docker("exec " + name + " touch /src/go");
    auto ended = agent.wait(id);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(was_prepared(ended));
    CHECK(agent.logs(id).out == "1011\n#!/bin/sh\necho tool\n");
  }
  SECTION("its image's name stands for another image") {
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
  SECTION("the limit is lower now") {
    auto lower = settings_of(engine);
    lower.prepared_trees = byte_size{1};
    test_agent other{{lower}};
    upload(other, scratch / "odd");
    CHECK(!was_prepared(other.run(spec)));
    CHECK(eventually([&] { return trees_of(engine).empty(); }));
    CHECK(!runs());
  }
}

TEST_CASE("the longest unused go when the next one needs the room", "[files][prepared]") {
  static const test_engine engine{"a"};
  auto settings = settings_of(engine);
  settings.prepared_trees = byte_size{17 << 20};
  test_agent agent{{settings}};
  scratch_folder scratch;
  auto spec_of = [&](const std::string& name) {
    auto folder = folder_with(
      scratch, name, "mkdir d; for i in $(seq 1000); do echo " + name + " > d/$i; done; head -c 4M /dev/urandom > big");
    return looking(upload(agent, folder), "/src");
  };
  auto a = spec_of("a"), b = spec_of("b"), c = spec_of("c"); // 8 MiB each
  auto had = [&](const task_spec& spec) {
    auto ended = agent.run(spec);
    REQUIRE(ended.outcome == outcome::succeeded);
    return was_prepared(ended);
  };
  prepare(agent, a);
  prepare(agent, b);
  CHECK(had(a));
  for (int i = 0; i < 2; ++i)
    CHECK(!had(c));
  CHECK(eventually([&] { return had(c); }, 60s));
  CHECK(had(a));
  CHECK(!had(b));
  CHECK(count_of(trees_of(engine)) == 2);
}

TEST_CASE("random tasks, removals and restarts: every task sees its own inputs", "[files][prepared]") {
  test_engine engine{"a"};
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
      remove_volumes(engine, "davit-tree");
    } else if (what == 1) {
      agent.restart();
      agent.use_token(owners[0]);
    } else if (what == 2) {
      remove_volumes(engine, "davit-tree", "| shuf -n 1");
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
