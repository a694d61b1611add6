// The texts that options take: names, paths, addresses, URLs. Each kind says in its own words what is expected.
#pragma once

#include <string>

namespace davit {

struct text_format {
  std::string words;                             ///< What the text must be, for the reference: `an absolute path`.
  std::string (*wrong)(const std::string& text); ///< Why a text is not one; empty: it is.
};

extern const text_format any_text;   ///< Whatever is not empty.
extern const text_format plain_name; ///< Of an agent or a fleet.
extern const text_format absolute_path;
extern const text_format host_and_port;
extern const text_format listen_address; ///< Of the API: host:port or a unix socket.
extern const text_format engine_endpoint;
extern const text_format bucket_url;  ///< `s3://bucket/prefix`
extern const text_format service_url; ///< Of a log service.
extern const text_format keys_url;    ///< Of an identity provider.
extern const text_format store_url;
extern const text_format name_template; ///< `{task}/{attempt}`.
extern const text_format engine_label;
extern const text_format ceiling_text;     ///< `memory=4g`
extern const text_format cache_scope_text; ///< `pr/7`
extern const text_format drain_action;
extern const text_format log_format;

} // namespace davit
