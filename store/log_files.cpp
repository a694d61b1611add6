// Where attempts' logs lie, and reading them there.
#include "store/attempt_log.hpp"
#include "store/log_source.hpp"

#include <charconv>

namespace davit::store {

std::filesystem::path log_path(const std::filesystem::path& folder, const attempt_key& key) {
  auto id = to_string(key.task);
  // The last two digits are random, the first are time: folders fill evenly.
  return folder / id.substr(34) / id / std::to_string(key.number);
}

bool log_exists(const std::filesystem::path& path) {
  std::error_code ec;
  return std::filesystem::exists(path.string() + ".log", ec) || std::filesystem::exists(path.string() + ".log.zst", ec);
}

void remove_log(const std::filesystem::path& path) {
  for (auto ending : {".log", ".log.zst", ".log.part"})
    ::unlink((path.string() + ending).c_str());
}

log_result<void> remove_logs(const std::filesystem::path& folder, task_id task) {
  std::error_code ec;
  auto path = log_path(folder, {task, 1}).parent_path();
  std::filesystem::remove_all(path, ec);
  if (ec)
    return log_error{log_errc::unwritable, path.string() + ": " + ec.message()};
  return {};
}

std::uint64_t log_size(const std::filesystem::path& path) {
  auto opened = log_source::open(path);
  return opened && *opened ? (*opened)->size() : 0;
}

std::vector<attempt_key> logs_since(const std::filesystem::path& part, timestamp since) {
  std::vector<attempt_key> found;
  std::error_code ec;
  auto age = std::chrono::system_clock::now() - since;
  auto earliest = std::filesystem::file_time_type::clock::now()
                - std::chrono::duration_cast<std::filesystem::file_time_type::duration>(age);
  for (std::filesystem::recursive_directory_iterator one{part, ec}, end; !ec && one != end; one.increment(ec)) {
    auto name = one->path().filename().string();
    attempt_key key;
    if (one.depth() != 1 || (!name.ends_with(".log") && !name.ends_with(".log.zst"))
        || !from_string(one->path().parent_path().filename().string(), key.task))
      continue;
    std::error_code unreadable;
    if (auto at = one->last_write_time(unreadable); unreadable || at < earliest)
      continue;
    auto [rest, code] = std::from_chars(name.data(), name.data() + name.size(), key.number);
    if (code == std::errc{} && *rest == '.' && (found.empty() || found.back() != key))
      found.push_back(key);
  }
  return found;
}

log_result<log_page> read_log(const std::filesystem::path& path, std::uint64_t offset, std::uint32_t max_bytes) {
  auto opened = log_source::open(path);
  if (!opened)
    return opened.error();
  if (*opened)
    return read_page(**opened, path.string(), offset, max_bytes);
  log_page nothing;
  nothing.next = offset;
  return nothing;
}

log_result<log_page> read_packed_log(std::string_view packed, std::uint64_t offset, std::uint32_t max_bytes) {
  auto opened = log_source::of_packed(packed);
  if (!opened)
    return log_error{log_errc::damaged, "a log's seek table is damaged"};
  return read_page(*opened, "a log", offset, max_bytes);
}

} // namespace davit::store
