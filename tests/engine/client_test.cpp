// The transport's own view of a real engine, without any actor: every call of the Docker Engine API that davit has.
#include "fixture/test_engine.hpp"
#include "fixture/test_registry.hpp"
#include "encoding/base64.hpp"
#include "transport/demultiplexer.hpp"
#include "transport/engine_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <fstream>

using namespace davit;
using namespace davit::test;
using namespace davit::transport;
using namespace std::chrono_literals;

namespace {

call_options soon() {
  call_options options;
  options.until = within(60s);
  return options;
}

/// Runs one coroutine after the other on a client.
struct caller {
  explicit caller(const engine_settings& settings)
    : client(std::make_shared<engine_client>(context, *endpoint_of(settings))) {
    info = get(client->connect(soon()));
  }

  template <class T>
  result<T> run(awaitable<result<T>> call) {
    std::optional<result<T>> answer;
    boost::asio::co_spawn(client->executor(), std::move(call), [&](std::exception_ptr failed, result<T> value) {
      if (failed)
        std::rethrow_exception(failed);
      answer.emplace(std::move(value));
    });
    context.restart();
    context.run();
    return std::move(*answer);
  }

  template <class T>
  T get(awaitable<result<T>> call) {
    auto answer = run(std::move(call));
    if (!answer)
      throw std::runtime_error(answer.error().message);
    if constexpr (!std::is_void_v<T>)
      return std::move(*answer);
  }

  template <class T>
  error fail(awaitable<result<T>> call) {
    auto answer = run(std::move(call));
    REQUIRE_FALSE(answer.has_value());
    return answer.error();
  }

  boost::asio::io_context context{1};
  std::shared_ptr<engine_client> client;
  engine_info info;
};

container_plan plan(std::string name, std::vector<std::string> command) {
  container_plan made;
  made.name = std::move(name);
  made.image = "busybox:test";
  made.command = std::move(command);
  made.network = "none";
  made.labels["test"] = made.name;
  return made;
}

/// Everything that comes out of a stream that is no longer HTTP.
awaitable<result<std::string>> read_all(hijacked_stream stream, std::string input) {
  auto all = stream.first;
  if (!input.empty()) {
    auto written = co_await stream.stream->write(input, within(30s));
    if (!written)
      co_return written.error();
    co_await stream.stream->shutdown_write();
  }
  std::vector<char> buffer(4096);
  while (true) {
    auto count = co_await stream.stream->read_some(buffer, within(30s));
    if (!count)
      co_return count.error();
    if (*count == 0)
      co_return all;
    all.append(buffer.data(), *count);
  }
}

awaitable<result<std::string>>
attach_start_read(std::shared_ptr<engine_client> client, std::string id, std::string input) {
  auto attached = co_await client->attach(id, true, soon());
  if (!attached)
    co_return attached.error();
  auto started = co_await client->start_container(id, soon());
  if (!started)
    co_return started.error();
  co_return co_await read_all(std::move(*attached), std::move(input));
}

awaitable<result<std::vector<engine_event>>> read_events(std::shared_ptr<engine_client> client, event_options what) {
  auto opened = co_await client->events(std::move(what), soon());
  if (!opened)
    co_return opened.error();
  std::vector<engine_event> list;
  while (true) {
    auto event = co_await (*opened)->next(within(30s));
    if (!event)
      co_return event.error();
    if (!*event)
      co_return list;
    list.push_back(std::move(**event));
  }
}

std::map<int, std::string> split(const std::string& frames) {
  std::map<int, std::string> streams;
  demultiplexer reader;
  REQUIRE(reader.feed(frames, [&](demultiplexer::piece one) { streams[one.stream] += one.bytes; }).has_value());
  CHECK(reader.at_boundary());
  return streams;
}

void check_calls(const any_engine& engine) {
  caller on{engine.settings()};
  auto client = on.client;
  auto drop = [&](const std::string& id) { on.get(client->remove_container(id, soon())); };

  SECTION("version, ping, info, image") {
    CHECK_FALSE(on.info.id.empty());
    CHECK(on.info.api_version == client->api_version());
    CHECK(on.info.memory_limit);
    on.get(client->ping(soon()));
    CHECK(on.get(client->inspect_image("busybox:test", soon())).id.starts_with("sha256:"));
    auto missing = on.fail(client->inspect_image("no/such:image", soon()));
    CHECK(missing.code == engine_errc::not_found);
    CHECK(missing.message.find("no/such:image") != std::string::npos);
  }
  SECTION("create, start, wait, inspect, logs, list, remove; twice is no harm") {
    auto id = on.get(client->create_container(plan("one", {"sh", "-c", "echo out; echo err >&2; exit 5"}), soon()));
    CHECK(on.fail(client->create_container(plan("one", {"true"}), soon())).code == engine_errc::conflict);
    CHECK(on.get(client->inspect_container("one", soon())).state == "created");
    CHECK(on.get(client->start_container(id, soon())));
    CHECK(on.get(client->wait_container(id, soon())) == 5);
    auto status = on.get(client->inspect_container(id, soon()));
    CHECK(status.ended());
    CHECK(status.exit_code == 5);
    CHECK(status.labels.at("test") == "one");
    CHECK(on.get(client->list_containers({"test=one"}, soon())).size() == 1);
    CHECK(on.get(client->list_containers({"test=on"}, soon())).empty());
    drop(id);
    drop(id);
    CHECK(on.fail(client->inspect_container(id, soon())).code == engine_errc::not_found);
  }
  SECTION("attach: multiplexed, with standard input, and as a terminal") {
    auto made = plan("attached", {"sh", "-c", "cat; echo done >&2"});
    made.open_stdin = true;
    auto id = on.get(client->create_container(made, soon()));
    auto streams = split(on.get(attach_start_read(client, id, "from here\n")));
    CHECK(streams[1] == "from here\n");
    CHECK(streams[2] == "done\n");
    drop(id);
    made = plan("terminal", {"sh", "-c", "test -t 1 && echo tty"});
    made.tty = true;
    id = on.get(client->create_container(made, soon()));
    CHECK(on.get(attach_start_read(client, id, "")) == "tty\r\n");
    drop(id);
  }
  SECTION("exec: output, input, environment and exit code; stop and kill") {
    auto id = on.get(client->create_container(plan("host", {"sleep", "600"}), soon()));
    on.get(client->start_container(id, soon()));
    CHECK_FALSE(on.get(client->start_container(id, soon()))); // it runs already
    exec_plan what;
    what.command = {"sh", "-c", "echo $A; pwd; echo oops >&2; exit 9"};
    what.env["A"] = "b c";
    what.workdir = "/tmp";
    auto exec = on.get(client->create_exec(id, what, soon()));
    auto streams = split(on.get(read_all(on.get(client->start_exec(exec, false, soon())), "")));
    CHECK(streams[1] == "b c\n/tmp\n");
    CHECK(streams[2] == "oops\n");
    auto status = on.get(client->inspect_exec(exec, soon()));
    CHECK_FALSE(status.running);
    CHECK(status.exit_code == 9);
    on.get(client->kill_container(id, "SIGKILL", soon()));
    CHECK(on.get(client->wait_container(id, soon())) == 137);
    CHECK_FALSE(on.get(client->stop_container(id, 1s, soon()))); // it had ended
    drop(id);
  }
  SECTION("archives go in and out as they are") {
    auto id = on.get(client->create_container(plan("files", {"true"}), soon()));
    scratch_folder folder;
    shell("head -c 3000000 /dev/urandom > " + (folder / "data") + " && tar -C " + folder.path().string() + " -cf "
          + (folder / "in.tar") + " data");
    std::ifstream in{folder / "in.tar", std::ios::binary};
    std::string tar{std::istreambuf_iterator<char>{in}, {}};
    on.get(client->upload_archive(id, "/tmp", tar, soon()));
    auto back = on.get(client->download_archive(id, "/tmp/data", soon()));
    std::ofstream{folder / "out.tar", std::ios::binary} << back;
    shell("mkdir " + (folder / "out") + " && tar -C " + (folder / "out") + " -xf " + (folder / "out.tar") + " && cmp "
          + (folder / "data") + " " + (folder / "out/data"));
    auto limited = soon();
    limited.max_body = 1000;
    CHECK(on.fail(client->download_archive(id, "/tmp/data", limited)).code == engine_errc::protocol);
    CHECK(on.fail(client->download_archive(id, "/no/such/path", soon())).code == engine_errc::not_found);
    drop(id);
  }
  SECTION("events of the past, and of one container alone") {
    auto id = on.get(client->create_container(plan("told", {"true"}), soon()));
    on.get(client->start_container(id, soon()));
    on.get(client->wait_container(id, soon()));
    drop(id);
    event_options what;
    what.since = "1";
    what.until = shell("date +%s.%N | tr -d '\\n'");
    what.filters = {{"container", id}};
    std::vector<std::string> actions;
    for (const auto& one : on.get(read_events(client, what))) {
      CHECK(one.id == id);
      actions.push_back(one.action);
    }
    for (auto wanted : {"create", "start", "die", "destroy"})
      CHECK(std::count(actions.begin(), actions.end(), wanted) == 1);
  }
  SECTION("every call has its deadline, and can be withdrawn") {
    auto id = on.get(client->create_container(plan("slow", {"sleep", "600"}), soon()));
    on.get(client->start_container(id, soon()));
    auto hasty = soon();
    hasty.until = within(200ms);
    CHECK(on.fail(client->wait_container(id, hasty)).code == engine_errc::timed_out);
    auto withdrawn = soon();
    withdrawn.control = std::make_shared<call_control>();
    boost::asio::steady_timer timer{client->executor(), 200ms};
    timer.async_wait([&](auto) { withdrawn.control->cancel(); });
    CHECK(on.fail(client->wait_container(id, withdrawn)).code == engine_errc::cancelled);
    on.get(client->ping(soon())); // the client itself is as good as before
    drop(id);
  }
}

} // namespace

TEST_CASE("the engine client speaks all of the API that davit needs", "[client]") {
  static const test_engine engine{"a"};
  check_calls(engine);
}

TEST_CASE("docker:dind over TLS: the engine client speaks all of the API that davit needs", "[dind][client]") {
  if (!dind_engine::available())
    SKIP("DAVIT_DIND_ROOT names no file system for docker:dind (scripts/test makes one)");
  static const dind_engine engine{dind_mode::tls};
  check_calls(engine);
}

TEST_CASE("an image is pulled from a registry, with progress, and with credentials where they are asked for",
          "[client][pull]") {
  test_engine engine{"a"};
  caller on{engine.settings()};
  SECTION("an open one") {
    test_registry registry;
    auto name = registry.image("busybox:1");
    engine.docker("tag busybox:test " + name + " && docker -H unix://" + engine.socket() + " push -q " + name
                  + " && docker -H unix://" + engine.socket() + " rmi " + name + " busybox:test");
    std::uint64_t most = 0;
    std::uint32_t layers = 0, done = 0;
    on.get(on.client->pull_image(
      name, {},
      [&](const pull_progress& now) {
        most = std::max(most, now.bytes_total);
        layers = std::max(layers, now.layers);
        done = std::max(done, now.layers_done);
      },
      soon()));
    CHECK(layers == 1);
    CHECK(done == 1);
    CHECK(most > 0);
    CHECK(on.get(on.client->inspect_image(name, soon())).id.starts_with("sha256:"));
    CHECK(on.fail(on.client->pull_image(
                    registry.image("busybox:2"), {}, [](const pull_progress&) {}, soon()))
            .message.find("not found")
          != std::string::npos);
  }
  SECTION("one that asks for a password") {
    test_registry registry{"secret"};
    auto name = registry.image("busybox:1");
    engine.docker("tag busybox:test " + name + " && docker -H unix://" + engine.socket() + " --config "
                  + on.client->where().path + ".config login -u user -p secret " + registry.image("")
                  + " && docker -H unix://" + engine.socket() + " --config " + on.client->where().path
                  + ".config push -q " + name + " && docker -H unix://" + engine.socket() + " rmi " + name);
    auto pull = [&](std::string header) {
      return on.client->pull_image(
        name, {std::move(header)}, [](const pull_progress&) {}, soon());
    };
    CHECK(on.fail(pull("")).message.find("no basic auth credentials") != std::string::npos);
    auto credentials = [](const std::string& password) {
      auto text = encoding::base64_encode(R"({"username":"user","password":")" + password + "\"}");
      std::replace(text.begin(), text.end(), '+', '-');
      std::replace(text.begin(), text.end(), '/', '_');
      return text;
    };
    CHECK(on.fail(pull(credentials("wrong"))).message.find("unauthorized") != std::string::npos);
    on.get(pull(credentials("secret")));
  }
}
