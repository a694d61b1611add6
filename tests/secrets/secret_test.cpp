// Secrets: sealed at rest, and kept out of logs in whatever form and wherever the bytes are cut.
#include "fixture/test_engine.hpp"
#include "encoding/base64.hpp"
#include "secrets/secret_box.hpp"
#include "secrets/secret_masker.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <random>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;
using namespace davit::encoding;
using namespace davit::secrets;

namespace {

/// What is left of a text that comes cut at these places.
using texts = std::vector<std::string>;

std::string masked(const texts& secrets, const texts& pieces) {
  secret_masker masker{secrets};
  std::vector<log_record> out;
  for (const auto& piece : pieces)
    masker.add({log_stream::out, {}, piece}, out);
  masker.finish(out);
  REQUIRE(out.size() == pieces.size()); // each record comes once, or a resumed log would be read from the wrong place
  std::string text;
  for (const auto& one : out)
    text += one.bytes;
  return text;
}

std::string masked(const std::string& secret, const std::string& text) {
  return masked(texts{secret}, texts{text});
}

} // namespace

TEST_CASE("a secret is masked wherever the output is cut") {
  const std::string secret = "hunter2-aab-aaab",
                    text = "a hunter2-aab-aaab! hunter2-aab-aaabhunter2-aab-aaab, hunter2-aab-aaa";
  const std::string expected = "a ***! ***, hunter2-aab-aaa";
  CHECK(masked(secret, text) == expected);
  for (std::size_t first = 0; first <= text.size(); ++first)
    for (std::size_t second = first; second <= text.size(); ++second)
      CHECK(masked(texts{secret}, texts{text.substr(0, first), text.substr(first, second - first), text.substr(second)})
            == expected);
  std::vector<std::string> bytes;
  for (char c : text)
    bytes.emplace_back(1, c);
  CHECK(masked(texts{secret}, bytes) == expected);
}

TEST_CASE("several texts are masked apart, and the end of a cut one that may become a secret is left out") {
  const texts secrets{"hunter2-aab-aaab", "swordfish"};
  using davit::secrets::excerpt;
  CHECK(masked(std::vector<excerpt>{}, secrets).empty());
  CHECK(masked(std::vector<excerpt>{{"a"}, {""}, {"b", true}}, {}) == texts{"a", "", "b"});
  CHECK(
    masked(std::vector<excerpt>{{"a swordfish!"}, {"sword"}, {"fish"}, {"sword", true}, {"fish"}, {"swordfish", true}},
           secrets)
    == texts{"a ***!", "sword", "fish", "", "fish", ""});
  const std::string text = "a hunter2-aab-aaab! and swordfishhunter2-aab-aaab, swordfisch";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    auto beginning = text.substr(0, size);
    CAPTURE(beginning);
    auto found = masked(std::vector<excerpt>{{beginning, true}, {text}}, secrets);
    CHECK(found[1] == "a ***! and ***, swordfisch");
    CHECK(std::string_view{"a ***! and ***, swordfisch"}.starts_with(found[0]));
  }
}

TEST_CASE("a secret that another begins with, ends with or holds is masked as far as the longest goes") {
  CHECK(masked(texts{"abcdef", "cdef", "defghi"}, texts{"xabcdefghix"}) == "x***x");
  CHECK(masked(texts{"aaaa"}, texts{"aaaaaaaaab"}) == "***b");
  CHECK(masked(texts{"abcd", "abcdefgh"}, texts{"abcdefg abcdefgh"}) == "***efg ***");
}

TEST_CASE("a secret is masked in base64 of any phase, in URLs, JSON and hexadecimal") {
  const std::string secret = "p@ss w\"rd/\\+&<1>";
  for (const std::string before : {"", "u", "us", "user:", "x:y"})
    for (const std::string after : {"", "!", "!!", "\n"}) {
      auto encoded = base64_encode(before + secret + after);
      auto left = masked(secret, encoded);
      INFO(encoded << " became " << left);
      CHECK(left.find("***") != std::string::npos);
      CHECK(left.size() <= encoded.size() - base64_encode(secret).size() + 3 + 8);
      CHECK(masked(secret, base64url_encode(before + secret + after)).find("***") != std::string::npos);
    }
  CHECK(masked(secret, "https://u:p%40ss%20w%22rd%2F%5C%2B%26%3C1%3E@host/") == "https://u:***@host/");
  CHECK(masked(secret, "q=p%40ss+w%22rd%2f%5c%2b%26%3c1%3e;") == "q=***;");
  CHECK(masked(secret, R"({"p":"p@ss w\"rd/\\+&<1>"})") == R"({"p":"***"})");
  CHECK(masked(secret, R"({"p":"p@ss w\"rd\/\\+\u0026\u003c1\u003e"})") == R"({"p":"***"})");
  CHECK(masked(secret, "70407373207722"
                       "72642f5c2b263c313e.")
        == "***.");
}

TEST_CASE("a secret is masked as the libraries of many languages write JSON and URLs") {
  struct sample {
    std::string secret, text;
  };
  for (const auto& [secret, text] : std::vector<sample>{
         {"p\u00e4ssw\u00f6rt-Z\u00fcrich", R"("p\u00e4ssw\u00f6rt-Z\u00fcrich")"}, // Python's json.dumps
         {"p\u00e4ssw\u00f6rt-Z\u00fcrich", R"("p\u00E4ssw\u00F6rt-Z\u00FCrich")"}, // .NET's JsonSerializer
         {"key\U0001f511/end", R"("key\ud83d\udd11/end")"},                         // Python
         {"key\U0001f511/end", R"("key\ud83d\udd11\/end")"},                        // PHP's json_encode
         {"R&D/team<2026>", R"("R&D\/team<2026>")"},                                // PHP
         {"R&D/team<2026>", R"("R\u0026D/team\u003c2026\u003e")"},                  // Go's json.Marshal
         {"R&D/team<2026>", R"("R\u0026D\/team\u003c2026\u003e")"},
         {"it's a=b&c", R"("it\u0027s a\u003db\u0026c")"},                // Gson
         {"say \"a+b\" & go", R"("say \u0022a\u002Bb\u0022 \u0026 go")"}, // .NET
         {"k9+xYz/Q8w+aa/bb==", R"("k9%2BxYz/Q8w%2Baa/bb%3D%3D")"},       // Python's quote
         {"it's (a) b/c*!", R"("it's%20(a)%20b%2Fc*!")"},                 // JavaScript's encodeURIComponent
         {"a b/c?d=e&f#g", R"("a%20b/c?d=e&f#g")"},                       // JavaScript's encodeURI
         {"a~b c*d", R"("a%7Eb+c*d")"}}) {                                // HTML forms
    INFO(secret << " as " << text);
    CHECK(masked(secret, text) == R"("***")");
  }
}

TEST_CASE("base64 that ends with a secret leaves none of its letters, and no padding") {
  for (std::size_t size = 6; size < 12; ++size)
    for (std::string before : {"", "u", "us", "user:"}) {
      auto secret = std::string("p4ssw0rd+/xyz").substr(0, size), encoded = base64_encode(before + secret);
      INFO(encoded);
      // What stands before it, and the letter that both share.
      auto shared = (8 * before.size() + 5) / 6;
      CHECK(masked(secret, "Basic " + encoded + "\n") == "Basic " + encoded.substr(0, shared) + "***\n");
      auto bare = base64url_encode(before + secret);
      bare.erase(bare.find_last_not_of('=') + 1);
      CHECK(masked(secret, "Basic " + bare + "\n") == "Basic " + bare.substr(0, shared) + "***\n");
    }
}

TEST_CASE("base64 that is wrapped into lines does not hide a secret") {
  const std::string secret
    = "-----BEGIN "
      "KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/"
      "M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n-----END KEY-----\n";
  for (std::size_t phase = 0; phase < 80; ++phase)
    for (const std::string end : {"\n", "\r\n"}) {
      auto encoded = base64_encode(std::string(phase, 'x') + secret + "tail of the file");
      std::string wrapped;
      for (std::size_t at = 0; at < encoded.size(); at += 76)
        wrapped += encoded.substr(at, 76) + end;
      auto left = masked(secret, wrapped);
      INFO(wrapped << " became " << left);
      // Three letters can stay at the end of a line, and what depends on the neighbours.
      CHECK(left.size() < wrapped.size() - base64_encode(secret).size() + 24);
    }
}

TEST_CASE("a short secret is masked in wrapped base64 wherever the line ends in it") {
  std::mt19937 random{Catch::getSeed()};
  for (std::size_t length = least_secret; length <= 12; ++length)
    for (std::size_t before = 57 - length - 2; before <= 57; ++before)
      for (int round = 0; round < 8; ++round) {
        auto letters = [&](std::string_view of, std::size_t count) {
          std::string text;
          while (text.size() < count)
            text += of[random() % of.size()];
          return text;
        };
        // Letters that neither the rest of the text nor its base64 has by chance.
        auto secret = letters("ABCDEFGHJKMNPQRSTUVWXYZ23456789!#%&*+", length);
        auto encoded = base64_encode(letters("qwertyuiop", before) + secret + "zxcvbnmasdf");
        auto text = encoded.substr(0, 76) + "\n" + encoded.substr(76) + "\n";
        auto left = masked({secret}, {text});
        auto joined = left;
        std::erase(joined, '\n');
        INFO(secret << " behind " << before << " bytes: " << text << " became " << left);
        CHECK(joined.find("***") != std::string::npos);
        CHECK(joined.size()
              <= encoded.size() - (8 * length - 10) / 6 + 6); // three letters before the end of a line tell little
      }
}

TEST_CASE("each line of a secret is masked, as a terminal shows it too") {
  const std::string secret = "first line\nsecond line\n}\n";
  CHECK(masked(secret, "cat: first line\r\nsecond line\r\n}\r\n") == "cat: ***\r\n");
  CHECK(masked(secret, "just second line, and }") == "just ***, and }");
  CHECK(masked(secret, "first line\nsecond line\n}\n") == "***\n");
}

TEST_CASE("what is not the secret comes through as it was, in its stream and in its order") {
  secret_masker masker{{"topsecret"}};
  std::vector<log_record> out;
  masker.add({log_stream::out, {}, "so far top"}, out);
  CHECK(out.empty());
  masker.add({log_stream::err, {}, "an error\n"}, out);
  masker.add({log_stream::note, {}, "topsecret, says davit\n"}, out);
  CHECK(out.empty()); // the order between the streams is kept while little is kept back
  masker.add({log_stream::out, {}, "less\n"}, out);
  REQUIRE(out.size() == 4);
  CHECK(out[0].bytes == "so far top");
  CHECK(out[1].stream == log_stream::err);
  CHECK(out[2].bytes == "topsecret, says davit\n");
  CHECK(out[3].bytes == "less\n");
  // A stream that waits in the middle of a secret does not keep the other's output in memory.
  out.clear();
  masker.add({log_stream::out, {}, "top"}, out);
  for (int i = 0; i < 100'000; ++i)
    masker.add({log_stream::err, {}, "0123456789012345678901234567890123456789"}, out);
  CHECK(out.size() * 40 >= 100'000 * 40 - secret_masker::most_kept);
  masker.add({log_stream::out, {}, "secret"}, out);
  masker.finish(out);
  CHECK(out.size() == 100'002);
  std::string text;
  for (const auto& one : out)
    if (one.stream == log_stream::out)
      text += one.bytes;
  CHECK(text == "***");
}

TEST_CASE("random output with random secrets, cut at random: nothing leaks and nothing else is lost") {
  std::minstd_rand random{7};
  auto draw = [&](unsigned below) { return random() % below; };
  for (int round = 0; round < 3000; ++round) {
    auto word = [&](std::size_t length) {
      std::string text;
      while (text.size() < length)
        text += "ab+\n"[draw(4)];
      return text;
    };
    std::vector<std::string> secrets;
    for (unsigned i = 0; i <= draw(3); ++i)
      secrets.push_back("a" + word(3 + draw(8)) + "b");
    std::string text;
    for (unsigned i = 0; i < 8; ++i)
      text += draw(2) ? secrets[draw(static_cast<unsigned>(secrets.size()))] : word(draw(6));
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      auto size = 1 + draw(7);
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    auto whole = masked(secrets, texts{text}), cut = masked(secrets, pieces);
    INFO("\"" << text << "\" became \"" << whole << "\" and \"" << cut << "\"");
    CHECK(whole == cut);
    for (const auto& secret : secrets)
      CHECK(cut.find(secret) == std::string::npos);
  }
}

TEST_CASE("a sealed secret tells nothing, and opens with its own key under its own name alone") {
  scratch_folder folder;
  std::string error;
  auto box = secret_box::open(folder / "key", error), other = secret_box::open(folder / "other", error);
  REQUIRE(box);
  REQUIRE(other);
  for (const auto& value : {std::string{}, std::string{"x"}, std::string{"hunter2"}, std::string(100'000, 'k')}) {
    auto sealed = box->seal("TOKEN", value);
    CHECK(box->unseal("TOKEN", sealed) == value);
    CHECK(box->seal("TOKEN", value) == sealed); // so that a task that is submitted twice is the same task
    CHECK(box->seal("TOKEN2", value) != sealed);
    CHECK(!box->unseal("TOKEN2", sealed));
    CHECK(!other->unseal("TOKEN", sealed));
    if (value.size() > 3)
      CHECK(sealed.find(value) == std::string::npos);
    for (std::size_t at = 0; at < std::min<std::size_t>(sealed.size(), 80); ++at) {
      auto changed = sealed;
      changed[at] = changed[at] == 'A' ? 'B' : 'A';
      CHECK(box->unseal("TOKEN", changed) != value);
    }
  }
  for (const auto& wrong : texts{"", "v1:", "v1:====", "v1:AAAA", "v2:" + std::string(64, 'A')})
    CHECK(!box->unseal("TOKEN", wrong));
  CHECK(secret_box::open(folder / "key", error)->unseal("A", box->seal("A", "value")) == "value");
}

TEST_CASE("a key file that is none, or that others may read, is refused with what to do") {
  scratch_folder folder;
  std::string error;
  REQUIRE(secret_box::open(folder / "key", error));
  struct stat info {};
  REQUIRE(::stat((folder / "key").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  ::chmod((folder / "key").c_str(), 0644);
  CHECK(!secret_box::open(folder / "key", error));
  CHECK(error.find("chmod 600") != std::string::npos);
  std::ofstream{folder / "short"} << "c2hvcnQ=\n";
  ::chmod((folder / "short").c_str(), 0600);
  CHECK(!secret_box::open(folder / "short", error));
  CHECK(error.find("32 bytes in base64") != std::string::npos);
  CHECK(!secret_box::open("/proc/none/key", error));
  CHECK(!error.empty());
}
