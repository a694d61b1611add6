#include "policy/image_reference.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <regex>
#include <vector>

using namespace davit;

namespace {

const std::string hex(64, 'a'), digest = "sha256:" + hex;

/// As distribution/reference documents its grammar and writes its normalisation: ParseNormalizedNamed, TagNameOnly; and
/// moby's daemon, which looks at the digest alone where there is one.
std::optional<std::string> oracle(std::string text) {
  static const std::regex identifier{"[a-f0-9]{64}"}, truncated{"sha256:[a-f0-9]+"};
  if (std::regex_match(text, identifier) || std::regex_match(text, truncated))
    return std::nullopt;
  auto slash = text.find('/');
  auto first = text.substr(0, slash);
  std::string lower;
  for (char c : first)
    lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::string domain = "docker.io", rest = text;
  if (slash != std::string::npos
      && (first.find_first_of(".:") != std::string::npos || first == "localhost" || lower != first)) {
    if (lower != "localhost" && lower.find_first_of(".:") == std::string::npos)
      return std::nullopt; // these two are davit's own: Docker keeps the case, and knows hosts by it
    domain = lower;
    rest = text.substr(slash + 1);
  }
  if (domain == "index.docker.io")
    domain = "docker.io";
  if (domain == "docker.io" && rest.find('/') == std::string::npos)
    rest = "library/" + rest;
  static const std::string part = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])",
                           host = "(?:" + part + "(?:\\." + part + ")*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?",
                           step = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
  static const std::regex grammar{"(" + host + ")/(" + step + "(?:/" + step
                                  + ")*)(?::([0-9A-Za-z_][0-9A-Za-z_.-]{0,127}))?"
                                    "(?:@(sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?"};
  std::smatch found;
  auto whole = domain + "/" + rest;
  if (!std::regex_match(whole, found, grammar) || found[2].length() > 255)
    return std::nullopt;
  auto name = found[1].str() + "/" + found[2].str();
  if (found[4].matched)
    return name + "@" + found[4].str();
  return name + ":" + (found[3].matched ? found[3].str() : "latest");
}

std::string random_text(std::minstd_rand& random) {
  static const std::vector<std::string> pieces{"a",
                                               "7ee2",
                                               "alpine",
                                               "A",
                                               "/",
                                               "/",
                                               "/",
                                               ":",
                                               ":",
                                               "@",
                                               "@",
                                               ".",
                                               "_",
                                               "__",
                                               "___",
                                               "-",
                                               "--",
                                               "..",
                                               "localhost",
                                               "ghcr.io",
                                               "host:5000/",
                                               "5000",
                                               digest,
                                               "@" + digest,
                                               "sha256:",
                                               "sha256:7ee2",
                                               hex,
                                               hex.substr(1),
                                               "@sha512:" + hex + hex,
                                               std::string(120, 'b'),
                                               std::string(128, 't'),
                                               " ",
                                               "[::1]",
                                               "docker.io/",
                                               "index.docker.io/",
                                               "library/",
                                               "latest",
                                               "\n",
                                               "user/app"};
  std::string text;
  for (auto count = random() % 6; count != 0; --count)
    text += pieces[random() % pieces.size()];
  return text;
}

} // namespace

TEST_CASE("an image name stands for its exact name") {
  CHECK(normalise_image("alpine") == "docker.io/library/alpine:latest");
  CHECK(normalise_image("alpine:3.20") == "docker.io/library/alpine:3.20");
  CHECK(normalise_image("user/app") == "docker.io/user/app:latest");
  CHECK(normalise_image("ghcr.io/a/b:1") == "ghcr.io/a/b:1");
  CHECK(normalise_image("localhost/a") == "localhost/a:latest");
  CHECK(normalise_image("localhost:5000/a") == "localhost:5000/a:latest");
  CHECK(normalise_image("GHCR.io/a") == "ghcr.io/a:latest");
  CHECK(normalise_image("Index.Docker.IO/alpine") == "docker.io/library/alpine:latest");
  CHECK(normalise_image("LOCALHOST:5000/a") == "localhost:5000/a:latest");
  CHECK_FALSE(normalise_image("ME/a"));
  CHECK(normalise_image("docker.io/alpine") == "docker.io/library/alpine:latest");
  CHECK(normalise_image("7ee2") == "docker.io/library/7ee2:latest");
  CHECK(normalise_image(hex + ":1") == "docker.io/library/" + hex + ":1");
  CHECK(normalise_image("alpine@" + digest) == "docker.io/library/alpine@" + digest);
  CHECK(normalise_image("alpine:3.20@" + digest) == "docker.io/library/alpine@" + digest);
  CHECK(read_image("alpine:3.20@" + digest)->whole() == "docker.io/library/alpine:3.20@" + digest);
  for (std::string wrong : {"", "UPPER", "a//b", "a:b:c", "-a", "a b", "a\nb", "../a", "sha256:7ee2", "a@sha256:7ee2"})
    CHECK_FALSE(normalise_image(wrong));
  CHECK_FALSE(normalise_image(hex));
  CHECK_FALSE(normalise_image(digest));
  CHECK_FALSE(normalise_image("a:\xff"));
  CHECK(repository_of("docker.io/library/alpine:3.20") == "docker.io/library/alpine");
  CHECK(repository_of("localhost:5000/a@" + digest) == "localhost:5000/a");
  CHECK(repository_of(digest).empty());
  CHECK(whole_image_id(hex) == digest);
  CHECK(whole_image_id(digest) == digest);
  CHECK_FALSE(whole_image_id("sha256:7ee2"));
  CHECK_FALSE(whole_image_id("alpine"));
}

TEST_CASE("an image name is too long if what it stands for is") {
  auto path = std::string(250, 'b'), host = std::string(254, 't') + ".x";
  auto longest = host + '/' + path;                           // 507 bytes
  CHECK(normalise_image(longest + ":12345") == std::nullopt); // 513
  CHECK(normalise_image(longest + ":1234") == longest + ":1234");
  CHECK_FALSE(normalise_image(longest)); // with ":latest" it has 514
  auto shorter = longest.substr(2);
  CHECK(normalise_image(shorter) == shorter + ":latest");
  CHECK(repository_of(shorter + ":latest") == shorter);
}

TEST_CASE("what davit asks engines for is what distribution's reference grammar says, and never an id") {
  auto seed = std::random_device{}();
  CAPTURE(seed);
  std::minstd_rand random{seed};
  int valid = 0;
  for (int i = 0; i < 30'000; ++i) {
    auto text = random_text(random);
    auto exact = normalise_image(text);
    auto expected = text.empty() ? std::nullopt : oracle(text);
    if (text.size() > 512 || (expected && expected->size() > 512))
      expected.reset();
    if (exact != expected) {
      CAPTURE(text);
      CHECK(exact == expected);
    }
    if (!exact)
      continue;
    ++valid;
    // It stands for itself, has a registry, and says which of the repository's images it is: an engine looks for no id.
    bool sound = normalise_image(*exact) == exact && exact->find('/') != std::string::npos && !is_image_id(*exact)
              && exact->starts_with(repository_of(*exact)) && exact->size() > repository_of(*exact).size();
    if (!sound) {
      CAPTURE(text, *exact);
      CHECK(sound);
    }
  }
  CHECK(valid > 1000);
}
