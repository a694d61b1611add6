// Certificates whose files can't be used after a change: what the log and the metrics say.
#include "api/certificate_watch.hpp"
#include "fixture/captured_log.hpp"
#include "fixture/certificates.hpp"
#include "fixture/test_engine.hpp"

#include <caf/telemetry/metric_family_impl.hpp>
#include <caf/telemetry/metric_registry.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

using namespace davit;
using namespace davit::test;

namespace {

struct watched_certificates {
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "ca"};
  certificate_files files = authority.issue("server");
  caf::telemetry::metric_registry registry;
  captured_log log;
  api::certificate_watch::clock::time_point now{};

  agent_settings settings(const std::string& use) const {
    agent_settings made;
    if (use == "api") {
      made.access.tls_certificate = files.certificate;
      made.access.tls_key = files.key;
      made.access.tls_client_ca = authority.file();
    } else {
      made.peers.listen = "127.0.0.1:1";
      made.peers.tls_certificate = files.certificate;
      made.peers.tls_key = files.key;
      made.peers.tls_ca = authority.file();
    }
    return made;
  }

  void pass(api::certificate_watch& watch, int looks) {
    for (int i = 0; i < looks; ++i)
      watch.look(now += api::certificate_watch::interval);
  }

  std::int64_t gauge(caf::string_view name, const std::string& use, caf::string_view unit = "1") {
    return registry.gauge_family("davit", name, {"use"}, "", unit)->get_or_add({{"use", use}})->value();
  }
};

} // namespace

TEST_CASE_METHOD(watched_certificates, "a certificate, key or authority that can't be read again is told, once",
                 "[certificate_watch]") {
  auto use = GENERATE(as<std::string>{}, "api", "fleet");
  auto kind = GENERATE(as<std::string>{}, "garbage", "empty", "another", "removed", "pipe", "endless", "huge");
  auto which = GENERATE(0, 1, 2);
  if (kind == "another" && which == 2)
    return; // it is an authority too
  CAPTURE(use, kind, which);
  auto file = which == 0 ? files.certificate : which == 1 ? files.key : authority.file();
  std::filesystem::copy_file(file, folder / "good");
  api::certificate_watch watch{settings(use), registry};
  pass(watch, 3);
  CHECK_FALSE(log.has("certificate"));
  CHECK(gauge("certificate-reload-failed", use) == 0);
  if (kind == "removed") {
    std::filesystem::remove(file);
  } else if (kind == "pipe" || kind == "endless") { // to open the one would wait, to read the other would never end
    std::filesystem::remove(file);
    if (kind == "pipe")
      REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    else
      std::filesystem::create_symlink("/dev/zero", file);
  } else if (kind == "huge") {
    std::filesystem::resize_file(file, std::uintmax_t{1} << 31);
  } else if (kind == "another") {
    auto other = authority.issue("other");
    std::filesystem::copy_file(which == 0 ? other.certificate : other.key, file,
                               std::filesystem::copy_options::overwrite_existing);
  } else {
    std::ofstream{file} << (kind == "garbage" ? "no certificate\n" : "");
  }
  watch.look(now += api::certificate_watch::interval);
  CHECK_FALSE(log.has("certificate")); // it may be half a renewal
  pass(watch, 5);
  auto named = kind == "another" ? files.key : file; // the key is what does not fit
  auto why = kind == "removed"                   ? " can't be read: No such file or directory"
           : kind == "pipe" || kind == "endless" ? " is not a regular file"
           : kind == "huge"                      ? " is larger than 1m"
                                                 : " has no ";
  CHECK(log.count("can't be renewed: " + named + why) == 1);
  CHECK(log.has(use == "api" ? "the certificate of the API " : "the certificate of the fleet "));
  CHECK(gauge("certificate-reload-failed", use) == 1);
  std::filesystem::remove(file);
  std::filesystem::copy_file(folder / "good", file);
  pass(watch, 5);
  CHECK(log.count("can be read again") == 1);
  CHECK(gauge("certificate-reload-failed", use) == 0);
}

TEST_CASE_METHOD(watched_certificates, "the metrics say when a certificate expires, also a renewed one",
                 "[certificate_watch]") {
  auto ends_in = [&](std::chrono::seconds time) {
    auto left = gauge("certificate-not-after-timestamp", "api", "seconds") - std::time(nullptr);
    return left > time.count() - 100 && left <= time.count();
  };
  files = authority.issue("short", "localhost", std::chrono::hours{1});
  api::certificate_watch watch{settings("api"), registry};
  pass(watch, 1);
  CHECK(ends_in(std::chrono::hours{1}));
  auto longer = authority.issue("long", "localhost", std::chrono::hours{48});
  auto overwrite = std::filesystem::copy_options::overwrite_existing;
  std::filesystem::copy_file(longer.certificate, files.certificate, overwrite);
  std::filesystem::copy_file(longer.key, files.key, overwrite);
  pass(watch, 1);
  CHECK(ends_in(std::chrono::hours{48}));
}
