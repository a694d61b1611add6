// What one task leaves for the next: caches, and answers.
#include "fixture/file_client.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "encoding/base64.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <boost/json.hpp>

#include <map>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

task_spec with_cache(std::string script, std::string key, std::vector<std::string> restore = {}) {
  auto spec = busybox(std::move(script));
  spec.caches.push_back({std::move(key), "/cache", std::move(restore), {}});
  return spec;
}

const used_cache& cache_of(const task& ended) {
  return ended.attempts.back().caches.at(0);
}

std::string folder_with(const scratch_folder& scratch, const std::string& name, const std::string& script) {
  auto path = scratch / name;
  shell("mkdir -p " + path + " && cd " + path + " && { " + script + "\n}");
  return path;
}

std::size_t containers_made(const test_engine& engine) {
  auto text = engine.docker("events --since 1 --until $(date +%s.%N) --filter event=create --filter type=container "
                            "--format '{{.ID}}'");
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

} // namespace

TEST_CASE("a cache begins with what was kept, exactly, however the task is started", "[files][caches]") {
  static const test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_agent agent{{settings}};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto read_only = GENERATE(false, true);
  auto user = GENERATE("", "1000:1000");
  CAPTURE(to_string(start), read_only, user);
  auto run = [&](const std::string& script, const std::string& key, std::vector<std::string> restore = {}) {
    auto spec = with_cache(script, key, std::move(restore));
    spec.start = start;
    spec.read_only = read_only;
    spec.user = user;
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    return ended;
  };
  const std::string list = "cd /cache && find . | sort && cat $(find . -type f | sort); ";
  auto name = "of-" + to_string(uuid::make_v4());
  auto first = run(list + "mkdir d; echo one > d/f; ln d/f g; ln -s d/f h; chmod 700 d/f", name + "-1");
  CHECK(agent.logs(first.id).out == ".\n");
  CHECK(cache_of(first).restored.empty());
  CHECK(cache_of(first).kept);
  CHECK(cache_of(first).bytes == 4);
  auto second = run(list + "stat -c '%a %h' d/f; readlink h; echo two > d/two", name + "-1");
  CHECK(agent.logs(second.id).out == ".\n./d\n./d/f\n./g\n./h\none\none\n700 2\nd/f\n");
  CHECK(cache_of(second).restored == name + "-1");
  CHECK_FALSE(cache_of(second).kept); // what is kept under a key stays as it is
  auto third = run(list + "echo three > three", name + "-2", {"no-such-", name});
  CHECK(agent.logs(third.id).out == ".\n./d\n./d/f\n./g\n./h\none\none\n");
  CHECK(cache_of(third).restored == name + "-1");
  CHECK(cache_of(third).kept);
  auto fourth = run(list, name + "-3", {name});
  CHECK(cache_of(fourth).restored == name + "-2"); // the newest
  CHECK(agent.logs(fourth.id).out.find("three") != std::string::npos);
}

TEST_CASE("only a success keeps a cache, with all that it must give", "[files][caches]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto keeps = [&](task_spec spec) {
    auto ended = agent.run(std::move(spec));
    return cache_of(ended).kept;
  };
  CHECK_FALSE(keeps(with_cache("echo x > /cache/f; exit 1", "key")));
  auto spec = with_cache("echo x > /cache/f", "key");
  spec.outputs["must"] = {"/nowhere", output_when::always, true, {}};
  CHECK_FALSE(keeps(spec));
  spec = with_cache("echo x > /cache/f; sleep 600", "key");
  spec.timeout = 1s;
  spec.stop_timeout = 1s;
  CHECK_FALSE(keeps(spec));
  spec = with_cache("echo xxxx > /cache/f", "key");
  spec.caches[0].max = byte_size{4};
  auto ended = agent.run(spec);
  CHECK(ended.outcome == outcome::succeeded); // a cache does not decide
  CHECK_FALSE(cache_of(ended).kept);
  CHECK(cache_of(ended).message.find("more than 4 bytes") != std::string::npos);
  CHECK(keeps(with_cache("test -z \"$(ls /cache)\"; echo x > /cache/f", "key")));
}

TEST_CASE("a key has the hash of the inputs' files", "[files][caches]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  scratch_folder scratch;
  auto with_lock = [&](const std::string& name, const std::string& script) {
    auto spec = with_cache("true", "npm-{hash:**/*.lock}");
    spec.inputs.push_back({upload(agent, folder_with(scratch, name, script)), "/src"});
    return spec;
  };
  auto key = [&](const task_spec& spec) { return cache_of(agent.run(spec)).key; };
  auto one = key(with_lock("one", "mkdir d; echo 1 > a.lock; echo 2 > d/b.lock; echo x > other"));
  CHECK(one.size() == 4 + 64);
  CHECK(
    key(with_lock("same", "mkdir d; echo 1 > a.lock; echo 2 > d/b.lock; echo y > other; touch -d 2001-01-01 a.lock"))
    == one);
  CHECK(key(with_lock("content", "mkdir d; echo 1 > a.lock; echo 3 > d/b.lock")) != one);
  CHECK(key(with_lock("name", "mkdir d; echo 1 > a.lock; echo 2 > d/c.lock")) != one);
  auto ended = agent.run(with_lock("none", "echo x > other"));
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.attempts.size() == 1);
  CHECK(ended.message.find("caches[0].key: {hash:**/*.lock}: no input has a file at /src/**/*.lock")
        != std::string::npos);
}

TEST_CASE("a task in a scope reads what is trusted, and never changes it", "[files][caches]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto run = [&](const std::string& scope, const std::string& key, const std::string& text) {
    auto spec = with_cache("cat /cache/f; echo " + text + " > /cache/f", key, {"k"});
    spec.cache_scope = scope;
    return agent.logs(agent.run(spec).id).out;
  };
  CHECK(run("pr/7", "k1", "evil").empty());
  CHECK(run("", "k1", "good").empty()); // sees nothing of a scope
  CHECK(run("", "k1", "other") == "good\n");
  CHECK(run("pr/7", "k1", "x") == "evil\n");
  CHECK(run("pr/8", "k1", "x") == "good\n");
  CHECK(run("pr/8", "k2", "eight") == "good\n");
  CHECK(run("", "k3", "x") == "good\n");
  auto all = agent.call("GET", "/v1/caches");
  CHECK(all.find(R"("scope":"pr/7")") != std::string::npos);
  CHECK(agent.http("DELETE", "/v1/caches?key=k1&scope=pr/9").status == 404);
  CHECK(agent.http("DELETE", "/v1/caches").status == 400);
  CHECK(agent.call("DELETE", "/v1/caches?prefix=&scope=pr") == "{\"removed\":2}\n");
  CHECK(run("pr/7", "k1", "x") == "good\n");
}

TEST_CASE("a cache is what was kept, whatever the image and the inputs have there", "[files][caches]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  engine.docker("run --network none --name made busybox:test sh -c 'mkdir -p /cache/sub; echo i > /cache/i; echo s > "
                "/cache/sub/s'");
  engine.docker("commit made filled:test");
  engine.docker("rm made");
  const std::string list = "cd /cache; find . | sort; ";
  auto run = [&](const std::string& image, const std::string& script) {
    auto spec = with_cache(list + script, "k");
    spec.image = image;
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    return agent.logs(ended.id).out;
  };
  CHECK(run("filled:test", "echo f > sub") == ".\n");
  CHECK(run("filled:test", "") == ".\n./sub\n");
  // The source of today, not that of the cache.
  scratch_folder scratch;
  auto with_source = [&](const std::string& name, const std::string& files, const std::string& script) {
    auto spec = with_cache(script, "source");
    spec.caches[0].path = "/src/build";
    spec.inputs.push_back({upload(agent, folder_with(scratch, name, "mkdir build; cd build; " + files)), "/src"});
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    return ended;
  };
  with_source("old", "echo old > x", "echo made > /src/build/y");
  auto next = with_source("new", "echo new > x", "cat /src/build/x /src/build/y");
  CHECK(agent.logs(next.id).out == "new\nmade\n");
  // What does not fit does not decide.
  auto odd = with_source("odd", "mkdir x; echo deep > x/z", "cd /src/build; find . | sort");
  CHECK(agent.logs(odd.id).out == ".\n./x\n./x/z\n");
  CHECK(odd.attempts.size() == 1);
  CHECK(cache_of(odd).restored.empty());
  CHECK(cache_of(odd).message.find("it began empty: an input can't be unpacked over what a cache has") == 0);
  CHECK(agent.logs(with_source("again", "echo new > x", "cat /src/build/y").id).out == "made\n"); // it is there still
  CHECK(eventually([&] { return engine.leftovers().empty(); }));
}

TEST_CASE("one that can't be read any more is forgotten, and its task runs without it", "[files][caches]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  CHECK(cache_of(agent.run(with_cache("head -c 100000 /dev/urandom > /cache/f", "key"))).kept);
  shell("find " + agent.data() + "/blobs -type f -size +64k | xargs -I F truncate -s 1000 F");
  auto ended = agent.run(with_cache("ls /cache; echo new > /cache/f", "key"));
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(agent.logs(ended.id).out.empty());
  CHECK(cache_of(ended).kept);
  CHECK(agent.logs(agent.run(with_cache("cat /cache/f", "key")).id).out == "new\n");
}

TEST_CASE("the same task is answered by its earlier success", "[files][memo]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  scratch_folder scratch;
  auto lines = GENERATE(3, 60'000); // a small log lies in the store, a large one in a file
  auto spec = busybox("seq " + std::to_string(lines) + "; date +%N >&2; cat /src/f > /out");
  spec.memo = true;
  spec.inputs.push_back({upload(agent, folder_with(scratch, "src", "echo " + std::to_string(lines) + " > f")), "/src"});
  spec.outputs["out"] = {"/out", output_when::always, true, {}};
  auto first = agent.run(spec);
  CHECK(first.outcome == outcome::succeeded);
  CHECK(first.attempts.back().answer_of.empty());
  auto made = containers_made(engine);
  spec.name = "another";
  spec.labels["x"] = "y";
  spec.timeout = 100s;
  auto second = agent.run(spec);
  CHECK(containers_made(engine) == made);
  CHECK(second.outcome == outcome::succeeded);
  CHECK(second.exit_code == 0);
  CHECK(second.attempts.size() == 1);
  CHECK(second.attempts.back().answer_of == to_string(first.id) + "/1");
  CHECK(second.message.find("the answer of task " + to_string(first.id)) != std::string::npos);
  CHECK(agent.logs(second.id).out == agent.logs(first.id).out);
  CHECK(agent.logs(second.id).err == agent.logs(first.id).err);
  CHECK(agent.call("GET", "/v1/tasks/" + to_string(second.id) + "/logs?tail=2&stream=stdout")
        == std::to_string(lines - 1) + "\n" + std::to_string(lines) + "\n");
  CHECK(agent.call("GET", "/v1/tasks/" + to_string(second.id) + "/outputs/out/out") == std::to_string(lines) + "\n");
  // A statement about it is one about the log and the image of the other.
  auto statement = [&](const task& one) {
    auto envelope = boost::json::parse(agent.call("GET", "/v1/tasks/" + to_string(one.id) + "/attestation"));
    auto text = encoding::base64_decode(std::string{envelope.at("payload").as_string()}).value();
    return boost::json::parse(text);
  };
  auto digest_of_log = [](const boost::json::value& said) {
    for (const auto& one : said.at("subject").as_array())
      if (one.at("name").as_string() == "log")
        return std::string{one.at("digest").at("sha256").as_string()};
    return std::string{"none"};
  };
  auto said = statement(second);
  CHECK(digest_of_log(said) == digest_of_log(statement(first)));
  CHECK(digest_of_log(said).size() == 64);
  CHECK(boost::json::serialize(said).find(first.attempts.back().image_id.substr(7)) != std::string::npos);
  agent.restart();
  auto third = agent.run(spec);
  CHECK(third.attempts.back().answer_of == to_string(first.id) + "/1"); // not of an answer
  CHECK(agent.logs(third.id).out == agent.logs(first.id).out);
}

TEST_CASE("whatever may change the result is another task", "[files][memo]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  scratch_folder scratch;
  auto spec = busybox("date +%N");
  spec.memo = true;
  spec.env["A"] = "1";
  spec.inputs.push_back({upload(agent, folder_with(scratch, "one", "echo 1 > f")), "/src"});
  auto answered = [&](const task_spec& one) { return !agent.run(one).attempts.back().answer_of.empty(); };
  CHECK_FALSE(answered(spec));
  CHECK(answered(spec));
  auto other = spec;
  other.memo = false;
  CHECK_FALSE(answered(other));
  other = spec;
  other.env["A"] = "2";
  CHECK_FALSE(answered(other));
  other = spec;
  other.inputs[0].tree = upload(agent, folder_with(scratch, "two", "echo 2 > f"));
  CHECK_FALSE(answered(other));
  other = spec;
  other.resources.memory = byte_size{64 << 20};
  CHECK_FALSE(answered(other));
  other = spec;
  other.cache_scope = "pr";
  CHECK_FALSE(answered(other));
  other = spec;
  other.stdin_text = "x";
  CHECK_FALSE(answered(other));
  other = spec;
  other.command = {"sh", "-c", "exit 3"};
  CHECK_FALSE(answered(other));
  CHECK_FALSE(answered(other)); // a failure is no answer
  engine.docker("run --network none --name made busybox:test true");
  engine.docker("commit --change 'LABEL x=y' made busybox:other");
  engine.docker("rm made");
  other = spec;
  other.image = "busybox:other";
  CHECK_FALSE(answered(other));
  CHECK(answered(other));
  CHECK(answered(spec));
}

TEST_CASE("caches, answers and outputs on the command line", "[files][caches][memo]") {
  static const test_engine engine{"a"};
  auto listen = "127.0.0.1:" + std::to_string(free_port());
  test_agent agent{{engine.settings(4)}, [&](agent_settings& settings) { settings.api_listen = {listen}; }};
  auto davit = [&](std::vector<std::string> words) {
    words.insert(words.begin(), DAVIT_BINARY);
    return run_process(std::move(words), "", {"DAVIT_HOST=tcp://" + listen});
  };
  auto run = [&](std::vector<std::string> flags, const std::string& script) {
    flags.insert(flags.begin(), {"run", "--network", "none"});
    for (const std::string& word :
         {std::string{"busybox:test"}, std::string{"--"}, std::string{"sh"}, std::string{"-c"}, script})
      flags.push_back(word);
    return davit(flags);
  };
  auto first = run({"--cache", "one=/c,restore=on"}, "echo x > /c/f");
  CHECK(first.err == "davit: cache one: began empty; 2 B kept\n");
  auto second = run({"--cache", "two=/c,restore=on"}, "cat /c/f");
  CHECK(second.out == "x\n");
  CHECK(second.err == "davit: cache two: began with one; 2 B kept\n");
  auto list = davit({"caches", "ls"});
  CHECK(list.out.find("one ") != std::string::npos);
  CHECK(list.out.find("two ") != std::string::npos);
  CHECK(davit({"caches", "rm", "one"}).exit_code == 0);
  auto none = davit({"caches", "rm", "one"});
  CHECK(none.exit_code != 0);
  CHECK(none.err.find("there is no cache of this key in this scope") != std::string::npos);
  CHECK(davit({"caches", "rm", "--prefix", "t"}).exit_code == 0);
  CHECK(davit({"caches", "ls", "--json"}).out.empty());
  CHECK(run({"--memo"}, "cat /proc/uptime").err.empty());
  auto again = run({"--memo"}, "cat /proc/uptime");
  CHECK(again.exit_code == 0);
  CHECK(again.err.find("davit: the answer of task ") == 0);
  auto lacks = run({"--output", "r=/nowhere", "--output", "s=/etc,max=1"}, "true");
  CHECK(lacks.err.find("davit: output r: missing: there is nothing at /nowhere\n") != std::string::npos);
  CHECK(lacks.err.find("davit: output s: failed: ") != std::string::npos);
  CHECK(run({"-q", "--output", "r=/nowhere"}, "true").err.empty());
}

TEST_CASE("a list of an output with too many names is refused, and its folders can be listed", "[files]") {
  static const test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox("n=$(printf 'n%.0s' $(seq 240)); d=/o/$n/$n/$n/$n/$n/$n/$n/$n; mkdir -p $d /o/small; cd $d; "
                      "for i in $(seq 2500); do : > $i; done; : > /o/small/f");
  spec.outputs["o"].path = "/o";
  auto ended = agent.run(spec);
  auto path = "/v1/tasks/" + to_string(ended.id) + "/outputs/o";
  CHECK(agent.http("GET", path, {{"Accept", "application/json"}}).status == 413);
  CHECK(agent.http("GET", path + "/small", {{"Accept", "application/json"}}).status == 200);
  CHECK(read_archive(agent.call("GET", path)).files.size() == 2501);
}
