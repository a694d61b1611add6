#include "api/certificate_watch.hpp"

#include "transport/server_certificate.hpp"

#include <caf/telemetry/metric_family_impl.hpp>
#include <caf/telemetry/metric_registry.hpp>

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <spdlog/spdlog.h>

#include <ctime>
#include <utility>

namespace davit::api {

namespace {

/// When the certificate expires, as a Unix time.
std::int64_t not_after(boost::asio::ssl::context& tls) {
  const auto* shown = SSL_CTX_get0_certificate(tls.native_handle());
  std::tm end{};
  return shown && ASN1_TIME_to_tm(X509_get0_notAfter(shown), &end) == 1 ? ::timegm(&end) : 0;
}

} // namespace

certificate_watch::certificate_watch(const agent_settings& settings, caf::telemetry::metric_registry& registry) {
  auto* failed = registry.gauge_family("davit", "certificate-reload-failed", {"use"},
                                       "1 while the certificate's files can't be used, and what they were before is.");
  auto* not_after = registry.gauge_family("davit", "certificate-not-after-timestamp", {"use"},
                                          "When the certificate expires, as a Unix time.", "seconds");
  auto add = [&](caf::string_view use, std::string of, transport::tls_settings files) {
    if (!files.certificate.empty())
      all_.push_back(
        {std::move(of), std::move(files), failed->get_or_add({{"use", use}}), not_after->get_or_add({{"use", use}})});
  };
  const auto& access = settings.access;
  add("api", "the API", {access.tls_client_ca, access.tls_certificate, access.tls_key});
  if (!settings.peers.listen.empty())
    add("fleet", "the fleet", {settings.peers.tls_ca, settings.peers.tls_certificate, settings.peers.tls_key});
}

void certificate_watch::look(clock::time_point now) {
  if (looked_ && now - *looked_ < interval)
    return;
  looked_ = now;
  for (auto& one : all_)
    look_at(one);
}

void certificate_watch::look_at(watched& one) {
  auto loaded = transport::server_certificate{one.files}.current();
  auto trouble = loaded ? std::string{} : loaded.error().message;
  if (loaded)
    one.not_after->value(not_after(**loaded));
  if (trouble != std::exchange(one.trouble, trouble) || trouble == one.told)
    return;
  one.told = trouble;
  one.failed->value(trouble.empty() ? 0 : 1);
  if (trouble.empty())
    spdlog::info("the certificate of {} can be read again", one.of);
  else
    spdlog::error("the certificate of {} can't be renewed: {}; what was there before stays in use", one.of, trouble);
}

} // namespace davit::api
