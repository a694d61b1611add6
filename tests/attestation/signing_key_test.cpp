// The file with an agent's key: made once, whole, closed to others, and refused if it is anything else.
#include "attestation/signing_key.hpp"
#include "encoding/digest.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <set>
#include <sys/stat.h>
#include <thread>

using namespace davit::attestation;
using davit::test::scratch_folder;
using davit::test::shell;

namespace {

std::string why_not(const std::string& file) {
  std::string error;
  CHECK(!signing_key::open(file, error));
  CHECK(error.find(file) != std::string::npos);
  return error;
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("a key's file is made with its first use, for its owner alone, and stays the key", "[attest]") {
  scratch_folder folder;
  auto file = folder / "a/b/signing.key";
  std::string error;
  auto key = signing_key::open(file, error);
  INFO(error);
  REQUIRE(key);
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(shell("ls -A " + (folder / "a/b")) == "signing.key\n");
  auto again = signing_key::read(file, error);
  REQUIRE(again);
  CHECK(again->shown() == key->shown());
  CHECK(again->sign("text") == key->sign("text"));
  CHECK(key->shown().verify("text", again->sign("text")));
  CHECK(!key->shown().verify("Text", again->sign("text")));
  CHECK(!key->shown().verify("text", again->sign("text").substr(1)));
  CHECK(!key->shown().verify("text", ""));
}

TEST_CASE("agents that start at once with one file have one key", "[attest]") {
  scratch_folder folder;
  std::vector<std::thread> all;
  std::array<std::string, 8> ids;
  for (auto& id : ids)
    all.emplace_back([&] {
      std::string error;
      if (auto key = signing_key::open(folder / "key", error))
        id = key->shown().id();
    });
  for (auto& one : all)
    one.join();
  CHECK(std::set<std::string>{ids.begin(), ids.end()}.size() == 1);
  CHECK(!ids[0].empty());
}

TEST_CASE("OpenSSL's own program reads the key, and writes one that is taken", "[attest]") {
  scratch_folder folder;
  std::string error, why;
  auto key = signing_key::open(folder / "key", error);
  REQUIRE(key);
  CHECK(shell("openssl pkey -in " + (folder / "key") + " -pubout") == key->shown().pem());
  CHECK(shell("openssl pkey -in " + (folder / "key") + " -pubout -outform DER | sha256sum | cut -d' ' -f1")
        == key->shown().id() + "\n");
  CHECK(public_key::read_pem(key->shown().pem(), why) == key->shown());
  CHECK(public_key::read_der(key->shown().der()) == key->shown());
  CHECK(key->shown().id() == davit::encoding::sha256_hex(key->shown().der()));
  shell("umask 077; openssl genpkey -algorithm ed25519 -out " + (folder / "made"));
  auto made = signing_key::open(folder / "made", error);
  REQUIRE(made);
  CHECK(made->shown().pem() == shell("openssl pkey -in " + (folder / "made") + " -pubout"));
}

TEST_CASE("a file that is open to others, broken or another thing is not a key", "[attest]") {
  scratch_folder folder;
  auto file = folder / "key";
  std::string error;
  REQUIRE(signing_key::open(file, error));
  SECTION("readable by everybody") {
    shell("chmod 644 " + file);
    CHECK(has(why_not(file), "can be read by every user of this machine (mode 0644); run: chmod 600 " + file));
  }
  SECTION("half of it") {
    shell("head -c 60 " + file + " > " + file + ".x && mv " + file + ".x " + file + " && chmod 600 " + file);
    CHECK(has(why_not(file), "has no private key in PEM"));
  }
  SECTION("nothing in it: no new key takes its place") {
    std::ofstream{file}.close();
    CHECK(has(why_not(file), "has no private key in PEM"));
    CHECK(std::filesystem::file_size(file) == 0);
  }
  SECTION("a key of another kind") {
    shell("umask 077; openssl genpkey -algorithm X25519 -out " + file);
    CHECK(has(why_not(file), "another kind than Ed25519; openssl genpkey -algorithm ed25519 makes one"));
  }
  SECTION("a public key") {
    shell("umask 077; openssl genpkey -algorithm ed25519 | openssl pkey -pubout > " + file);
    CHECK(has(why_not(file), "has no private key"));
  }
  SECTION("sealed with a passphrase: nobody is asked for it") {
    shell("umask 077; openssl genpkey -algorithm ed25519 -aes256 -pass pass:word -out " + file);
    CHECK(has(why_not(file), "without a passphrase"));
  }
  SECTION("a folder, a fifo") {
    shell("rm " + file + " && mkdir -m 700 " + file);
    CHECK(has(why_not(file), "is a directory"));
    shell("rmdir " + file + " && mkfifo -m 600 " + file);
    CHECK(has(why_not(file), "not a regular file"));
  }
  SECTION("a place where nothing can be made") {
    CHECK(has(why_not("/proc/none/key"), "can't be written"));
  }
}

TEST_CASE("only one Ed25519 public key is taken as one", "[attest]") {
  std::string why;
  auto wrong = [&](const std::string& text) {
    why.clear();
    CHECK(!public_key::read_pem(text, why));
    return why;
  };
  CHECK(has(wrong(""), "no public key in PEM"));
  CHECK(has(wrong("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "no public key in PEM"));
  CHECK(has(wrong(shell("openssl genpkey -algorithm ed25519")), "private key"));
  CHECK(has(wrong(shell("openssl genpkey -algorithm ed448 | openssl pkey -pubout")), "another kind"));
  CHECK(has(wrong(shell("openssl ecparam -name prime256v1 -genkey -noout | openssl pkey -pubout")), "another kind"));
  CHECK(!public_key::read_der(""));
  CHECK(!public_key::read_der(std::string(44, '\0')));
}
