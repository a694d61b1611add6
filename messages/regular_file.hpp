// What may be read or written as a file: a pipe or a device may never end, or never begin.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace davit {

/// What is wrong with the kind of a file that is to be read whole, or written, as a sentence behind its name. Empty: it
/// is a regular file, or it can't be looked at, and whoever opens it learns why.
std::string wrong_kind(const std::filesystem::path& file);

/// A file that an operator has named, open for reading. Whatever lies there, opening and reading it takes no time.
class regular_file {
public:
  /// `most`: the bytes that it may have.
  explicit regular_file(const std::filesystem::path& file, std::uint64_t most = 1 << 20);
  ~regular_file();
  regular_file(const regular_file&) = delete;
  regular_file& operator=(const regular_file&) = delete;

  /// What is wrong with it, as a sentence behind its name. Empty: it is a regular file, and open.
  const std::string& wrong() const { return wrong_; }

  /// A name by which libraries open the very file that was looked at, for as long as this lives.
  std::string name() const;

  /// All of it; none if it can't be read: see wrong().
  std::optional<std::string> read();

private:
  const int fd_;
  const std::uint64_t most_;
  std::string wrong_;
};

} // namespace davit
