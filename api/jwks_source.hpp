// Where an identity provider's keys come from: a file, or a URL.
#pragma once

#include "api/jwks.hpp"
#include "messages/access.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace davit::api {

/// For the API's actor alone.
class jwks_source {
public:
  virtual ~jwks_source() = default;

  struct view {
    std::shared_ptr<const key_set> keys; ///< Null: there are none.
    bool pending = false;                ///< More may come soon.
  };

  /// The keys as they are now. `token`: if none of them has its id, a URL is asked again, unless that was done within
  /// the last minute.
  virtual view look(const jwt& token) = 0;

  /// Begins what takes time, and keeps the keys fresh. To be called now and then.
  virtual void tend() = 0;

  /// Another number after each change.
  virtual std::uint64_t version() = 0;
};

/// The keys of a file. Null: `error` says why; a file that other users may change is trouble too.
std::shared_ptr<const key_set> load_keys(const std::filesystem::path& file, std::string& error);

/// By what the settings name: a file, or a URL.
std::unique_ptr<jwks_source> make_jwks_source(const issuer_settings& settings, boost::asio::any_io_executor executor);

} // namespace davit::api
