// `davit cp` of outputs, by docker cp's rules, and what `davit run` writes at its end.
#include "blobs/blob_fixture.hpp"
#include "blobs/scan.hpp"
#include "blobs/tar_writer.hpp"
#include "cli/outputs.hpp"
#include "cli/print.hpp"
#include "cli/files/fake_agent.hpp"
#include "messages/units.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;
namespace fs = std::filesystem;

namespace {

const std::string the_task = "01934567-0000-7000-8000-000000000001";

/// An agent with one the_task, whose one kept output is a folder of this machine.
struct agent_with_output {
  std::string folder;
  std::string spoiled; ///< Comes in place of each tar, if it is not empty.
  fake_agent agent;
  api_client client{agent.where()};
  std::string states = R"({"name":"reports","attempt":1,"state":"kept","tree":"sha256:aa","files":2,"bytes":12})";

  explicit agent_with_output(std::string from) : folder(std::move(from)) {
    agent.before = [this](const transport::server_request& request) { return answer(request); };
  }

  static std::string listing(const blobs::tree& tree) {
    static const char* kinds[] = {"", "file", "folder", "symlink", "hard_link"};
    std::string text = "{\"entries\":[";
    for (const auto& one : tree.entries) {
      char mode[8];
      std::snprintf(mode, sizeof mode, "%04o", one.mode);
      timestamp modified{std::chrono::seconds{one.modified.seconds}
                         + std::chrono::nanoseconds{one.modified.nanoseconds}};
      text += (text.back() == '[' ? "{" : ",{") + std::string{"\"path\":\""} + one.path + "\",\"kind\":\""
            + kinds[static_cast<int>(one.kind)] + "\",\"mode\":\"" + mode + "\",\"size\":" + std::to_string(one.size)
            + ",\"modified\":\"" + format_timestamp(modified) + "\",\"digest\":\"" + blobs::to_text(one.content)
            + "\",\"target\":\"" + one.target + "\"}";
    }
    return text + "]}";
  }

  std::string tar(const std::string& of) const {
    if (!spoiled.empty())
      return spoiled;
    auto tree = blobs::scan_folder(of).value().entries;
    auto source = blobs::folder_source::open_folder(of).value();
    blobs::tar_writer writer{tree, source};
    return drain(writer);
  }

  transport::server_response answer(const transport::server_request& request) const {
    auto target = "/v1/tasks/" + the_task + "/outputs";
    if (request.path == target)
      return {200, "application/json", "{\"outputs\":[" + states + "]}", {}};
    target += "/reports";
    auto path = request.path.starts_with(target) ? request.path.substr(target.size()) : "?";
    auto file = folder + path;
    if (path.empty() && request.header("accept") == "application/json")
      return {200, "application/json", listing(blobs::scan_folder(folder).value().entries), {}};
    if (fs::is_directory(file))
      return {200, "application/x-tar", tar(file), {}};
    if (fs::is_regular_file(file))
      return {200, "application/octet-stream", read_all(file), {}};
    return {404, "application/json", R"({"detail":"there is no such output"})", {}};
  }

  /// Copies; what went wrong.
  std::string copy(const std::string& path, const std::string& to, const std::string& name = "reports") {
    try {
      copy_output(client, the_task, name, path, to);
    } catch (const command_failure& e) {
      CHECK(e.exit_code == 125);
      return e.message;
    }
    return {};
  }
};

bool has(const std::string& text, std::string_view part) {
  INFO(text << " -- " << part);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

/// Standard output goes to a file while it lives. Not in a child: the agent's thread could hold a lock at the fork.
class redirected_stdout {
public:
  explicit redirected_stdout(const std::string& file) : before_(::dup(STDOUT_FILENO)) {
    std::fflush(stdout);
    auto to = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (before_ < 0 || to < 0 || ::dup2(to, STDOUT_FILENO) < 0)
      throw std::runtime_error("standard output can't be redirected");
    ::close(to);
  }
  redirected_stdout(const redirected_stdout&) = delete;
  redirected_stdout& operator=(const redirected_stdout&) = delete;
  ~redirected_stdout() {
    std::fflush(stdout);
    ::dup2(before_, STDOUT_FILENO);
    ::close(before_);
  }

private:
  int before_;
};

void make_output(const std::string& folder) {
  fs::create_directories(folder + "/sub/deep");
  write_all(folder + "/one.xml", "one");
  write_all(folder + "/sub/two words.xml", "two");
  ::chmod((folder + "/one.xml").c_str(), 0640);
  fs::create_symlink("/etc/passwd", folder + "/link");
  fs::create_hard_link(folder + "/one.xml", folder + "/sub/same");
  shell("touch -d '2001-02-03 04:05:06.789' '" + folder + "/one.xml'; chmod 750 '" + folder
        + "/sub'; touch -d 2002-02-02 '" + folder + "/sub'");
}

} // namespace

TEST_CASE("a folder is copied as docker cp copies folders", "[files][copy]") {
  scratch all;
  make_output(all / "from");
  agent_with_output agent{all / "from"};
  auto expected = facts_of(all / "from");
  CHECK(agent.copy("", all / "new").empty()); // it is not there: it becomes the folder
  CHECK(facts_of(all / "new") == expected);
  fs::create_directory(all / "there");
  CHECK(agent.copy("", all / "there").empty()); // it is there: a folder in it
  CHECK(facts_of(all / "there/reports") == expected);
  fs::create_directory(all / "content");
  CHECK(agent.copy("/.", all / "content").empty()); // what is in it
  CHECK(facts_of(all / "content") == expected);
  CHECK(agent.copy("/.", all / "content new").empty());
  CHECK(facts_of(all / "content new") == expected);
  CHECK(agent.copy("/sub", all / "there").empty());
  auto tree = [](const std::string& folder) { return blobs::scan_folder(folder).value().entries; };
  CHECK(tree(all / "there/sub") == tree(all / "from/sub"));
  CHECK(shell("stat -c '%a %Y' '" + all / "there/sub" + "'") == shell("stat -c '%a %Y' '" + all / "from/sub" + "'"));
  CHECK(agent.copy("/sub/", all / "sub new").empty());
  CHECK(tree(all / "sub new") == tree(all / "from/sub"));
  write_all(all / "file", "");
  has(agent.copy("", all / "file"), "is a file: a folder can't be copied to it");
  has(agent.copy("", all / "none/new"), "can't be made: it is not there");
  has(agent.copy("/nothing", all / "there"), "there is no such file or folder in the output");
  has(agent.copy("/../x", all / "there"), "\"..\"");
  has(agent.copy("", all / "x", "other"), "there is no such output");
  CHECK_FALSE(fs::exists(all / "x"));
}

TEST_CASE("a file is copied as docker cp copies files", "[files][copy]") {
  scratch all;
  make_output(all / "from");
  agent_with_output agent{all / "from"};
  CHECK(agent.copy("/one.xml", all / "new").empty());
  auto look = "stat -c '%a %y %s' ";
  CHECK(shell(look + all / "new") == shell(look + all / "from/one.xml"));
  CHECK(read_all(all / "new") == "one");
  fs::create_directory(all / "there");
  CHECK(agent.copy("/sub/two words.xml", all / "there").empty());
  CHECK(read_all(all / "there/two words.xml") == "two");
  write_all(all / "file", "longer than what comes");
  CHECK(agent.copy("/one.xml", all / "file").empty());
  CHECK(read_all(all / "file") == "one");
  CHECK(agent.copy("/sub/same", all / "same").empty()); // a hard link: the file
  CHECK(read_all(all / "same") == "one");
  CHECK(agent.copy("/link", all / "there").empty());
  CHECK(fs::read_symlink(all / "there/link") == "/etc/passwd");
  CHECK(agent.copy("/link", all / "there").empty()); // replaced, not followed
  CHECK(fs::is_symlink(all / "there/link"));
  has(agent.copy("/one.xml", all / "none/"), "is not there: make the folder first");
  has(agent.copy("/one.xml", all / "none/x"), "it is not there");
  has(agent.copy("/one.xml/", all / "y"), "is not a folder");
  CHECK_FALSE(fs::exists(all / "y"));
}

TEST_CASE("a tar goes to stdout, of one file too", "[files][copy]") {
  scratch all;
  make_output(all / "from");
  agent_with_output agent{all / "from"};
  for (auto [path, names] : {std::pair{"", "link\none.xml\nsub/\nsub/deep/\nsub/same\nsub/two words.xml\n"},
                             std::pair{"/sub", "deep/\nsame\ntwo words.xml\n"}, std::pair{"/sub/same", "same\n"},
                             std::pair{"/link", "link\n"}}) {
    CAPTURE(path);
    std::string failure;
    {
      redirected_stdout to{all / "out.tar"};
      failure = agent.copy(path, "-");
    }
    REQUIRE(failure.empty());
    auto listed = shell("tar -tf '" + all / "out.tar" + "'");
    CHECK(listed == names);
  }
}

TEST_CASE("hostile answers write nothing, and leave nothing", "[files][copy]") {
  scratch all;
  make_output(all / "from");
  agent_with_output agent{all / "from"};
  agent.spoiled = agent.tar(agent.folder);
  agent.spoiled.resize(agent.spoiled.size() - 1024);
  has(agent.copy("", all / "cut"), "cut off");
  CHECK_FALSE(fs::exists(all / "cut"));
  agent.spoiled = "not a tar";
  has(agent.copy("", all / "cut"), "damaged");
  fs::create_directory(all / "there");
  fs::create_directory(all / "elsewhere");
  fs::create_directory_symlink("../elsewhere", all / "there/reports");
  agent.spoiled.clear();
  has(agent.copy("", all / "there"), "is there, and is not a folder: a symbolic link is not followed");
  CHECK(fs::is_empty(all / "elsewhere"));
  agent.states = R"({"name":"../up","attempt":1,"state":"kept","tree":"sha256:aa"})";
  CHECK_FALSE(write_outputs(agent.client, the_task, all / "there", true, nullptr));
  CHECK_THROWS_AS(outputs_of(agent.client, the_task), command_failure);
  CHECK_FALSE(fs::exists(all / "up"));
}

TEST_CASE("a signal ends a copy, and leaves nothing of it", "[files][copy]") {
  scratch all;
  fs::create_directory(all / "from");
  shell("head -c 64M /dev/urandom > '" + all / "from/large" + "'");
  agent_with_output agent{all / "from"};
  auto answers = agent.agent.before;
  for (auto path : {"", "/large"}) {
    agent.agent.before = [&](const transport::server_request& request) {
      auto made = answers(request);
      if (request.header("accept").empty())
        ::kill(::getpid(), SIGINT);
      return made;
    };
    fs::create_directory(all / "to");
    try {
      copy_output(agent.client, the_task, "reports", path, all / "to");
      FAIL("not interrupted");
    } catch (const command_failure& e) {
      CHECK(e.exit_code == 130);
      has(e.message, "interrupted");
    }
    CHECK(shell("ls -A '" + all / "to" + "'").empty());
    fs::remove_all(all / "to");
  }
}

TEST_CASE("at the end of a run kept outputs are written, and others are not", "[files][copy]") {
  scratch all;
  make_output(all / "from");
  agent_with_output agent{all / "from"};
  agent.states += R"(,{"name":"none","attempt":1,"state":"missing","message":"/x is not there"})";
  fs::create_directory(all / "out");
  CHECK(write_outputs(agent.client, the_task, all / "out", true, nullptr));
  CHECK(facts_of(all / "out/reports") == facts_of(all / "from"));
  CHECK(write_outputs(agent.client, the_task, all / "out", true, nullptr)); // over what is there
  CHECK(shell("ls -A '" + all / "out" + "'") == "reports\n");
  agent.states += R"(,{"name":"gone","attempt":1,"state":"kept","tree":"sha256:aa"})";
  CHECK_FALSE(write_outputs(agent.client, the_task, all / "out", true, nullptr));
  CHECK(shell("ls -A '" + all / "out" + "'") == "reports\n");
  CHECK(tree_of_output(agent.client, the_task, "reports") == "sha256:aa");
  for (auto [name, words] :
       {std::pair{"none", "is missing: /x is not there"}, std::pair{"other", "has no output other"}})
    try {
      tree_of_output(agent.client, the_task, name);
      FAIL("no failure");
    } catch (const command_failure& e) {
      has(e.message, words);
    }
  CHECK_FALSE(write_outputs(agent.client, "01934567-0000-7000-8000-000000000002", all / "out", true, nullptr));
}

TEST_CASE("an agent that is restarted while outputs are written is asked again", "[files][copy]") {
  scratch all;
  make_output(all / "from");
  agent_with_output agent{all / "from"};
  auto answers = agent.agent.before;
  int asked = 0;
  agent.agent.before = [&](const transport::server_request& request) {
    return ++asked % 2 == 1 ? transport::server_response{503, "application/json", "{}", {}} : answers(request);
  };
  fs::create_directory(all / "out");
  CHECK(write_outputs(agent.client, the_task, all / "out", true, nullptr, duration{0}));
  CHECK(facts_of(all / "out/reports") == facts_of(all / "from"));
  CHECK(asked == 4); // two of them in vain
  agent.agent.before = [&](const transport::server_request&) {
    return transport::server_response{503, "application/json", R"({"detail":"later"})", {}};
  };
  CHECK_FALSE(write_outputs(agent.client, the_task, all / "out", true, nullptr, duration{0}));
}

TEST_CASE("outputs are listed for people and for programs", "[files][copy]") {
  agent_with_output agent{"/nowhere"};
  agent.states += R"(,{"name":"none","attempt":1,"state":"missing","message":"\u001b[2J"})";
  std::ostringstream text;
  auto before = std::cout.rdbuf(text.rdbuf());
  print_outputs(agent.client, the_task, false);
  print_outputs(agent.client, the_task, true);
  std::cout.rdbuf(before);
  has(text.str(), "NAME     STATE    FILES  SIZE  MESSAGE\nreports  kept     2      12 B  \nnone     missing "
                  "              \\x1b[2J\n{\"name\":\"reports\",\"attempt\":1,");
}

TEST_CASE("the tests of an output are listed below it, and are harmless for a terminal", "[files][copy][junit]") {
  agent_with_output agent{"/nowhere"};
  agent.states.insert(agent.states.size() - 1,
                      R"(,"tests":{"reports":2,"unread":1,"tests":412,"failures":22,"errors":1,"skipped":3,
    "seconds":61.5,"slowest":[{"name":"net.Retry","seconds":12.44},{"name":"b","seconds":0.2}],
    "failed":[{"name":"net.Retry\u001b[2J","message":"expected 3"},{"name":"net.Send"}]})");
  agent.states += R"(,{"name":"one","attempt":1,"state":"kept","tree":"sha256:bb","files":1,"bytes":1,
    "tests":{"reports":1,"unread":0,"tests":1,"failures":0,"errors":0,"skipped":0,"seconds":0.2,"slowest":[{"name":"a","seconds":0.2}]}})";
  std::ostringstream text;
  auto before = std::cout.rdbuf(text.rdbuf());
  print_outputs(agent.client, the_task, false);
  print_outputs(agent.client, the_task, true);
  std::cout.rdbuf(before);
  has(text.str(), "NAME     STATE  FILES  SIZE  MESSAGE\n"
                  "reports  kept   2      12 B  \n"
                  "  412 tests, 22 failed, 1 error, 3 skipped, 1 report not read; slowest 12.4 s: net.Retry\n"
                  "    failed: net.Retry\\x1b[2J: expected 3\n"
                  "    failed: net.Send\n"
                  "    failed: 21 more\n"
                  "one      kept   1      1 B   \n"
                  "  1 test; slowest 200 ms: a\n"
                  "{\"name\":\"reports\",\"attempt\":1,");
  has(text.str(), R"("tests":{"reports":2,"unread":1,"tests":412,)");
}
