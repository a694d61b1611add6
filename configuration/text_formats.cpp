#include "configuration/text_formats.hpp"

#include "policy/ceilings.hpp"
#include "transport/endpoint.hpp"
#include "policy/cache_keys.hpp"
#include "shipping/log_format.hpp"
#include "shipping/s3_settings.hpp"

#include <string_view>

namespace davit {

namespace {

std::string quoted(const std::string& text) {
  return '"' + text + '"';
}

bool has_words(const std::string& text) {
  return text.find_first_not_of(" \t") != std::string::npos;
}

std::string wrong_text(const std::string& text) {
  return has_words(text) ? "" : "must not be empty; leave the option out for its default";
}

std::string wrong_name(const std::string& text) {
  constexpr auto allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !text.empty() && text.size() <= 128 && text.find_first_not_of(allowed) == std::string::npos
         ? ""
         : "must consist of letters, digits, dots, dashes and underscores, 1 to 128 of them, not " + quoted(text);
}

std::string wrong_path(const std::string& text) {
  return text.starts_with('/') ? "" : "must be an absolute path, not " + quoted(text);
}

std::string wrong_host_and_port(const std::string& text) {
  return transport::parse_host_and_port(text)
         ? ""
         : quoted(text) + " is not a valid host:port; write one such as a1.internal:7301";
}

std::string wrong_listen(const std::string& text) {
  constexpr auto advice = "write host:port or unix:///run/davit.sock";
  auto scheme = text.find("://");
  if (scheme != std::string::npos && !text.starts_with("unix://") && !text.starts_with("tcp://"))
    return quoted(text) + " has a scheme that is not expected here; " + advice;
  auto where = transport::parse_listen_address(text);
  if (!where && scheme == std::string::npos)
    return quoted(text) + " is not a valid address; " + advice;
  if (!where)
    return where.error().message;
  auto rest = scheme == std::string::npos ? std::string_view{text} : std::string_view{text}.substr(scheme + 3);
  return where->is_unix() || transport::parse_host_and_port(rest) ? "" : quoted(text) + " has no port; write host:port";
}

std::string wrong_endpoint(const std::string& text) {
  if (text.starts_with("http://"))
    return quoted(text) + " is not the address of an engine; write tcp://" + text.substr(7)
         + ", with TLS options if it speaks TLS, or unix:///path/to/docker.sock";
  auto where = transport::parse_endpoint(text);
  return where ? "" : where.error().message;
}

std::string wrong_bucket_url(const std::string& text) {
  auto bucket = shipping::parse_s3_url(text);
  return bucket ? std::string{} : bucket.error().message;
}

std::string wrong_scope(const std::string& text) {
  if (!has_words(text))
    return wrong_text(text);
  auto wrong = wrong_cache_scope(text);
  return wrong.empty() ? wrong : quoted(text) + ' ' + wrong;
}

std::string wrong_service_url(const std::string& text) {
  auto where = transport::parse_service_url(text, "/", "");
  return where ? "" : where.error().message;
}

std::string wrong_keys_url(const std::string& text) {
  auto has_scheme = text.starts_with("https://") || text.starts_with("http://");
  return has_scheme && transport::parse_service_url(text, "/", "")
         ? ""
         : quoted(text) + " is not a valid URL; write one such as https://gitlab.example.com/oauth/discovery/keys";
}

/// Of `user:password@host:port,host:port/database?options`: libpq would find out too late.
std::string wrong_port(std::string text) {
  text = text.substr(0, text.find_first_of("/?"));
  text = text.substr(text.rfind('@') + 1);
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find(',', at), text.size());
    auto one = text.substr(at, end - at);
    auto colon = one.rfind(':');
    if (colon != std::string::npos && colon + 1 < one.size() && one.back() != ']'
        && !transport::parse_host_and_port("host" + one.substr(colon)))
      return quoted(one.substr(colon + 1)) + " is not a port; it must be a number from 1 to 65535";
    at = end + 1;
  }
  return {};
}

std::string wrong_store_url(const std::string& text) {
  constexpr std::string_view sqlite = "sqlite://";
  if (text.starts_with(sqlite))
    return text.size() > sqlite.size() + 1 && text[sqlite.size()] == '/' && text.back() != '/'
           ? ""
           : quoted(text) + " does not name a file by its absolute path; write sqlite:///path/to/davit.db";
  for (std::string_view scheme : {"postgresql://", "postgres://"})
    if (text.starts_with(scheme) && text.size() > scheme.size())
      return wrong_port(text.substr(scheme.size()));
  return quoted(text) + " is not a valid store; write sqlite:///path/to/davit.db or postgresql://user@host/database";
}

std::string wrong_name_template(const std::string& text) {
  return has_words(text) ? shipping::wrong_template(text) : wrong_text(text);
}

std::string wrong_label(const std::string& text) {
  return text.starts_with("davit.") ? "labels that start with davit. are reserved" : wrong_text(text);
}

std::string wrong_drain_action(const std::string& text) {
  return text == "leave" || text == "stop" ? "" : "must be \"leave\" or \"stop\", not " + quoted(text);
}

std::string wrong_log_format(const std::string& text) {
  return text == "text" || text == "json" ? "" : "must be \"text\" or \"json\", not " + quoted(text);
}

std::string wrong_ceiling(const std::string& text) {
  named_ceilings none;
  return read_ceiling(text, none);
}

} // namespace

const text_format any_text{"", wrong_text};
const text_format plain_name{"letters, digits, dots, dashes, underscores; 1 to 128", wrong_name};
const text_format absolute_path{"an absolute path", wrong_path};
const text_format host_and_port{"host:port", wrong_host_and_port};
const text_format listen_address{"host:port or unix:///path", wrong_listen};
const text_format engine_endpoint{"unix:///path, tcp://host:port or https://host:port", wrong_endpoint};
const text_format bucket_url{"s3://bucket/prefix", wrong_bucket_url};
const text_format service_url{"http://host:port/path or https://host:port/path", wrong_service_url};
const text_format keys_url{"https://host:port/path", wrong_keys_url};
const text_format store_url{"sqlite:///path or postgresql://user@host/database", wrong_store_url};
const text_format name_template{"a template", wrong_name_template};
const text_format engine_label{"not beginning with davit.", wrong_label};
const text_format cache_scope_text{"a scope such as pr or pr/7", wrong_scope};
const text_format ceiling_text{"a ceiling such as memory=4g", wrong_ceiling};
const text_format drain_action{"leave or stop", wrong_drain_action};
const text_format log_format{"text or json", wrong_log_format};

} // namespace davit
