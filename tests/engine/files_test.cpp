// Files go into a container as they are, and come out of it in the same way, after every end.
#include "engine/suites.hpp"
#include "fixture/file_client.hpp"
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <map>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// Odd names, modes and times, links of both kinds, empty folders, a sparse file.
const char* const odd_files = R"sh(
  mkdir -p empty 'with blank/deep/er' .hidden
  printf 'int main() {}\n' > main.cpp; printf '#!/bin/sh\necho tool\n' > tool; chmod 755 tool
  printf x > 'with blank/ünïcödé 文.txt'; printf y > "$(printf 'new\nline')"; : > .hidden/empty
  printf '\377' > "$(printf 'bad\377utf8')"
  ln tool 'with blank/deep/same'; ln -s ../tool .hidden/link; ln tool AAA
  ln -s ../../above above; ln -s /nowhere dangling
  ln -s "$(printf 'l%.0s' $(seq 200))" long-link
  n=$(printf 'n%.0s' $(seq 250)); mkdir -p "$n/$n"; printf z > "$n/$n/$n"
  head -c 300000 /dev/urandom > random; truncate -s 1M sparse; printf end >> sparse
  chmod 0600 random; chmod 0700 .hidden; chmod 0444 main.cpp
  touch -d '1999-12-31 23:59:59.123456789' main.cpp; touch -d '2001-02-03' empty; touch -h -d '2005-05-05' dangling
  for i in $(seq 300); do printf $i > f$i; done
)sh";

std::string folder_with(const scratch_folder& scratch, const std::string& name, const std::string& script) {
  auto path = scratch / name;
  shell("mkdir -p " + path + " && cd " + path + " && { " + script + "\n}");
  return path;
}

task_spec with_files(std::string script, const std::string& tree, const std::string& path = "/src") {
  auto spec = busybox(std::move(script));
  spec.inputs.push_back({tree, path});
  return spec;
}

std::string output_path(const task& ended, const std::string& name) {
  return "/v1/tasks/" + to_string(ended.id) + "/outputs/" + name;
}

} // namespace

void davit::test::check_files(const any_engine& engine) {
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_agent agent{{settings}};
  scratch_folder scratch;
  auto folder = folder_with(scratch, "odd", odd_files);
  auto tree = scan(folder);
  auto name = upload(agent, folder, tree);
  CHECK(upload(agent, folder, tree) == name);
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto read_only = GENERATE(false, true);
  auto user = GENERATE("", "1000:1000");
  CAPTURE(to_string(start), read_only, user);
  auto spec
    = with_files("cd /src && sh ./tool && stat -c '%u:%g' . main.cpp && touch .new && rm .new && ls | wc -l", name);
  spec.start = start;
  spec.read_only = read_only;
  spec.user = user;
  spec.outputs["all"].path = "/src";
  auto ended = agent.run(spec);
  INFO(ended.message);
  REQUIRE(ended.outcome == outcome::succeeded);
  auto owner = std::string{user}.empty() ? "0:0" : "1000:1000";
  CHECK(agent.logs(ended.id).out.starts_with("tool\n" + std::string{owner} + "\n" + owner + "\n"));
  CHECK(ended.attempts.back().evidence.start.starts_with(start == start_mode::warm ? "warm" : "cold"));
  auto out = output_of(ended, "all");
  REQUIRE(out.state == output_state::kept);
  auto back = read_archive(agent.call("GET", output_path(ended, "all")));
  auto expected = through_engine(tree);
  REQUIRE(back.tree.entries.size() == expected.entries.size());
  for (std::size_t i = 0; i < expected.entries.size(); ++i) {
    CAPTURE(expected.entries[i].path);
    CHECK(back.tree.entries[i] == expected.entries[i]);
  }
  CHECK(agent.call("GET", output_path(ended, "all/tool")) == "#!/bin/sh\necho tool\n");
  if (start == start_mode::cold) // those that wait have volumes too
    CHECK(eventually([&] { return engine.leftovers().empty(); }));
}

TEST_CASE("a tree goes in and comes out exactly, whatever the container is", "[files]") {
  static const test_engine engine{"a"};
  check_files(engine);
}

TEST_CASE("outputs come out of every end, as they are wanted", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox("");
  spec.outputs["always"].path = "/out";
  spec.outputs["success"] = {"/out/report.xml", output_when::success, false, {}};
  spec.outputs["failure"] = {"/out/*.log", output_when::failure, false, {}};
  spec.outputs["missing"].path = "/nowhere";
  spec.outputs["large"] = {"/out", output_when::always, false, byte_size{3}};
  const std::string write
    = "mkdir -p /out/deep; echo r > /out/report.xml; echo l > /out/x.log; echo d > /out/deep/d.txt; ";
  struct end {
    const char* name;
    std::string script;
    outcome how;
  };
  auto wanted = GENERATE_COPY(values<end>({{"success", "true", outcome::succeeded},
                                           {"failure", "exit 3", outcome::failed},
                                           {"timeout", "sleep 600", outcome::timed_out},
                                           {"cancel", "echo written; sleep 600", outcome::cancelled}}));
  CAPTURE(wanted.name);
  spec.command = {"sh", "-c", write + wanted.script};
  if (wanted.how == outcome::timed_out)
    spec.timeout = 2s;
  spec.stop_timeout = 1s;
  auto id = agent.submit(spec);
  if (wanted.how == outcome::cancelled) {
    REQUIRE(eventually([&] { return agent.logs(id).out == "written\n"; }));
    agent.cancel(id);
  }
  auto ended = agent.wait(id);
  CHECK(ended.outcome == wanted.how);
  auto always = output_of(ended, "always");
  REQUIRE(always.state == output_state::kept);
  CHECK(always.files == 3);
  CHECK(always.bytes == 6);
  auto all = read_archive(agent.call("GET", output_path(ended, "always")));
  CHECK(all.files
        == std::map<std::string, std::string>{{"report.xml", "r\n"}, {"x.log", "l\n"}, {"deep/d.txt", "d\n"}});
  auto good = wanted.how == outcome::succeeded;
  CHECK(output_of(ended, "success").state == (good ? output_state::kept : output_state::skipped));
  CHECK(output_of(ended, "failure").state == (good ? output_state::skipped : output_state::kept));
  if (good)
    CHECK(agent.call("GET", output_path(ended, "success/report.xml")) == "r\n");
  else
    CHECK(read_archive(agent.call("GET", output_path(ended, "failure"))).files
          == std::map<std::string, std::string>{{"x.log", "l\n"}});
  CHECK(output_of(ended, "missing").state == output_state::missing);
  CHECK(output_of(ended, "large").state == output_state::failed);
  CHECK(output_of(ended, "large").message.find("over 3 bytes (max)") != std::string::npos);
  CHECK(agent.http("GET", output_path(ended, "large")).status == 404);
  CHECK(agent.http("GET", output_path(ended, "none")).status == 404);
}

TEST_CASE("a task that succeeds without what it must give has failed", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox("true");
  spec.outputs["report"] = {"/report.xml", output_when::always, true, {}};
  auto ended = agent.run(spec);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 0);
  CHECK(ended.message.find("the output report is missing") != std::string::npos);
}

TEST_CASE("another task's output is an input, for as long as a task uses it", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto first = busybox("mkdir /out; echo one > /out/a; ln -s a /out/b");
  first.outputs["out"].path = "/out";
  auto made = agent.run(first);
  auto second = with_files("cat /in/b; echo two >> /in/a", output_of(made, "out").tree, "/in");
  second.outputs["out"].path = "/in/a";
  auto ended = agent.run(second);
  CHECK(agent.logs(ended.id).out == "one\n");
  CHECK(agent.call("GET", output_path(ended, "out/a")) == "one\ntwo\n");
  CHECK(agent.call("GET", output_path(made, "out/a")) == "one\n");
  auto unknown = with_files("true", "sha256:" + std::string(64, '0'));
  CHECK(agent.http("POST", "/v1/tasks", {}, json::write(json::to_value(unknown))).status == 422);
}

TEST_CASE("what is odd in an output costs it nothing else; a link at its path is followed", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox("mkdir /o /d; echo r > /o/f; mkfifo /o/p; ln /o/p /o/q; echo hi > /d/f; ln -s d/f /latest;"
                      "ln -s /two /one; ln -s /one /two; ln -s /o /ways; ln /o/f /o/z.x; echo y > /o/y.x");
  for (const auto& [name, path] : std::map<std::string, std::string>{{"all", "/o"},
                                                                     {"latest", "/latest"},
                                                                     {"loop", "/one"},
                                                                     {"some", "/o/*.x"},
                                                                     {"way", "/ways/*.x"},
                                                                     {"none", "/o/f/*"}})
    spec.outputs[name].path = path;
  auto ended = agent.run(spec);
  auto all = output_of(ended, "all");
  CHECK(all.state == output_state::kept);
  CHECK(all.message.find("2 left out") != std::string::npos);
  CHECK(read_archive(agent.call("GET", output_path(ended, "all"))).files.at("f") == "r\n");
  CHECK(agent.call("GET", output_path(ended, "latest/f")) == "hi\n");
  CHECK(output_of(ended, "loop").state != output_state::kept);
  CHECK(output_of(ended, "loop").message.find("/overlay2/") == std::string::npos); // of the engine's host
  CHECK(agent.call("GET", output_path(ended, "some/y.x")) == "y\n");
  CHECK(agent.call("GET", output_path(ended, "way/y.x")) == "y\n");
  CHECK(output_of(ended, "none").state == output_state::missing);
  spec.outputs.clear();
  for (auto* path : {"/*.x", "/**/x", "relative", "/o/[", "/proc/x"}) {
    spec.outputs["out"].path = path;
    CAPTURE(path);
    auto status = agent.http("POST", "/v1/tasks", {}, json::write(json::to_value(spec))).status;
    CHECK((status == 400 || status == 403));
  }
}

TEST_CASE("an input comes to where the image has a link; what can't be unpacked fails once", "[files]") {
  static const test_engine engine{"a"};
  engine.docker("run --network none --name made busybox:test sh -c 'mkdir /real; ln -s /real /link'");
  engine.docker("commit made linked:test");
  engine.docker("rm made");
  test_agent agent{{engine.settings(4)}};
  scratch_folder scratch;
  auto tree = upload(agent, folder_with(scratch, "files", "echo x > f; ln -s .. up"));
  for (auto* user : {"", "1000"}) {
    CAPTURE(user);
    auto spec = with_files("cat /link/f /real/f; touch /link/new", tree, "/link");
    spec.image = "linked:test";
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.logs(ended.id).out == "x\nx\n");
  }
  auto spec = with_files("true", tree, "/x");
  spec.inputs.push_back({tree, "/x/f"}); // a file of the first
  auto ended = agent.run(spec);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.attempts.size() == 1);
}

TEST_CASE("the tests in an output's reports are counted, without the task's secrets", "[files][junit]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox(R"sh(mkdir -p /out/deep; cd /out
    echo "<testsuites><testsuite><testcase classname='net' name='sends' time='1.5'/>
      <testcase classname='net' name='logs in as $TOKEN' time='0.5'><failure message='refused: $TOKEN'/></testcase>
      <testcase name='waits'><skipped/></testcase></testsuite></testsuites>" > deep/net.xml
    echo "<testsuite><testcase name='reads'/></testsuite>" > disk.xml
    echo "<testsuite><testcase name='reads'/>" > half.xml
    echo "<project/>" > pom.xml; echo x > log.txt; exit 1)sh");
  spec.secrets["TOKEN"] = {"swordfish-1", false};
  spec.outputs["all"].path = "/out";
  spec.outputs["disk"].path = "/out/disk.xml";
  spec.outputs["logs"].path = "/out/*.txt";
  auto ended = agent.run(spec);
  CHECK(ended.outcome == outcome::failed);
  auto all = output_of(ended, "all");
  REQUIRE(all.state == output_state::kept);
  REQUIRE(all.tests);
  CHECK(all.tests->reports == 2);
  CHECK(all.tests->unread == 1);
  CHECK(all.tests->tests == 4);
  CHECK(all.tests->failures == 1);
  CHECK(all.tests->skipped == 1);
  CHECK(all.tests->seconds == 2);
  CHECK((all.tests->slowest == std::vector<slow_test>{{"net.sends", 1.5}, {"net.logs in as ***", 0.5}}));
  CHECK((all.tests->failed == std::vector<failed_test>{{"net.logs in as ***", "refused: ***"}}));
  REQUIRE(output_of(ended, "disk").tests);
  CHECK(output_of(ended, "disk").tests->tests == 1);
  CHECK(output_of(ended, "logs").state == output_state::kept);
  CHECK_FALSE(output_of(ended, "logs").tests);
  auto listed = agent.call("GET", "/v1/tasks/" + to_string(ended.id) + "/outputs");
  CHECK(listed.find(R"("tests":{"reports":2,"unread":1,"tests":4,"failures":1,"errors":0,"skipped":1,)")
        != std::string::npos);
  CHECK(listed.find("swordfish") == std::string::npos);
  auto in_list = agent.call("GET", "/v1/tasks");
  CHECK(in_list.find(R"("tests":{"reports":2,"unread":1,"tests":4,)") != std::string::npos);
  CHECK(in_list.find("logs in as") == in_list.rfind("logs in as")); // in the command alone
}

TEST_CASE("a tree of as many levels as one may have goes in and comes out", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings()}};
  scratch_folder scratch;
  auto folder = scratch / "deep";
  shell("mkdir " + folder + " && cd " + folder + " && for i in $(seq 127); do mkdir d && cd d; done && echo x > f");
  auto spec = busybox("true");
  spec.inputs.push_back({upload(agent, folder), "/a/source"});
  spec.outputs["back"].path = "/a/source";
  auto ended = agent.run(spec);
  auto back = output_of(ended, "back");
  INFO(ended.message << ' ' << back.message);
  REQUIRE(back.state == output_state::kept);
  CHECK(back.files == 1);
  CHECK(back.bytes == 2);
  spec.command = {"sh", "-c", "cd /a/source && while [ -d d ]; do cd d; done && mkdir g && echo y > g/h"};
  back = output_of(agent.run(spec), "back");
  CHECK(back.state == output_state::failed);
  CHECK(back.message.ends_with("is more than 128 levels deep"));
}

TEST_CASE("an engine that freezes or ends while an output is collected gives it when it is back", "[files]") {
  auto how = GENERATE(as<std::string>{}, "freeze", "end", "kill");
  CAPTURE(how);
  test_engine engine{"a"};
  test_agent agent{{engine.settings()}};
  auto spec = busybox("mkdir /o; head -c 700m /dev/zero > /o/large"); // takes longer than it takes to miss the engine
  spec.outputs["o"] = {"/o", output_when::always, true, {}};
  auto id = agent.submit(spec);
  auto collecting
    = [&] { return agent.call("GET", "/v1/tasks/" + to_string(id)).find("\"phase\":\"output\"") != std::string::npos; };
  REQUIRE(eventually(collecting, 60s));
  if (how == "freeze") {
    engine.freeze();
    agent.await_engine("a", engine_state::down); // then its calls are ended
    engine.thaw();
  } else {
    how == "kill" ? engine.kill() : engine.stop();
    engine.start();
  }
  auto ended = agent.wait(id);
  auto out = output_of(ended, "o");
  INFO(ended.message << ' ' << out.message);
  CHECK(ended.outcome == outcome::succeeded);
  REQUIRE(out.state == output_state::kept);
  CHECK(out.bytes == 700ull << 20);
}

TEST_CASE("a secret in the name of a file is in no message, however long the name", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings()}};
  const std::string hidden = "correct-horse-battery-staple";
  auto spec
    = busybox("mkdir /o; cd /o; n=$(head -c $PAD /dev/zero | tr '\\0' x); mkdir \"$n\"; mkfifo \"$n/$n$S\"; : > f; "
              "mkdir /deep; cd /deep; for i in $(seq 140); do mkdir \"$S\"; cd \"$S\"; done; : > f");
  spec.secrets["S"] = {hidden};
  spec.outputs["o"].path = "/o";
  spec.outputs["deep"].path = "/deep";
  for (auto pad : {10, 120, 135, 140, 145, 149, 200}) {
    spec.env["PAD"] = std::to_string(pad);
    auto ended = agent.run(spec);
    INFO(pad << ' ' << ended.message);
    for (auto* name : {"o", "deep"}) {
      auto text = output_of(ended, name).message;
      INFO(text);
      CHECK(!text.empty());
      CHECK(text.size() <= 1000);
      for (std::size_t i = 0; i + 8 <= hidden.size(); ++i)
        CHECK(text.find(hidden.substr(i, 8)) == std::string::npos);
    }
  }
}

TEST_CASE("what a damaged pack had is sent again by the same command", "[files]") {
  static const test_engine engine{"a"};
  auto listen = "127.0.0.1:" + std::to_string(free_port());
  test_agent agent{{engine.settings(4)}, [&](agent_settings& settings) { settings.api_listen = {listen}; }};
  scratch_folder scratch;
  auto folder = folder_with(scratch, "in", "echo marker-one > file; echo other > other");
  auto run = [&] {
    return run_process({DAVIT_BINARY, "run", "--network", "none", "--input", folder + ":/src", "busybox:test", "--",
                        "cat", "/src/file", "/src/other"},
                       "", {"DAVIT_HOST=tcp://" + listen, "XDG_CACHE_HOME=" + (scratch / "cache")});
  };
  auto packs = [&] { return shell("find " + agent.data() + "/blobs/? -type f | sort"); };
  CHECK(run().out == "marker-one\nother\n");
  auto first = packs();
  CHECK(run().exit_code == 0);
  CHECK(packs() == first); // nothing was sent
  shell("sed -i s/marker-one/marker-two/ $(grep -l marker-one -r " + agent.data() + "/blobs)");
  auto lost = run();
  CHECK(lost.exit_code == 125);
  CHECK(lost.out.empty());
  CAPTURE(lost.err);
  CHECK(lost.err.find("its inputs can't be unpacked: file is lost (") != std::string::npos);
  CHECK(lost.err.find("Run the command that sent it again (davit run --input), and it is sent once more")
        != std::string::npos);
  auto again = run();
  CAPTURE(again.err);
  CHECK(again.exit_code == 0);
  CHECK(again.out == "marker-one\nother\n");
  CHECK(packs() != first);
  // A pack that is gone is found when the tree is asked for, before any task is.
  shell("rm " + agent.data() + "/blobs/?/?/*");
  CHECK(run().out == "marker-one\nother\n");
  agent.restart();
  CHECK(run().out == "marker-one\nother\n");
}
