// A log's bytes as if they were not compressed, wherever they lie: a file, a compressed one, or memory.
#pragma once

#include "store/file.hpp"
#include "store/log_packing.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit::store {

class log_source {
public:
  /// Of bytes that outlive it.
  static log_source of_plain(std::string_view bytes);

  /// Of compressed bytes that outlive it; none if their seek table is damaged.
  static std::optional<log_source> of_packed(std::string_view bytes);

  /// Of the log at this path (without its ending); none if it is not there.
  static log_result<std::optional<log_source>> open(const std::filesystem::path& path);

  /// Reads up to `size` bytes; fewer at the end.
  log_result<std::size_t> read(char* into, std::size_t size, std::uint64_t offset);

  std::uint64_t size() const;

  bool compressed() const noexcept { return compressed_; }

private:
  std::int64_t stored(char* into, std::size_t size, std::uint64_t offset) const;
  std::uint64_t stored_size() const;
  bool read_table();
  bool load(const packed_frame& one);

  std::string path_;
  file file_;
  std::string_view memory_; ///< If there is no file.
  bool compressed_ = false;
  std::vector<packed_frame> frames_;
  std::vector<char> block_;
  std::uint64_t loaded_ = 0;
};

/// A page of records from `offset` on; `name` names the log in errors. A record that is longer than `max_bytes` comes
/// alone.
log_result<log_page>
read_page(log_source& from, const std::string& name, std::uint64_t offset, std::uint32_t max_bytes);

} // namespace davit::store
