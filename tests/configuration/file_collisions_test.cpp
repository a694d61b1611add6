// Sinks and the audit log have files of their own.
#include "configuration/configuration.hpp"
#include "configuration/options.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

using namespace davit;
using namespace davit::test;

namespace {

/// Where davit would write.
const std::vector<std::string> writers{"davit.logs.sinks.s.path", "davit.api.audit-log"};

std::string flag(const std::string& option, const std::string& value) {
  return "--" + option + "=\"" + value + '"';
}

/// What is said of files that are used twice, of all or of one option; the options are given on the command line.
std::vector<std::string> collisions(const std::vector<std::string>& flags, const std::string& file = {}) {
  std::vector<std::string> found;
  for (const auto& one : read_configuration(file, flags).mistakes)
    if (one.message.find("name another file") != std::string::npos)
      found.push_back(one.option + ": " + one.message);
  return found;
}

bool has(const std::vector<std::string>& found, const std::string& option, const std::string& words) {
  return std::any_of(found.begin(), found.end(), [&](const std::string& one) {
    return one.starts_with(option + ": ") && one.find(words) != std::string::npos;
  });
}

/// One file by many names: it itself, over `..`, over a folder that is a link, by a link of its own, by a second name
/// of the file itself.
struct many_names {
  scratch_folder folder;
  std::minstd_rand random{11};
  int made = 0;

  std::string another(const std::filesystem::path& file) {
    auto link = folder / ("link" + std::to_string(made++));
    auto parent = file.parent_path(), name = file.filename();
    switch (random() % 6) {
      case 0:
        return file;
      case 1:
        return parent / "." / ".." / parent.filename() / name;
      case 2:
        std::filesystem::create_symlink(parent, link);
        return std::filesystem::path{link} / name;
      case 3:
        std::filesystem::create_symlink(file, link); // also if it is not there yet
        return link;
      case 4:
        std::filesystem::create_directory_symlink(another(file), link);
        return link;
      default:
        if (!std::filesystem::exists(file))
          return file;
        std::filesystem::create_hard_link(file, link);
        return link;
    }
  }
};

} // namespace

TEST_CASE("no log is written over a file that any other option names, however it is spelled") {
  many_names names;
  scratch_folder home;
  auto data = flag("davit.agent.data-dir", home / "data");
  std::filesystem::create_directories(home / "data");
  std::filesystem::create_directories(home / "files");
  std::size_t options = 0;
  auto check = [&](const std::string& option, const std::vector<std::string>& also = {}) {
    ++options;
    for (const auto& writer : writers) {
      if (writer == option)
        continue;
      for (int i = 0; i < 8; ++i) {
        auto file = std::filesystem::path{home / ("files/f" + std::to_string(i % 2))};
        if (i % 2 == 0)
          std::ofstream{file} << "something";
        auto spelled = names.another(file);
        std::vector<std::string> flags{data, flag(option, file), flag(writer, spelled)};
        flags.insert(flags.end(), also.begin(), also.end());
        CAPTURE(option, writer, spelled);
        auto found = collisions(flags);
        CHECK((has(found, writer, option) || has(found, option, writer)));
        flags[2] = flag(writer, file.string() + "x");
        CHECK(collisions(flags).empty());
      }
    }
  };
  for (const auto& one : agent_options())
    if (one.file)
      check("davit." + one.name);
  for (const auto& one : engine_options())
    if (one.file)
      check("davit.engines.e." + one.name);
  for (const auto& one : issuer_options())
    if (one.file)
      check("davit.api.issuers.i." + one.name);
  for (const auto& one : sink_options())
    if (one.file)
      check("davit.logs.sinks." + std::string{one.name == "path" ? "s." : "t."} + one.name);
  CHECK(options == 21);
}

TEST_CASE("every option whose description speaks of a file is known as one") {
  auto check = [](const auto& options) {
    for (const auto& one : options) {
      auto says = one.description.starts_with("File ") || one.description.starts_with("PEM file")
               || one.description.find("file with") != std::string::npos || one.name == "path"
               || one.name.ends_with("-file") || one.name.ends_with("-key");
      CAPTURE(one.name);
      if (says)
        CHECK(one.file);
    }
  };
  check(agent_options());
  check(engine_options());
  check(issuer_options());
  check(sink_options());
}

TEST_CASE("no log is written over what davit keeps in its data directory, the store, or the configuration file") {
  many_names names;
  scratch_folder home;
  auto there = GENERATE(false, true);
  auto data = home / "data";
  if (there)
    std::filesystem::create_directories(data);
  for (std::string name :
       {"davit.db", "davit.db-wal", "davit.db-shm", "davit.db-journal", "davit.db-mark", "secrets.key", "signing.key",
        "agent.lock", "agent.id", "logs/x", "sinks/s.json", "engines/e.json"}) {
    std::filesystem::path file = data + '/' + name;
    if (there) {
      std::filesystem::create_directories(file.parent_path());
      std::ofstream{file} << "something";
    }
    for (const auto& writer : writers)
      for (int i = 0; i < 6; ++i) {
        auto spelled = name.find('/') == std::string::npos ? names.another(file) : file.string();
        CAPTURE(writer, spelled);
        auto found = collisions({flag("davit.agent.data-dir", data), flag(writer, spelled)});
        auto option = name.starts_with("davit.db") ? "davit.store.url"
                    : name == "secrets.key"        ? "davit.agent.secrets-key"
                    : name == "signing.key"        ? "davit.agent.signing-key"
                                                   : "davit.agent.data-dir";
        CHECK(has(found, writer, option));
      }
  }
  CHECK(has(collisions({flag("davit.agent.data-dir", data), flag(writers[0], data + "/audit.log")}),
            "davit.logs.sinks.s.path", "davit.api.audit-log"));
  CHECK(has(collisions({flag("davit.agent.data-dir", data), flag("davit.agent.secrets-key", data + "/audit.log")}),
            "davit.agent.secrets-key", "davit.api.audit-log"));
  CHECK(has(collisions({flag("davit.agent.data-dir", data), flag("davit.store.url", "sqlite://" + (home / "other.db")),
                        flag("davit.logs.sinks.s.path", home / "other.db-wal")}),
            "davit.logs.sinks.s.path", "davit.store.url"));
  CHECK(collisions({flag("davit.agent.data-dir", data), flag("davit.logs.sinks.s.path", data + "/out.json")}).empty());
  std::ofstream{home / "davit.conf"} << "davit { }\n";
  CHECK(has(collisions({flag("davit.logs.sinks.s.path", home / "davit.conf")}, home / "davit.conf"),
            "davit.logs.sinks.s.path", "the configuration file"));
  CHECK(has(collisions({"--davit.api.listen=\"unix://" + (home / "api.sock") + '"',
                        flag("davit.logs.sinks.s.path", home / "api.sock")}),
            "davit.logs.sinks.s.path", "davit.api.listen"));
}

TEST_CASE("no rotated log is written over another file") {
  scratch_folder home;
  auto with = [&](const std::string& name) {
    return collisions({flag("davit.agent.data-dir", home / "data"), "--davit.logs.sinks.s.max-files=12",
                       flag("davit.logs.sinks.s.path", home / "log.json"), flag("davit.api.tokens-file", home / name)});
  };
  for (auto name : {"log.1.json", "log.9.json", "log.12.json"})
    CHECK(
      has(with(name), "davit.logs.sinks.s.path", "a rotated file would be written over the file of davit.api.tokens"));
  for (auto name : {"log.0.json", "log.01.json", "log.13.json", "log..json", "log.1", "log.1.txt", "x/log.1.json",
                    "log.1x.json", "log.99999999999999999999.json"})
    CHECK(with(name).empty());
}
