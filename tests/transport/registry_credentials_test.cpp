// Registry credentials from docker's config.json: its own forms, its helpers, and files that are none.
#include "fixture/test_engine.hpp"
#include "json/read.hpp"
#include "encoding/base64.hpp"
#include "transport/helper_process.hpp"
#include "transport/registry_credentials.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
using namespace davit::encoding;
using namespace davit::transport;
using namespace std::chrono_literals;

namespace {

template <class T>
T run(awaitable<T> work) {
  boost::asio::io_context context;
  std::optional<T> outcome;
  boost::asio::co_spawn(context, std::move(work), [&](std::exception_ptr failed, T value) {
    if (failed)
      std::rethrow_exception(failed);
    outcome = std::move(value);
  });
  context.run();
  return std::move(*outcome);
}

/// What the engine would be told, as JSON; the error's words if there is one.
std::string auth(const registry_credentials& known, const std::string& image) {
  auto answer = run(known.of_image(image, within(5s)));
  if (!answer)
    return "error: " + answer.error().message;
  auto text = answer->header;
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  return base64_decode(text).value_or("no base64");
}

registry_credentials parse(const std::string& text) {
  auto parsed = registry_credentials::parse(text, "test.json");
  if (!parsed)
    FAIL(parsed.error().message);
  return *parsed;
}

/// A folder on the PATH for helpers of this test.
struct helper_folder {
  scratch_folder folder;
  std::string before = std::getenv("PATH");
  helper_folder() { ::setenv("PATH", ((folder / ".") + ":" + before).c_str(), 1); }
  ~helper_folder() { ::setenv("PATH", before.c_str(), 1); }
  void add(const std::string& name, const std::string& script) {
    auto file = folder / ("docker-credential-" + name);
    std::ofstream{file} << "#!/bin/sh\n" << script << "\n";
    ::chmod(file.c_str(), 0755);
  }
};

} // namespace

TEST_CASE("an image's registry is found as docker finds it") {
  for (auto image : {"alpine", "alpine:3", "library/alpine", "docker.io/alpine", "index.docker.io/library/alpine:3",
                     "me/app@sha256:0"})
    CHECK(registry_credentials::registry_of(image) == "https://index.docker.io/v1/");
  CHECK(registry_credentials::registry_of("localhost/app") == "localhost");
  CHECK(registry_credentials::registry_of("127.0.0.1:5000/app:1") == "127.0.0.1:5000");
  CHECK(registry_credentials::registry_of("ghcr.io/me/app") == "ghcr.io");
}

TEST_CASE("credentials are read in every form that docker login writes") {
  auto known = parse(
    R"({"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3OjE="},"ghcr.io":{"username":"me","password":"p"},"https://r.example:5000/v2/":{"auth":"dTpw","identitytoken":"idt"},
                         "empty.example":{}},"HttpHeaders":{"User-Agent":"x"},"detachKeys":"ctrl-e"})");
  CHECK(auth(known, "alpine")
        == R"({"serveraddress":"https://index.docker.io/v1/","username":"hub","password":"pw:1"})");
  CHECK(auth(known, "ghcr.io/me/app:1") == R"({"serveraddress":"ghcr.io","username":"me","password":"p"})");
  CHECK(auth(known, "r.example:5000/app")
        == R"({"serveraddress":"r.example:5000","identitytoken":"idt","username":"u","password":"p"})");
  for (auto none : {"empty.example/app", "quay.io/app", "r.example/app", "localhost/x"})
    CHECK(auth(known, none).empty());
  CHECK(auth({}, "alpine").empty());
}

TEST_CASE("a config.json that is none is an error that names the place and quotes no secret") {
  auto complaint = [](const std::string& text) {
    auto parsed = registry_credentials::parse(text, "test.json");
    REQUIRE(parsed.has_error());
    INFO(parsed.error().message);
    CHECK(parsed.error().message.find("test.json") == 0);
    CHECK(parsed.error().message.find("c2VjcmV0") == std::string::npos);
    return parsed.error().message;
  };
  complaint("{");
  complaint("[]");
  CHECK(complaint(R"({"auths":{"a.example":{"auth":7}}})").find("auth") != std::string::npos);
  CHECK(complaint(R"({"auths":{"a.example":{"auth":"c2VjcmV0"}}})").find("auths[a.example].auth") != std::string::npos);
  CHECK(complaint(R"({"credHelpers":{"a.example":"../../bin/sh"}})").find("credHelpers[a.example]")
        != std::string::npos);
  CHECK(complaint(R"({"credsStore":"x; rm"})").find("credsStore") != std::string::npos);
  CHECK(registry_credentials::load("/nowhere/config.json").has_error());
  CHECK(registry_credentials::load("").has_value());
}

TEST_CASE("a task's own credentials are auths: helpers and stores are refused in every way to write them") {
  const std::string source = "the secret DOCKER_AUTH_CONFIG";
  auto refused = [&](const std::string& text) {
    INFO(text);
    auto own = registry_credentials::parse_own(text, source);
    CHECK(own.has_value() == !registry_credentials::names_helpers(text));
    if (own)
      return false;
    CHECK(own.error().message.find(source + " names credential helpers") == 0);
    CHECK(own.error().message.find("auths") != std::string::npos);
    return true;
  };
  // Every choice of the keys, in every order; what is empty names nothing.
  struct part {
    std::string text;
    bool names = false;
  };
  const std::vector<part> parts{{R"("auths":{"a.example":{"auth":"dTpw"}})"},
                                {R"("HttpHeaders":{"credsStore":"x"})"},
                                {R"("credHelpers":{})"},
                                {R"("credsStore":"")"},
                                {R"("credHelpers":{"a.example":"good"})", true},
                                {R"("cred\u0048elpers" : {"b.example":"" })", true},
                                {R"("credsStore":"good")", true},
                                {R"("creds\u0053tore":"../x")", true}};
  for (unsigned chosen = 0; chosen < 1u << parts.size(); ++chosen)
    for (auto forward : {true, false}) {
      std::string text;
      std::set<std::string> keys;
      bool names = false, twice = false;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto& one = parts[forward ? i : parts.size() - 1 - i];
        if ((chosen >> (forward ? i : parts.size() - 1 - i) & 1u) == 0)
          continue;
        text += (text.empty() ? "" : ",") + one.text;
        names = names || one.names;
        twice = twice
             || !keys
                   .insert(one.text.find("elpers") != std::string::npos ? "helpers"
                           : one.text.starts_with("\"creds")            ? "store"
                                                                        : one.text)
                   .second;
      }
      if (!twice)
        CHECK(refused('{' + text + '}') == names);
    }
  // A key that is there twice: whatever is read of it is what is judged.
  for (auto text : {R"({"credsStore":"","credsStore":"good"})", R"({"credsStore":"good","credsStore":""})"})
    if (auto own = registry_credentials::parse_own(text, source); own)
      CHECK(auth(*own, "a.example/app").empty());
  CHECK_FALSE(registry_credentials::names_helpers("{no config"));
  CHECK(registry_credentials::parse_own("{no config", source).error().message.find("is not a valid Docker config.json")
        != std::string::npos);
}

TEST_CASE("credential helpers are asked, and their trouble is told without what they say") {
  helper_folder helpers;
  helpers.add("good", R"(read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$1\",\"Secret\":\"s3cret\"}")");
  helpers.add("token", R"(echo '{"ServerURL":"x","Username":"<token>","Secret":"idt"}')");
  helpers.add("none", "echo 'credentials not found in native keychain'; exit 1");
  helpers.add("broken", "echo 'password is s3cret' ; exit 3");
  helpers.add("odd", "echo s3cret");
  helpers.add("hanging", "sleep 600 & sleep 600");
  helpers.add("endless", "yes");
  auto with = [](const std::string& helper) {
    return parse(R"({"auths":{"a.example":{"auth":"dTpw"}},"credHelpers":{"b.example":")" + helper
                 + R"("},"credsStore":"good"})");
  };
  CHECK(auth(with("token"), "c.example/app")
        == R"({"serveraddress":"c.example","username":"get","password":"s3cret"})");
  CHECK(auth(with("token"), "a.example/app").find(R"("username":"u")") != std::string::npos);
  CHECK(auth(with("token"), "b.example/app") == R"({"serveraddress":"b.example","identitytoken":"idt"})");
  CHECK(auth(with("none"), "b.example/app").empty());
  for (auto bad : {"broken", "odd", "endless", "not-there"}) {
    auto told = auth(with(bad), "b.example/app");
    INFO(told);
    CHECK(told.starts_with("error: no credentials for b.example"));
    CHECK(told.find("s3cret") == std::string::npos);
  }
  auto hanging = run(with("hanging").of_image("b.example/app", within(200ms)));
  REQUIRE(hanging.has_error());
  CHECK(hanging.error().message.find("did not answer in time") != std::string::npos);
  CHECK(shell("pgrep -f '[d]ocker-credential-(hanging|endless)' || true").empty());
}

TEST_CASE("the secret parts of a config.json are all that a registry is sent, and nothing of what is not one",
          "[secrets]") {
  auto parts = [](const std::string& text) {
    auto all = registry_credentials::secret_parts(text);
    return std::set<std::string>{all.begin(), all.end()};
  };
  CHECK(parts(R"({"auths":{"a":{"username":"joe","password":"word"},"b":{"auth":")" + base64_encode("ann:two:x")
              + R"("},"c":{"identitytoken":"i"},"d":{"registrytoken":"r"}},"credsStore":"s"})")
        == std::set<std::string>{"word", "joe:word", base64_encode("ann:two:x"), "two:x", "ann:two:x", "i", "r"});
  CHECK(parts(R"({"username":"joe","password":"word"})") == std::set<std::string>{"word", "joe:word"});
  CHECK(parts(R"({"auths":{"a":{"auth":"no base64"}}})") == std::set<std::string>{"no base64"});
  for (auto other : {"", "{no config", "[]", "7", R"({"auths":7})"})
    CHECK(parts(other).empty());
}
