// What davit and the init of a sandbox say to each other, and the init itself as a process.
#include "encoding/digest.hpp"
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"
#include "sandbox/sha256.hpp"

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

using from = init::report_reader::from;

sifted sift(const std::vector<log_record>& records, from where = from::anywhere, const std::string& nonce = "abc") {
  init::report_reader reader{nonce, where}, added_to{nonce, where};
  std::vector<log_record> own, added;
  for (const auto& one : records) {
    if (reader.passes(one))
      own.push_back(one);
    else
      reader.add(one, own);
    added_to.add(one, added); // what passes might as well be added
    REQUIRE(added == own);
    REQUIRE(added_to.keeps() == reader.keeps());
  }
  sifted result;
  result.whole = reader.whole();
  reader.finish(own);
  for (const auto& one : own)
    (one.stream == log_stream::err ? result.err : result.out) += one.bytes;
  result.report = reader.report();
  return result;
}

// Of an older davit's init, whose nonce was no key.
const std::string old_begun = "davit-init abc begun 0 0;\n";
const std::string last = "davit-init abc exited 3 0;\n";

const std::string nonce = init::nonce_of(uuid::make_v4());
const std::string mark = "davit-init " + init::mark_of(nonce) + ' ';
const std::string begun = mark + "begun 0 0;\n";

sandbox_report said(sandbox_word word, std::int32_t number) {
  return {word, number, 0};
}

/// What the init says when it ends, with its seal and a newline.
std::string sealed(sandbox_word word, std::int32_t number) {
  return init::report_line(nonce, said(word, number)) + '\n';
}

/// The init, given a message and then the end of its input.
process_result run_init(const std::string& input, std::vector<std::string> environment = {}) {
  static const scratch_folder folder;
  auto file = folder / "init";
  std::ofstream{file, std::ios::binary} << init::program_bytes();
  ::chmod(file.c_str(), 0755);
  environment.push_back(init::nonce_variable + ("=" + nonce));
  process one{{file, "wait", "60"}, input, std::move(environment)};
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
    log_record word{log_stream::out, {}, old_begun};
    CHECK(sift({word, own, end}, from::beginning).out == "own\n");
    CHECK(sift({word, own, end}).out == "own\n"); // a reader that came later may see it too
    CHECK(sift({complaint, word, own}, from::beginning).err == "exec failed\n"); // the streams are not in order
    CHECK(sift({complaint}, from::beginning).err.empty());
    CHECK(sift({complaint}).err == "exec failed\n");
    CHECK(sift({complaint, own}, from::beginning).err
          == "exec failed\n"); // the engine has lost the word, but something ran
    CHECK(sift({complaint, own}, from::beginning).out == "own\n");
    CHECK(sift(std::vector<log_record>(100, complaint), from::beginning).err.size() == 100 * complaint.bytes.size());
    CHECK(sift({{log_stream::err, {}, old_begun}}).err == old_begun); // it is said on standard output
    auto unused = sift({complaint,
                        {log_stream::out, {}, "davit-init abc unused 0 0;\n"},
                        {log_stream::err, {}, "davit-init abc unused 0 0;\n"}},
                       from::beginning);
    CHECK(unused.whole);
    CHECK(unused.report->word == sandbox_word::unused);
    CHECK(unused.err.empty());
    init::report_reader reader{"abc", from::beginning};
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

namespace {

/// What a hostile task may print: parts of what the init says, and whole lines of it that it has read, made up or
/// changed.
std::string hostile_piece(std::minstd_rand& random) {
  auto genuine = sealed(sandbox_word::exited, 7);
  auto seal = genuine.substr(genuine.rfind(' '));
  switch (random() % 12) {
    case 0:
      return mark;
    case 1:
      return begun;
    case 2:
      return mark + "exited 0 0" + seal; // the seal of other words
    case 3:
      return mark + "unused 0 0" + seal;
    case 4:
      return mark + "exited 0 0;\n";
    case 5:
      return init::report_line(init::nonce_of(uuid::make_v4()), said(sandbox_word::exited, 0));
    case 6:
      return "davit-init " + nonce.substr(init::mark_digits) + " exited 0 0;\n"; // a wrong mark
    case 7:
      return mark.substr(0, random() % mark.size());
    case 8:
      // Not all of it: nobody has it before it is said, and then it is true.
      return mark + genuine.substr(mark.size(), random() % (genuine.size() - mark.size() - 12));
    case 9:
      return ";";
    case 10:
      return "\n";
    default:
      return std::string(random() % 300, 'd');
  }
}

} // namespace

TEST_CASE("whatever a task prints is kept, and only what the init has sealed ends a stream") {
  auto seed = static_cast<std::uint_fast32_t>(std::random_device{}());
  std::minstd_rand random{seed};
  for (int round = 0; round < 2000; ++round) {
    INFO(seed);
    std::string text;
    for (auto pieces = random() % 12; pieces > 0; --pieces)
      text += hostile_piece(random);
    auto ends = random() % 3 != 0, from_beginning = random() % 2 == 0;
    auto all = text + (ends ? sealed(sandbox_word::exited, 7) : "");
    auto stream = random() % 2 == 0 ? log_stream::out : log_stream::err;
    std::vector<log_record> records;
    if (from_beginning)
      records.push_back({log_stream::out, {}, begun});
    for (std::size_t at = 0; at < all.size();) {
      auto size = 1 + random() % (random() % 2 == 0 ? 5 : 400);
      records.push_back({stream, {}, all.substr(at, size)});
      at += size;
    }
    INFO(all);
    auto result = sift(records, from_beginning ? from::beginning : from::middle, nonce);
    REQUIRE((stream == log_stream::out ? result.out : result.err) == text);
    REQUIRE(result.report == (ends ? std::optional{said(sandbox_word::exited, 7)} : std::nullopt));
  }
}

TEST_CASE("a task's word that it had not begun, or begins again, is its output") {
  auto unused = sealed(sandbox_word::unused, 0);
  CHECK(sift({{log_stream::out, {}, unused}}, from::beginning, nonce).report->word == sandbox_word::unused);
  for (auto where : {from::beginning, from::middle}) {
    std::vector<log_record> records{{log_stream::out, {}, unused}, {log_stream::out, {}, begun}};
    if (where == from::beginning)
      records.insert(records.begin(), {log_stream::out, {}, begun});
    auto late = sift(records, where, nonce);
    CHECK_FALSE(late.report);
    CHECK(late.out == unused + begun);
  }
}

TEST_CASE("a reader keeps no more back than a report is long") {
  for (auto& piece : std::vector<std::string>{std::string(1000, 'd'), mark, mark + "exited ", begun}) {
    init::report_reader reader{nonce, from::middle};
    std::vector<log_record> own;
    for (int i = 0; i < 1000; ++i)
      reader.add({log_stream::out, {}, piece}, own);
    INFO(piece);
    CHECK(own.size() > 900);
  }
}

TEST_CASE("davit and its init count digests as others do") {
  CHECK(init::volume_name() == "davit-init-" + encoding::sha256_hex(init::program_bytes()));
  for (std::size_t size = 0; size < 300; ++size) { // around the ends of blocks
    std::string text(size, 'x');
    init::sha256 hash;
    hash.add(text.data(), size / 3);
    hash.add(text.data() + size / 3, size - size / 3);
    std::uint8_t digest[init::digest_bytes];
    hash.finish(digest);
    char digits[2 * init::digest_bytes + 1];
    init::write_hexadecimal(digest, init::digest_bytes, digits);
    REQUIRE(digits == encoding::sha256_hex(text));
  }
  // RFC 4231, 4.3
  std::string key = "Jefe", message = "what do ya want for nothing?";
  std::uint8_t digest[init::digest_bytes];
  init::hmac_sha256(key.data(), key.size(), message.data(), message.size(), digest);
  char digits[2 * init::digest_bytes + 1];
  init::write_hexadecimal(digest, init::digest_bytes, digits);
  CHECK(std::string{digits} == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
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
  auto out
    = sift({{log_stream::out, {}, end.out.substr(begun.size())}, {log_stream::err, {}, end.err}}, from::middle, nonce);
  CHECK(out.out == "out\n");
  CHECK(out.err == "err\n");
  CHECK(out.whole);
  CHECK(out.report->word == sandbox_word::exited);
  CHECK(out.report->number == 3);

  auto killed = run_init(message({"sh", "-c", "kill -9 $$"}));
  CHECK(killed.exit_code == 137);
  CHECK(killed.out.starts_with(begun + mark + "signaled 9 "));

  // Variables: its own before the container's; standard input: what follows, or nothing.
  auto variables
    = run_init(message({"sh", "-c", "echo $A $B; cat"}, {{"A", "mine"}}, true) + "from stdin", {"A=theirs", "B=there"});
  CHECK(variables.out.starts_with(begun + "mine there\nfrom stdin"));
  CHECK(run_init(message({"cat"})).exit_code == 0);
  CHECK(run_init(message({"hello"}, {{"PATH", "/nowhere:/"}}))
          .out.starts_with(begun + mark + "exec " + std::to_string(ENOENT) + " "));
}

TEST_CASE("the init says why it could not execute a command") {
  auto missing = run_init(message({"no-such-program"}));
  CHECK(missing.exit_code == 127);
  CHECK(missing.out.starts_with(begun + mark + "exec " + std::to_string(ENOENT) + " "));
  CHECK(missing.err.starts_with(mark + "exec "));
  auto folder = run_init(message({"/tmp"}));
  CHECK(folder.exit_code == 126);
  CHECK(folder.out.starts_with(begun + mark + "exec " + std::to_string(EACCES) + " "));
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
    CHECK(end.out.starts_with(mark + "unused 0 "));
    CHECK(end.out.find("ran") == std::string::npos);
  }
}

TEST_CASE("nothing of a task runs before the engine has read that it begins") {
  // Its reader is slow. A task that opens the pipe finds it empty.
  scratch_folder folder;
  auto file = folder / "init";
  std::ofstream{file, std::ios::binary} << init::program_bytes();
  ::chmod(file.c_str(), 0755);
  auto out = shell("cd " + folder.path().string() + " && { env " + init::nonce_variable + "=" + nonce + " " + file
                   + " run plain sh -c 'touch ran' 2>/dev/null; echo $? > code; } | { sleep 0.5; ls ran 2>/dev/null; "
                     "cat; }; cat code");
  CHECK(out.starts_with(begun + mark + "exited 0 "));
  CHECK(out.ends_with("0\n"));
  // And with nobody to read it, it does not wait for ever.
  CHECK(shell("env " + std::string{init::nonce_variable} + "=" + nonce + " timeout 60 " + file
              + " run plain sh -c 'exit 3' 2>/dev/null | true; echo ended")
        == "ended\n");
}

TEST_CASE("the init shows nobody its nonce") {
  auto words = "cat /proc/$PPID/environ; tr '\\0' ' ' < /proc/$PPID/cmdline; env";
  auto end = run_init(message({"sh", "-c", words}));
  INFO(end.out << end.err);
  CHECK(end.out.find(nonce.substr(init::mark_digits)) == std::string::npos);
  CHECK(end.out.find(init::nonce_variable + std::string{"="}) == std::string::npos);
}
