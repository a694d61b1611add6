#include "transport/server_certificate.hpp"

#include "messages/regular_file.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstring>

namespace davit::transport {

namespace ssl = boost::asio::ssl;

result<std::shared_ptr<ssl::context>> server_certificate::current() {
  std::lock_guard guard{mutex_};
  auto seen = stamps();
  if (context_ && seen == seen_)
    return context_;
  auto made = load();
  if (made) {
    context_ = *made;
    seen_ = seen;
  } else if (!context_) { // half a renewal: the old one serves on
    return made.error();
  }
  return context_;
}

server_certificate::stamp_list server_certificate::stamps() const {
  stamp_list all;
  std::error_code ec;
  for (const auto* file : {&settings_.certificate, &settings_.key, &settings_.ca})
    if (!file->empty())
      all.push_back(std::filesystem::last_write_time(*file, ec));
  return all;
}

result<std::shared_ptr<ssl::context>> server_certificate::load() const {
  auto context = std::make_shared<ssl::context>(ssl::context::tls);
  auto handle = context->native_handle();
  SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  ERR_clear_error();
  auto fail = [](const std::string& what) {
    auto code = ERR_get_error();
    const auto* reason = code == 0              ? nullptr
                       : ERR_SYSTEM_ERROR(code) ? std::strerror(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    return error{engine_errc::tls, 0, what + (reason ? std::string{": "} + reason : std::string{})};
  };
  auto wrong = [](const std::string& name, const regular_file& file) {
    return error{engine_errc::tls, 0, name + ' ' + file.wrong()};
  };
  regular_file certificate{settings_.certificate}, key{settings_.key};
  if (!certificate.wrong().empty())
    return wrong(settings_.certificate, certificate);
  if (!key.wrong().empty())
    return wrong(settings_.key, key);
  if (SSL_CTX_use_certificate_chain_file(handle, certificate.name().c_str()) != 1)
    return fail(settings_.certificate + " has no PEM certificate");
  if (SSL_CTX_use_PrivateKey_file(handle, key.name().c_str(), SSL_FILETYPE_PEM) != 1)
    return fail(settings_.key + " has no key that fits " + settings_.certificate);
  if (!settings_.ca.empty()) {
    regular_file ca{settings_.ca};
    if (!ca.wrong().empty())
      return wrong(settings_.ca, ca);
    if (SSL_CTX_load_verify_locations(handle, ca.name().c_str(), nullptr) != 1)
      return fail(settings_.ca + " has no PEM certificate authority");
    context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  }
  return context;
}

std::string client_common_name(SSL* session) {
  std::unique_ptr<X509, decltype(&X509_free)> shown{SSL_get1_peer_certificate(session), &X509_free};
  if (!shown)
    return {};
  char name[256]{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name, sizeof name);
  return name;
}

} // namespace davit::transport
