#include "configuration/configuration.hpp"
#include "configuration/options.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

using namespace davit;
using namespace std::chrono_literals;

namespace {

configuration read(const std::string& text, std::vector<std::string> overrides = {}) {
  davit::test::scratch_folder folder;
  auto file = folder / "davit.conf";
  std::ofstream{file} << text;
  auto config = read_configuration(file, overrides);
  for (auto& one : config.mistakes)
    if (!one.file.empty())
      one.file = "davit.conf";
  return config;
}

bool names(const configuration& config, const std::string& start) {
  for (const auto& one : config.mistakes)
    if (one.text().starts_with(start))
      return true;
  return false;
}

} // namespace

TEST_CASE("every option of the configuration file arrives") {
  auto config = read(R"(davit {
  agent {
    name = "a1"
    data-dir = "/data"
    drain-timeout = 10min
  }
  api {
    listen = "unix:///run/davit.sock"
  }
  engines {
    host {
      endpoint = "unix:///var/run/docker.sock"
      slots = 8
      labels = ["host-socket"]
    }
    dind {
      endpoint = "tcp://docker-in-docker:2376"
      tls-ca = "/certs/ca.pem"
      tls-certificate = "/certs/cert.pem"
      tls-key = "/certs/key.pem"
      grace = 2min
    }
  }
  policy {
    images {
      allow = ["alpine:.*"]
    }
    defaults {
      memory = "256m"
    }
    ceilings {
      timeout = 2h
    }
  }
}
caf {
  scheduler {
    max-threads = 3
  }
}
)",
                     {"--davit.agent.name=a2", "--davit.engines.host.slots=2"});
  for (const auto& one : config.mistakes)
    FAIL_CHECK(one.text());
  const auto& agent = config.agent;
  CHECK(agent.name == "a2"); // flags go over the file
  CHECK(agent.store_url == "sqlite:///data/davit.db");
  CHECK(agent.drain_timeout == 10min);
  REQUIRE(agent.engines.size() == 2);
  CHECK(agent.engines[0].name == "dind");
  CHECK(agent.engines[0].grace == 2min);
  CHECK(agent.engines[0].tls_key == "/certs/key.pem");
  CHECK(agent.engines[1].slots == 2);
  CHECK(agent.engines[1].labels == std::vector<std::string>{"host-socket"});
  CHECK(agent.policy.images_allow.size() == 1);
  CHECK(agent.policy.defaults.memory->bytes == 256ull << 20);
  CHECK(agent.policy.max_timeout == 2h);
}

TEST_CASE("a profile has a group of its own, and no other name has") {
  auto config
    = read("davit {\n  policy {\n    profiles {\n      restricted {\n        memory = \"1g\"\n        timeout = "
           "30min\n        volumes-allow = [\"data-.*\"]\n      }\n      privileged {\n        labels = 5\n      "
           "}\n    }\n  }\n}\n");
  CHECK(config.mistakes.empty());
  REQUIRE(config.agent.policy.profiles.size() == 2);
  const auto& restricted = config.agent.policy.profiles[1];
  CHECK(restricted.name == "restricted");
  CHECK(restricted.ceilings.memory == byte_size{1ull << 30});
  CHECK(restricted.ceilings.timeout == 30min);
  CHECK(restricted.volumes_allow == std::vector<std::string>{"data-.*"});
  CHECK(config.agent.policy.profiles[0].ceilings.labels == 5u);
  CHECK_FALSE(config.agent.policy.profiles[0].volumes_allow);
  auto wrong
    = read("davit {\n  policy {\n    profiles {\n      strict {\n        memory = \"1g\"\n      }\n      baseline "
           "{\n        memroy = \"1g\"\n        volumes-allow = [\"(\"]\n      }\n    }\n  }\n}\n");
  CHECK(names(wrong,
              "davit.conf:4: davit.policy.profiles.strict: is not a profile; the name must be one of restricted, "
              "baseline, privileged"));
  CHECK(names(wrong, "davit.conf:8: davit.policy.profiles.baseline.memroy: unknown option, did you mean \"memory\"?"));
  CHECK(names(wrong, "davit.conf:9: davit.policy.profiles.baseline.volumes-allow: "));
}

TEST_CASE("every mistake is named with its line and option") {
  auto config = read("davit {\n  agent {\n    nmae = \"x\"\n  }\n  engines {\n    a {\n      slots = \"many\"\n      "
                     "endpoint = \"nonsense\"\n    }\n  }\n"
                     "  api {\n    listen = \"0.0.0.0:7300\"\n  }\n  policy {\n    images {\n      allow = [\"(\"]\n   "
                     " }\n  }\n}\ncaf {\n  no-such = 1\n}\n");
  CHECK(names(config, "davit.conf:3: davit.agent.nmae: unknown option, did you mean \"name\"?"));
  CHECK(names(config, "davit.conf:7: davit.engines.a.slots: must be a whole number"));
  CHECK(names(config, "davit.conf:8: davit.engines.a.endpoint:"));
  auto relative = read("davit {\n  engines {\n    a {\n      containers-folder = \"containers\"\n    }\n  }\n}\n");
  CHECK(names(relative, "davit.conf:4: davit.engines.a.containers-folder: must be an absolute path"));
  CHECK(names(config, "davit.conf:12: davit.api.listen:"));
  CHECK(names(config, "davit.conf:16: davit.policy.images.allow:"));
  CHECK(names(config, "davit.conf:21: caf.no-such: CAF has no such option"));
  CHECK(config.mistakes.size() == 6);
  CHECK_FALSE(read("davit { agent { name = }").mistakes.empty());
  CHECK_FALSE(read_configuration("/no/such/file.conf", {}).mistakes.empty());
  CHECK_FALSE(read("", {"--nonsense"}).mistakes.empty());
}

TEST_CASE("placement and sinks arrive; what is wrong with them is named") {
  auto good = read(R"(davit {
  placement {
    strategy = "pack"
    image-patience = 5s
    max-per-owner = 7
    max-per-label = ["team=red: 8", "deploy: 1"]
  }
  logs {
    sinks {
      aws {
        type = "cloudwatch"
        region = "eu-central-1"
        stream = "{name}/{attempt}"
      }
      disk {
        type = "file"
        path = "/var/log/davit.json"
        max-size = "1m"
        max-files = 2
      }
    }
  }
}
)");
  for (const auto& one : good.mistakes)
    FAIL_CHECK(one.text());
  const auto& placement = good.agent.placement;
  CHECK(placement.strategy == placement_strategy::pack);
  CHECK(placement.image_patience == 5s);
  CHECK(placement.most_per_owner == 7);
  CHECK(placement.label_limits == std::vector<label_limit>{{"team", "red", 8}, {"deploy", "", 1}});
  REQUIRE(good.agent.logs.sinks.size() == 2);
  CHECK(good.agent.logs.sinks[0].type == sink_type::cloudwatch);
  CHECK(good.agent.logs.sinks[0].stream == "{name}/{attempt}");
  CHECK(good.agent.logs.sinks[1].max_size.bytes == 1 << 20);
  auto wrong = read(R"(davit {
  placement {
    max-per-label = ["deploy: none"]
  }
  logs {
    sinks {
      a {
        type = "loki"
      }
      b {
        type = "file"
      }
      c {
        type = "otlp"
        url = "http://collector:4318"
        group = "{tusk}"
      }
      d {
        type = "smoke"
        tpye = "loki"
      }
    }
  }
}
)");
  CHECK(names(wrong, "davit.conf:3: davit.placement.max-per-label: must be a list, each entry a label and a number"));
  CHECK(names(wrong, "davit.conf:7: davit.logs.sinks.a: it has no url"));
  CHECK(names(wrong, "davit.conf:10: davit.logs.sinks.b: a file needs a path"));
  CHECK(names(wrong, "davit.conf:16: davit.logs.sinks.c.group: {tusk} is not one of"));
  CHECK(names(
    wrong,
    "davit.conf:19: davit.logs.sinks.d.type: must be one of file, stdout, cloudwatch, loki, otlp, not \"smoke\""));
  CHECK(names(wrong, "davit.conf:20: davit.logs.sinks.d.tpye: unknown option, did you mean \"type\"?"));
}

TEST_CASE("the defaults that are printed are the defaults that hold") {
  auto config = read(default_configuration());
  CHECK(config.mistakes.empty());
  auto plain = read("");
  for (const auto& one : agent_options()) {
    CAPTURE(one.name);
    CHECK(one.get(config.agent) == one.get(plain.agent));
  }
}

TEST_CASE("an address that can't work is refused, in words of what is expected there") {
  auto at = [](const std::string& option, const std::string& value) {
    if (option == "engine")
      return "davit {\n  engines {\n    e {\n      endpoint = \"" + value + "\"\n    }\n  }\n}\n";
    if (option == "sink")
      return "davit {\n  logs {\n    sinks {\n      s {\n        type = \"loki\"\n        url = \"" + value
           + "\"\n      }\n    }\n  }\n}\n";
    return "davit {\n  api {\n    listen = \"" + value + "\"\n  }\n}\n";
  };
  const std::pair<std::string, std::string> schemes[]
    = {{"engine", "tcp://"}, {"sink", "http://"}, {"sink", "https://"}, {"api", ""}};
  for (const auto& [option, scheme] : schemes) {
    for (std::string bad :
         {"loki:99999", "loki:0", "loki:-1", "loki:", "loki:80x", "lo ki:80", "lo/ki:80x", "user@loki:80", "[::1:80",
          "[nonsense]:80", "[::1]80", ":80", "", "a:b:80", "loki:80?x", "lo\\tki:80"}) {
      if (option == "sink" && (bad == "loki:" || bad == "lo/ki:80x")) // the scheme's port, and a path
        continue;
      if (bad == "loki:" && option == "engine")
        continue;
      if (bad.empty() && option == "api")
        continue;
      auto config = read(at(option, scheme + bad));
      CAPTURE(option, scheme + bad);
      REQUIRE(!config.mistakes.empty());
      CHECK((config.mistakes.size() == 1 || option == "api")); // that it can be reached from elsewhere is another one
      auto text = config.mistakes.front().text();
      CAPTURE(text);
      CHECK((text.find("write ") != std::string::npos || text.find("must start with") != std::string::npos));
      CHECK((option == "engine") == (text.find("docker.sock") != std::string::npos));
    }
    for (std::string good : {"localhost:8080", "127.0.0.1:1", "[::1]:65535"})
      CHECK(read(at(option, scheme + good)).mistakes.empty());
  }
  CHECK_FALSE(read(at("api", "localhost")).mistakes.empty());
  CHECK_FALSE(read(at("sink", "ftp://loki:80")).mistakes.empty());
  CHECK(read(at("sink", "https://loki/loki/api/v1/push")).mistakes.empty());
  for (auto option : {"listen", "advertise"})
    for (auto bad : {"host:99999", "host", ":7400", "host:0", "ho st:7400", "::1:7400"}) {
      CAPTURE(option, bad);
      auto text = std::string{"davit {\n  fleet {\n    listen = \"127.0.0.1:7400\"\n  }\n}\n"};
      auto config = read(text, {std::string{"--davit.fleet."} + option + "=\"" + bad + "\""});
      CHECK(std::any_of(config.mistakes.begin(), config.mistakes.end(), [](const auto& one) {
        return one.text().find("is not a valid host:port") != std::string::npos;
      }));
    }
}

TEST_CASE("names that break metrics, and two sinks with one file, are refused") {
  auto wrong = read(R"(davit {
  engines {
    "a\"b" {
      endpoint = "unix:///x.sock"
    }
  }
  logs {
    sinks {
      one {
        type = "file"
        path = "/var/log/tasks.json"
      }
      two {
        type = "file"
        path = "/var/log/tasks.json"
      }
    }
  }
}
)");
  CHECK(names(wrong, "davit.conf:3: davit.engines.a\"b: must consist of"));
  CHECK(names(wrong, "davit.conf:15: davit.logs.sinks.two.path: the sink one writes this file"));
}

TEST_CASE("what CAF's parser passes over is refused: numbers that overflow, options that are given twice") {
  for (const char* span : {"307445735min", "999999999999999h", "-99999999999h", "876001h", "9223372036854775807s",
                           "92233720368547758ms"}) {
    INFO(span);
    auto config = read("davit {\n  store {\n    retention = " + std::string{span} + "\n  }\n}\n");
    CHECK(names(config, "davit.conf:3: davit.store.retention: must be at most 876000h, not " + std::string{span}));
    CHECK(config.mistakes.size() == 1);
    auto given = read("", {"--davit.store.retention=" + std::string{span}});
    CHECK(names(given, "command line: davit.store.retention: must be at most 876000h, not " + std::string{span}));
    CHECK(given.mistakes.size() == 1);
  }
  CHECK(read("davit { store { retention = 876000h } }").mistakes.empty());
  auto negative = read("davit { store { retention = -5s } }");
  CHECK(names(negative, "davit.conf:1: davit.store.retention: must be 0 or longer, not -5s"));
  auto twice = read("davit {\n  agent {\n    name = \"a\"\n    name = \"b\"\n  }\n}\n");
  CHECK(names(twice, "davit.conf:4: davit.agent.name: is given a second time; the first is in line 3"));
  CHECK(
    read("davit { engines {\n a { endpoint = \"unix:///a\" }\n b { endpoint = \"unix:///a\" }\n } }").mistakes.empty());
}

TEST_CASE("a count is told of its bounds, whatever it is") {
  for (const char* count : {"0", "-1", "100001", "4294967296", "9223372036854775807"}) {
    auto config = read("davit { engines { a { endpoint = \"unix:///a\"\n slots = " + std::string{count} + " } } }");
    CHECK(names(config, "davit.conf:2: davit.engines.a.slots: must be from 1 to 100000, not " + std::string{count}));
  }
}

TEST_CASE("a sink's option that its type does not read is refused") {
  auto config = read("davit { logs { sinks {\n a {\n type = \"file\"\n path = \"/a\"\n url = \"http://b\"\n }\n "
                     "c {\n type = \"loki\"\n url = \"http://b\"\n path = \"/c\"\n }\n } } }");
  CHECK(names(config, "davit.conf:5: davit.logs.sinks.a.url: a sink of type \"file\" does not use this"));
  CHECK(names(config, "davit.conf:10: davit.logs.sinks.c.path: a sink of type \"loki\" does not use this"));
  CHECK(config.mistakes.size() == 2);
}

TEST_CASE("half a file is not taken for a whole one, wherever it is cut") {
  std::ifstream in{std::string{DAVIT_SOURCE} + "/config/davit.conf"};
  std::string whole{std::istreambuf_iterator<char>{in}, {}};
  REQUIRE(read(whole).mistakes.empty());
  auto begin = whole.find("\ndavit {") + 8, end = whole.rfind('}');
  REQUIRE(begin < end);
  for (auto cut = begin; cut <= end; cut += 17) {
    INFO(whole.substr(std::max<std::size_t>(cut, 80) - 80, 80));
    CHECK_FALSE(read(whole.substr(0, cut)).mistakes.empty());
  }
  CHECK(names(read("davit {\n  engines {\n    a {\n    url = \"unix:///x\"\n"),
              "davit.conf:3: the { of \"a\" is not closed"));
  CHECK(names(read("davit.policy.images.allow = [ \"a\""), "davit.conf:1: this [ is not closed"));
  CHECK(names(read("davit { x = }"),
              "davit.conf:1: can't be read as a CAF configuration file: unexpected character in column 13"));
  CHECK_FALSE(read_configuration("/tmp", {}).mistakes.empty());
}

TEST_CASE("what could never work is refused before an agent starts with it") {
  const std::string engine = "engines {\n a {\n endpoint = \"unix:///x\"\n }\n }\n";
  for (auto text :
       {"store {\n retention = -1h\n }", "store {\n retention = \"-1h\"\n }",
        "policy {\n defaults {\n cpus = -1.0\n }\n }", "policy {\n defaults {\n pids = 0\n }\n }",
        "policy {\n ceilings {\n memory = \"1\"\n }\n }",
        "policy {\n defaults {\n memory = \"2g\"\n }\n ceilings {\n memory = \"1g\"\n }\n }",
        "policy {\n networks {\n allow = [\"none\"]\n default = \"bridge\"\n }\n }", "api {\n rate-limit = -5\n }"}) {
    INFO(text);
    CHECK_FALSE(read("davit {\n" + engine + text + "\n}\n").mistakes.empty());
  }
  CHECK(read("davit {\n" + engine + "}\n").mistakes.empty());
}

TEST_CASE("a unit that is none and line ends of Windows are named, with what to write instead") {
  struct unit {
    std::string written, words;
  };
  for (const auto& [written, words] :
       {unit{"10m", "10m has no unit of time: minutes are min, so write 10min; a size stands in quotes: \"10m\""},
        unit{"512m", "so write 512min; a size stands in quotes: \"512m\""},
        unit{"1d", "1d has no unit of time: write 24h; a size stands in quotes: \"1d\""},
        unit{"2sec", "2sec has no unit of time; these are ns, us, ms, s, min and h"},
        unit{"3hours", "3hours has no unit of time"}}) {
    auto config = read("davit {\n  agent {\n    drain-timeout = " + written + "\n  }\n}\n");
    REQUIRE(config.mistakes.size() == 1);
    INFO(config.mistakes.front().text());
    CHECK(names(config, "davit.conf:3: davit.agent.drain-timeout: "));
    CHECK(config.mistakes.front().message.find(words) != std::string::npos);
  }
  for (std::string good : {"10min", "1h", "30s", "500ms"})
    CHECK(read("davit {\n  agent {\n    drain-timeout = " + good + "\n  }\n}\n").mistakes.empty());
  auto windows = read("davit {\r\n  agent {\r\n    name = \"a\"\r\n  }\r\n}\r\n");
  for (const auto& one : windows.mistakes)
    INFO(one.text());
  CHECK((windows.mistakes.empty() || names(windows, "davit.conf:1: the line ends with CR LF")));
  CHECK(windows.mistakes.size() <= 1);
}

TEST_CASE("a limit of one label that is given twice is a mistake; limits of its values are not the same") {
  auto limits = [](const std::string& list) {
    return read("davit {\n  placement {\n    max-per-label = [" + list + "]\n  }\n}\n");
  };
  CHECK(names(limits(R"("deploy: 1", "deploy: 2")"),
              "davit.conf:3: davit.placement.max-per-label: names the label \"deploy\" twice; leave one out"));
  CHECK(names(limits(R"("team=red: 1", "a: 1", "team=red: 1")"),
              "davit.conf:3: davit.placement.max-per-label: names the label \"team=red\" twice"));
  CHECK(limits(R"("team: 5", "team=red: 1", "team=blue: 1")").mistakes.empty());
}

TEST_CASE("what CAF's parser passes over in silence is a mistake, and never the defaults") {
  const std::string engine = "engines {\n a {\n endpoint = \"unix:///x\"\n }\n }\n";
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
         {"davit {\n" + engine + "agent.name = \"x\"\n}\n", "davit.conf:7: agent.name: names in a file have no dots"},
         {"davit {\n api {\n rate-limit = -1\n }\n" + engine + "agent.name = \"x\"\n}\n", "davit.conf:10: agent.name:"},
         {"davit {\n policy {\n images.allow = [\"(\"]\n }\n" + engine + "}\n", "davit.conf:3: images.allow:"},
         {"davit {\n engines {\n a {\n a.b = 3\n }\n }\n}\n", "davit.conf:4: a.b:"},
         {"davit.policy.profile = \"bogus\"\n", "davit.conf:1: davit.policy.profile:"},
         {"davit.nonsense = 1\n", "davit.conf:1: davit.nonsense:"},
         {"davit", "davit.conf:1: davit: has neither a value nor a group"},
         {"davit {\n}\nfoo", "davit.conf:3: foo: has neither a value nor a group"},
         {"davit {\n engines {\n \"a/../b\" {\n a = 3\n }\n }\n}\n",
          "davit.conf:3: a/../b: names in a file have no dots"},
         {"davit {\n api {\n rate-limit = 1e400\n }\n" + engine + "}\n", "davit.conf:3: davit.api.rate-limit:"},
         {"davit {\n policy {\n ceilings {\n cpus = 0.5\n }\n }\n" + engine + "}\n",
          "davit.conf:4: davit.policy.ceilings.cpus: is below davit.policy.defaults.cpus, which is "},
         {"caf.scheduler.max-threads = 1\n", "davit.conf:1: caf.scheduler.max-threads: names in a file have no dots; "
                                             "write groups: caf { scheduler { max-threads "
                                             "... } }"},
         {"davit.api {\n rate-limit = -1\n}\n", "davit.conf:1: davit.api:"},
         {std::string{"\0davit { api { rate-limit = -1 } }", 34}, "davit.conf:1: has a NUL byte"},
         {"davit {\n" + engine + std::string{"}\n\0x", 4}, "davit.conf:8: has a NUL byte"},
         {"davit {\n policy {\n images {\n allow = " + std::string(100'000, '['),
          "davit.conf:4: groups and lists are nested"},
         {"davit {\n" +
            [] {
              std::string all;
              for (int i = 0; i < 50'000; ++i)
                all += "a {\n";
              return all;
            }(),
          "davit.conf:33: groups and lists are nested"}}) {
    CAPTURE(text.substr(0, 200));
    auto config = read(text);
    CHECK(names(config, words));
  }
  CHECK_FALSE(read_configuration("/dev/zero", {}).mistakes.empty());
}
