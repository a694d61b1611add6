// Secrets at rest: AES-256-GCM by OpenSSL, with a key from a file.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace davit::secrets {

/// Thread-safe.
class secret_box {
public:
  /// Reads the key (32 bytes in base64). A file that is not there is made, with mode 0600. Null: what is wrong is in
  /// `error`.
  static std::shared_ptr<const secret_box> open(const std::filesystem::path& key_file, std::string& error);

  /// Reads the key, and makes none.
  static std::shared_ptr<const secret_box> read(const std::filesystem::path& key_file, std::string& error);

  /// The sealed text of a value, bound to its name. The same name and value give the same text (the nonce is made from
  /// them and the key), so that a task that is submitted twice is the same task.
  std::string seal(std::string_view name, std::string_view value) const;

  /// The value; none if it was sealed with another key, under another name, or was changed.
  std::optional<std::string> unseal(std::string_view name, std::string_view sealed) const;

  ~secret_box();

private:
  explicit secret_box(std::string key);
  std::string key_;
};

} // namespace davit::secrets
