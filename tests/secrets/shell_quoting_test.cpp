// What shells print of a secret is masked. The shells themselves are asked.
#include "encoding/base64.hpp"
#include "fixture/process.hpp"
#include "secrets/secret_masker.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cctype>
#include <cstdio>
#include <random>
#include <unistd.h>

using namespace davit;
using namespace davit::test;

namespace {

using texts = std::vector<std::string>;

/// The text with the secret masked, after it has come in pieces of up to `most` bytes.
std::string masked(const std::string& secret, const std::string& text, std::size_t most, std::minstd_rand& random) {
  secrets::secret_masker masker{{secret}};
  std::vector<log_record> out;
  for (std::size_t at = 0; at < text.size();) {
    auto size = 1 + random() % most;
    masker.add({log_stream::out, {}, text.substr(at, size)}, out);
    at += size;
  }
  masker.finish(out);
  std::string all;
  for (const auto& one : out)
    all += one.bytes;
  return all;
}

/// A value with much that shells quote; no line end at its end, which $(...) takes away.
std::string draw_value(std::minstd_rand& random) {
  static const std::string special = "'\"\\$`!~#&;|<>(){}[]*?^, =\t\n\r\x1b\x01\x7f\a\v\xc3\xa4\xe2\x82\xac\xff";
  std::string value;
  for (auto size = 4 + random() % 12; value.size() < size;)
    value += random() % 3 ? static_cast<char>('a' + random() % 26) : special[random() % special.size()];
  return value + 'z';
}

struct way {
  texts shell;
  std::string statement; ///< N stands for the variable's number.
  std::string locale;
};

std::vector<way> ways_to_print() {
  const std::string trace = "set -x; : \"$SN\"; { set +x; } 2>/dev/null";
  std::vector<way> ways{{{"/bin/dash", "-c"}, trace, "C"}};
  if (::access("/bin/busybox", X_OK) == 0)
    ways.push_back({{"/bin/busybox", "sh", "-c"}, trace, "C"});
  for (std::string locale : {"C.UTF-8", "C"})
    for (const std::string& statement :
         {trace, std::string{"printf '%q\\n' \"$SN\" >&2"}, std::string{"printf '%s\\n' \"${SN@Q}\" >&2"},
          std::string{"declare -p SN >&2"}})
      ways.push_back({{"/bin/bash", "-c"}, statement, locale});
  return ways;
}

/// What is left beside the secret: without the shell's own words and quotes.
std::string rest_of(std::string left, const std::string& variable) {
  for (const auto& word : texts{"+ : ", "+ ", "declare -x ", variable + "="})
    if (left.starts_with(word))
      left.erase(0, word.size());
  std::erase_if(left, [](char c) { return c == '\'' || c == '"' || c == '$' || c == '\n'; });
  return left;
}

} // namespace

TEST_CASE("a secret is masked as bash, dash and busybox print it, however the output is cut", "[mask]") {
  std::minstd_rand random{11};
  constexpr std::size_t count = 150;
  texts values{"it's", "'quoted'", "ends with '", "a''b'''c", "~home", "#comment", "two\nlines'z"};
  while (values.size() < count)
    values.push_back(draw_value(random));
  for (const auto& [shell, statement, locale] : ways_to_print()) {
    texts environment{"LC_ALL=" + locale};
    std::string script;
    for (std::size_t i = 0; i < count; ++i) {
      environment.push_back("S" + std::to_string(i) + '=' + values[i]);
      auto one = statement;
      for (auto at = one.find("SN"); at != std::string::npos; at = one.find("SN"))
        one.replace(at + 1, 1, std::to_string(i));
      script += one + "; echo '--' >&2\n";
    }
    auto words = shell;
    words.push_back(script);
    auto result = run_process(words, {}, environment);
    REQUIRE(result.exit_code == 0);
    std::size_t at = 0;
    for (std::size_t i = 0; i < count; ++i) {
      auto end = result.err.find("--\n", at);
      REQUIRE(end != std::string::npos);
      auto printed = result.err.substr(at, end - at);
      at = end + 3;
      for (std::size_t most : {1000u, 3u}) {
        auto left = masked(values[i], printed, most, random);
        INFO(shell.front() << " prints \"" << printed << "\", which became \"" << left << '"');
        CHECK(rest_of(left, "S" + std::to_string(i)) == "***");
      }
    }
  }
}

TEST_CASE("random secrets in every encoding, within other text and cut at random: none is left", "[mask]") {
  std::minstd_rand random{5};
  auto each = [](const std::string& text, const char* format, bool plain) {
    std::string all;
    for (unsigned char c : text) {
      char code[8];
      std::snprintf(code, sizeof code, format, c);
      auto stays = plain && (std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~');
      all += stays ? std::string(1, static_cast<char>(c)) : std::string{code};
    }
    return all;
  };
  for (int round = 0; round < 2000; ++round) {
    std::string secret, before(random() % 5, ':'), after(random() % 5, ':');
    for (auto size = 6 + random() % 30; secret.size() < size;)
      secret += static_cast<char>(1 + random() % 255);
    secret += 'z';
    for (const auto& form : {secret, each(secret, "%%%02X", true), each(secret, "%%%02x", true),
                             each(secret, "%02x", false), each(secret, "%02X", false)}) {
      INFO(form);
      CHECK(masked(secret, before + form + after, 1 + random() % 9, random) == before + "***" + after);
    }
    for (const auto& text :
         {encoding::base64_encode(before + secret + after), encoding::base64url_encode(before + secret + after)}) {
      auto left = masked(secret, text, 1 + random() % 9, random);
      INFO(text << " became " << left);
      CHECK(left.find("***") != std::string::npos);
      // What depends on the neighbours too stays: a letter on each side, and those of the neighbours.
      CHECK(left.size() <= 3 + 2 + 4 + (before.size() + after.size()) * 4 / 3 + 4);
    }
  }
}
