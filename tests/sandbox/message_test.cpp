// What davit and the init of a sandbox say to each other, and the init itself as a process.
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <random>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;

namespace {

struct sifted {
  std::string out, err;
  std::optional<sandbox_report> report;
  bool whole = false;
};

sifted sift(const std::vector<log_record>& records, bool from_beginning = false) {
  init::report_reader reader{"abc", from_beginning};
  std::vector<log_record> own;
  for (const auto& one : records)
    reader.add(one, own);
  sifted result;
  result.whole = reader.whole();
  reader.finish(own);
  for (const auto& one : own)
    (one.stream == log_stream::err ? result.err : result.out) += one.bytes;
  result.report = reader.report();
  return result;
}

const std::string begun = "davit-init abc begun 0 0;\n";
const std::string last = "davit-init abc exited 3 0;\n";

/// The init, given a message and then the end of its input.
process_result run_init(const std::string& input, std::vector<std::string> environment = {}) {
  static const scratch_folder folder;
  auto file = folder / "init";
  std::ofstream{file, std::ios::binary} << init::program_bytes();
  ::chmod(file.c_str(), 0755);
  process one{{file, "abc", "60"}, input, std::move(environment)};
  return one.wait();
}

std::string
message(std::vector<std::string> arguments, std::map<std::string, std::string> variables = {}, bool input = false) {
  return init::hand_over_message(arguments, variables, {}, input).value();
}

} // namespace

TEST_CASE("a sandbox's report is taken out of the log, wherever it is cut, and nothing else is") {
  SECTION("behind a whole line, and behind one without an end") {
    auto plain
      = sift({{log_stream::out, {}, "hello\n"}, {log_stream::out, {}, last}, {log_stream::err, {}, "no end" + last}});
    CHECK(plain.out == "hello\n");
    CHECK(plain.err == "no end");
    CHECK(plain.whole);
    CHECK(plain.report == sandbox_report{sandbox_word::exited, 3, 0});
  }
  SECTION("cut at every place") {
    auto text = "some text without an end" + last;
    for (std::size_t at = 0; at <= text.size(); ++at) {
      INFO(at);
      auto cut = sift({{log_stream::out, {}, text.substr(0, at)}, {log_stream::out, {}, text.substr(at)}});
      CHECK(cut.out == "some text without an end");
      CHECK(cut.report == sandbox_report{sandbox_word::exited, 3, 0});
      CHECK_FALSE(cut.whole); // the other stream has not ended
    }
  }
  SECTION("byte by byte") {
    std::vector<log_record> records;
    for (char c : "x davit-init ab davit-init abd exited 3 0;" + last)
      records.push_back({log_stream::err, {}, std::string(1, c)});
    auto bytes = sift(records);
    CHECK(bytes.err == "x davit-init ab davit-init abd exited 3 0;");
    CHECK(bytes.report);
  }
  SECTION("what only looks like it stays") {
    for (std::string text :
         {"davit-init abc", "davit-init abc ", "davit-init abc exited", "davit-init abc sang 3 0;\n",
          "davit-init abc exited 3;\n", "davit-init abc exited x 0;\n", "davit-init xyz exited 3 0;\n"}) {
      auto other = sift({{log_stream::out, {}, text}});
      CHECK(other.out == text);
      CHECK_FALSE(other.report);
    }
  }
  SECTION("kills that can't be told are not zero") {
    auto unknown = sift({{log_stream::out, {}, "davit-init abc signaled 9 -1;\n"}});
    REQUIRE(unknown.report);
    CHECK(unknown.report->word == sandbox_word::signaled);
    CHECK_FALSE(unknown.report->oom_kills);
  }
  SECTION("the word that the task begins, and what came before it") {
    log_record complaint{log_stream::err, {}, "exec failed\n"}, own{log_stream::out, {}, "own\n"},
      end{log_stream::out, {}, last};
    log_record word{log_stream::out, {}, begun};
    CHECK(sift({word, own, end}, true).out == "own\n");
    CHECK(sift({word, own, end}).out == "own\n");                     // a reader that came later may see it too
    CHECK(sift({complaint, word, own}, true).err == "exec failed\n"); // the streams are not in order
    CHECK(sift({complaint}, true).err.empty());
    CHECK(sift({complaint}).err == "exec failed\n");
    CHECK(sift({complaint, own}, true).err == "exec failed\n"); // the engine has lost the word, but something ran
    CHECK(sift({complaint, own}, true).out == "own\n");
    CHECK(sift(std::vector<log_record>(100, complaint), true).err.size() == 100 * complaint.bytes.size());
    CHECK(sift({{log_stream::err, {}, begun}}).err == begun); // it is said on standard output
    auto unused = sift({complaint,
                        {log_stream::out, {}, "davit-init abc unused 0 0;\n"},
                        {log_stream::err, {}, "davit-init abc unused 0 0;\n"}},
                       true);
    CHECK(unused.whole);
    CHECK(unused.report->word == sandbox_word::unused);
    CHECK(unused.err.empty());
    init::report_reader reader{"abc", true};
    std::vector<log_record> given;
    reader.add(complaint, given);
    CHECK(reader.keeps());
    reader.add(word, given);
    CHECK_FALSE(reader.keeps());
    CHECK(given.size() == 1);
  }
  SECTION("random bytes come out as they went in") {
    std::minstd_rand random{7};
    for (int round = 0; round < 200; ++round) {
      std::string text, got;
      init::report_reader reader{"abc"};
      std::vector<log_record> own;
      for (int i = 0; i < 20; ++i) {
        std::string piece;
        for (auto n = random() % 12; n > 0; --n)
          piece += "davit-init abc \nx"[random() % 17];
        text += piece;
        reader.add({log_stream::out, {}, piece}, own);
      }
      reader.finish(own);
      for (const auto& one : own)
        got += one.bytes;
      REQUIRE(got == text);
    }
  }
}

TEST_CASE("a task that can't be told in a message is told by none") {
  CHECK_FALSE(init::hand_over_message({}, {}, {}, false));
  CHECK_FALSE(init::hand_over_message({"a", std::string("b\0c", 3)}, {}, {}, false));
  CHECK_FALSE(init::hand_over_message({"a"}, {{"X", std::string(1, '\0')}}, {}, false));
  CHECK_FALSE(init::hand_over_message({"a", std::string(init::most_bytes, 'x')}, {}, {}, false));
  CHECK(init::hand_over_message({"a", ""}, {}, {}, false)); // an empty argument is one
}

TEST_CASE("the init runs what it is given, says how it ended, and ends the same") {
  auto end = run_init(message({"sh", "-c", "echo out; echo err >&2; exit 3"}));
  CHECK(end.exit_code == 3);
  REQUIRE(end.out.starts_with(begun));
  auto out = sift({{log_stream::out, {}, end.out.substr(begun.size())}, {log_stream::err, {}, end.err}});
  CHECK(out.out == "out\n");
  CHECK(out.err == "err\n");
  CHECK(out.whole);
  CHECK(out.report->word == sandbox_word::exited);
  CHECK(out.report->number == 3);

  auto killed = run_init(message({"sh", "-c", "kill -9 $$"}));
  CHECK(killed.exit_code == 137);
  CHECK(killed.out.starts_with(begun + "davit-init abc signaled 9 "));

  // Variables: its own before the container's; standard input: what follows, or nothing.
  auto variables
    = run_init(message({"sh", "-c", "echo $A $B; cat"}, {{"A", "mine"}}, true) + "from stdin", {"A=theirs", "B=there"});
  CHECK(variables.out.starts_with(begun + "mine there\nfrom stdin"));
  CHECK(run_init(message({"cat"})).exit_code == 0);
  CHECK(run_init(message({"hello"}, {{"PATH", "/nowhere:/"}}))
          .out.starts_with(begun + "davit-init abc exec " + std::to_string(ENOENT) + " "));
}

TEST_CASE("the init says why it could not execute a command") {
  auto missing = run_init(message({"no-such-program"}));
  CHECK(missing.exit_code == 127);
  CHECK(missing.out.starts_with(begun + "davit-init abc exec " + std::to_string(ENOENT) + " "));
  CHECK(missing.err.starts_with("davit-init abc exec "));
  auto folder = run_init(message({"/tmp"}));
  CHECK(folder.exit_code == 126);
  CHECK(folder.out.starts_with(begun + "davit-init abc exec " + std::to_string(EACCES) + " "));
}

TEST_CASE("an init that gets no task, half of one or rubbish runs nothing") {
  auto whole = message({"sh", "-c", "echo ran"});
  std::vector<std::string> inputs{"", "davit", std::string(24, 'x'), std::string(5000, '\0')};
  for (std::size_t size : {std::size_t{8}, std::size_t{23}, std::size_t{24}, whole.size() - 1})
    inputs.push_back(whole.substr(0, size));
  auto lying = whole;
  lying[8] = 9; // more arguments than there are
  inputs.push_back(lying);
  auto huge = whole;
  huge[18] = '\x7f';
  inputs.push_back(huge);
  for (const auto& input : inputs) {
    auto end = run_init(input);
    CHECK(end.exit_code == init::unused_code);
    CHECK(end.out.starts_with("davit-init abc unused 0 "));
    CHECK(end.out.find("ran") == std::string::npos);
  }
}
