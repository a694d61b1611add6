// An engine in a container of its own: Docker 26 over tcp, and over TLS with client certificates.
#include "cli/doctor.hpp"
#include "engine/suites.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

void need_dind() {
  if (!dind_engine::available())
    SKIP("DAVIT_DIND_ROOT names no file system for docker:dind (scripts/test makes one)");
}

/// What the doctor, and with it everybody who connects, has to say of an engine.
std::string trouble_of(const engine_settings& settings) {
  for (const auto& one : examine(settings))
    if (one.check == "reachable")
      return one.verdict == "ok" ? "ok" : one.detail;
  return "nothing";
}

} // namespace

TEST_CASE("docker:dind over tcp: each way to end has its own outcome", "[dind][outcomes]") {
  need_dind();
  static const dind_engine engine{dind_mode::tcp};
  check_outcomes(engine);
}

TEST_CASE("docker:dind over tcp: every byte is kept", "[dind][output]") {
  need_dind();
  static const dind_engine engine{dind_mode::tcp};
  check_output(engine);
}

TEST_CASE("docker:dind over TLS: each way to end has its own outcome", "[dind][outcomes]") {
  need_dind();
  static const dind_engine engine{dind_mode::tls};
  check_outcomes(engine);
}

TEST_CASE("docker:dind over TLS: every byte is kept", "[dind][output]") {
  need_dind();
  static const dind_engine engine{dind_mode::tls};
  check_output(engine);
}

TEST_CASE("docker:dind over TLS: files go in and come out", "[dind][files]") {
  need_dind();
  static const dind_engine engine{dind_mode::tls};
  check_files(engine);
}

TEST_CASE("each mistake with TLS has its own clear error", "[dind][tls]") {
  need_dind();
  dind_engine engine{dind_mode::tls};
  auto good = engine.settings();
  const auto& folder = engine.folder();
  CHECK(trouble_of(good) == "ok");
  for (const auto& one : examine(good))
    if (one.check == "api")
      CHECK(one.detail.find("API 1.44-1.45") != std::string::npos);
  auto says = [](const engine_settings& settings, const std::string& part) {
    auto text = trouble_of(settings);
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  {
    certificate_authority other{folder, "other-ca"};
    auto wrong = good;
    wrong.tls_ca = other.file();
    says(wrong, "does tls-ca name the authority that signed it");
    auto stranger = other.issue("stranger");
    auto refused = good;
    refused.tls_certificate = stranger.certificate;
    refused.tls_key = stranger.key;
    says(refused, "it does not accept the client certificate");
  }
  {
    auto expired = engine.authority().issue("expired", "localhost", -1h);
    auto settings = good;
    settings.tls_certificate = expired.certificate;
    settings.tls_key = expired.key;
    says(settings, "the client certificate " + expired.certificate + " has expired");
  }
  {
    auto settings = good;
    settings.tls_certificate.clear();
    settings.tls_key.clear();
    says(settings, "it asks for a client certificate and got none");
  }
  {
    auto settings = good;
    settings.tls_certificate = folder + "/nowhere.pem";
    says(settings, folder + "/nowhere.pem can't be read: No such file or directory");
    settings = good;
    settings.tls_key = engine.authority().issue("another").key;
    says(settings, "has no key that fits");
    settings = good;
    std::ofstream{folder + "/empty.pem"} << "";
    settings.tls_ca = folder + "/empty.pem";
    says(settings, "has no PEM certificate authority");
  }
  {
    auto plain = good;
    plain.tls_ca = plain.tls_certificate = plain.tls_key = "";
    says(plain, "TLS");
  }
}

TEST_CASE("TLS to a port without it says so", "[dind][tls]") {
  need_dind();
  dind_engine engine{dind_mode::tcp};
  auto settings = engine.settings();
  CHECK(trouble_of(settings) == "ok");
  settings.tls_ca = engine.authority().file();
  auto text = trouble_of(settings);
  INFO(text);
  CHECK(text.find("does not speak TLS") != std::string::npos);
}

TEST_CASE("certificates that come late are waited for: the engine becomes ready when they are there", "[dind][tls]") {
  need_dind();
  dind_engine engine{dind_mode::tls};
  auto settings = engine.settings();
  auto late = engine.folder() + "/late-ca.pem";
  settings.tls_ca = late;
  test_agent agent{{settings}};
  agent.await_engine("dind", engine_state::down);
  auto id = agent.submit(busybox("echo it was worth the wait"));
  std::filesystem::copy_file(engine.authority().file(), late);
  CHECK(agent.wait(id).outcome == outcome::succeeded);
  CHECK(agent.logs(id).out == "it was worth the wait\n");
}
