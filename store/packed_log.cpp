// Compressed logs: made of plain ones, and passed on block by block.
#include "store/attempt_log.hpp"
#include "store/log_source.hpp"
#include "store/private_files.hpp"

#include <algorithm>
#include <sys/stat.h>

namespace davit::store {

log_result<std::string> pack_bytes(std::string_view plain) {
  std::vector<char> packed;
  std::vector<std::uint32_t> sizes;
  if (!plain.empty()) {
    std::string error;
    auto count = pack_block(plain, packed, error);
    if (!count)
      return log_error{log_errc::damaged, error};
    packed.resize(*count);
    sizes = {static_cast<std::uint32_t>(*count), static_cast<std::uint32_t>(plain.size())};
  }
  return std::string{packed.begin(), packed.end()} + seek_table(sizes);
}

log_result<std::string> pack_small(const std::filesystem::path& path) {
  auto name = path.string() + ".log";
  file in{::open(name.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info {};
  if (!in || ::fstat(in.fd, &info) != 0)
    return system_error(name, "open");
  auto size = static_cast<std::size_t>(info.st_size);
  if (size > block_bytes)
    return log_error{log_errc::damaged, name + ": it is too large to be packed at once"};
  std::string plain(size, '\0');
  if (read_at(in.fd, plain.data(), size, 0) != static_cast<ssize_t>(size))
    return system_error(name, "read");
  return pack_bytes(plain);
}

log_result<std::string> read_packed(const std::filesystem::path& path, std::uint64_t block) {
  auto name = path.string() + ".log.zst";
  file in{::open(name.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!in)
    return system_error(name, "open");
  std::string bytes(block_bytes, '\0');
  auto count = read_at(in.fd, bytes.data(), bytes.size(), block * block_bytes);
  if (count < 0)
    return system_error(name, "read");
  bytes.resize(static_cast<std::size_t>(count));
  return bytes;
}

std::uint32_t packed_blocks(const std::filesystem::path& path) {
  std::error_code ec;
  auto size = std::filesystem::file_size(path.string() + ".log.zst", ec);
  return ec ? 0 : static_cast<std::uint32_t>((size + block_bytes - 1) / block_bytes);
}

packed_writer::packed_writer(std::filesystem::path path) : path_(std::move(path)) {}

log_result<void> packed_writer::add(std::string_view bytes) {
  auto name = path_.string() + ".log.zst.part";
  if (!std::exchange(begun_, true)) { // a log of one block never comes here: it has no file
    make_private_folder(path_.parent_path());
    ::unlink(name.c_str());
  }
  file out{::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, private_file_mode)};
  if (!out || !write_all(out.fd, bytes.data(), bytes.size()))
    return system_error(name, "write");
  return {};
}

log_result<void> packed_writer::finish() {
  auto name = path_.string() + ".log.zst";
  if (::rename((name + ".part").c_str(), name.c_str()) != 0)
    return system_error(name, "write");
  return {};
}

struct log_compressor::state {
  std::filesystem::path path;
  file in;
  file out;
  std::uint64_t at = 0;
  std::vector<std::uint32_t> table;
  std::vector<char> raw, packed; ///< As large as the log, at most a block: many may wait to be compressed.
};

log_compressor::log_compressor(std::filesystem::path path) : state_(std::make_unique<state>()) {
  state_->path = std::move(path);
}

log_compressor::log_compressor(log_compressor&&) noexcept = default;
log_compressor& log_compressor::operator=(log_compressor&&) noexcept = default;

log_compressor::~log_compressor() = default;

log_result<bool> log_compressor::step() {
  auto& s = *state_;
  auto plain = s.path.string() + ".log", partial = plain + ".part", final_name = plain + ".zst";
  if (!s.in) {
    s.in = file{::open(plain.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!s.in)
      return system_error(plain, "open");
    s.out = file{::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
    struct stat info {};
    if (!s.out || ::fstat(s.in.fd, &info) != 0)
      return system_error(partial, "open");
    s.raw.resize(std::clamp<std::size_t>(static_cast<std::size_t>(info.st_size), 1, block_bytes));
  }
  auto count = read_at(s.in.fd, s.raw.data(), s.raw.size(), s.at);
  if (count < 0)
    return system_error(plain, "read");
  if (count > 0) {
    std::string error;
    auto size = pack_block({s.raw.data(), static_cast<std::size_t>(count)}, s.packed, error);
    if (!size)
      return log_error{log_errc::damaged, partial + ": " + error};
    if (!write_all(s.out.fd, s.packed.data(), *size))
      return system_error(partial, "write");
    s.table.push_back(static_cast<std::uint32_t>(*size));
    s.table.push_back(static_cast<std::uint32_t>(count));
    s.at += static_cast<std::uint64_t>(count);
    return false;
  }
  auto tail = seek_table(s.table);
  if (!write_all(s.out.fd, tail.data(), tail.size()) || ::fdatasync(s.out.fd) != 0
      || ::rename(partial.c_str(), final_name.c_str()) != 0)
    return system_error(partial, "write");
  ::unlink(plain.c_str()); // readers that have it open read on
  return true;
}

} // namespace davit::store
