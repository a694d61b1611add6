// A file that may change while the agent runs.
#pragma once

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <utility>

namespace davit::api {

/// What a file says now: a change counts within a second. If it can't be read, nothing that it said before counts any
/// more. Not thread-safe.
template <class T>
class watched_file {
public:
  using load_function = std::optional<T> (*)(const std::filesystem::path& file, std::string& error);

  /// `what` begins the message if the file can't be read.
  watched_file(std::filesystem::path file, std::string what, load_function load)
    : file_(std::move(file)), what_(std::move(what)), load_(load) {}

  const T& now() {
    auto time = std::chrono::steady_clock::now();
    if (version_ != 0 && time - looked_ < std::chrono::seconds{1})
      return content_;
    looked_ = time;
    auto found = look();
    if (version_ != 0 && found && found == seen_)
      return content_;
    read(std::move(found));
    return content_;
  }

  /// Another number after each change.
  std::uint64_t version() {
    now();
    return version_;
  }

private:
  /// Which file it is, and when it or its mode was last changed.
  using mark = std::pair<std::uint64_t, std::pair<std::int64_t, std::int64_t>>;

  std::optional<mark> look() const {
    struct stat info {};
    if (::stat(file_.c_str(), &info) != 0)
      return std::nullopt;
    return mark{info.st_ino, {info.st_ctim.tv_sec, info.st_ctim.tv_nsec}};
  }

  void read(std::optional<mark> found) {
    std::string error;
    if (auto loaded = load_(file_, error)) {
      content_ = std::move(*loaded);
      seen_ = std::move(found);
      good_ = true;
      ++version_;
      return;
    }
    if (good_ || version_ == 0) {
      spdlog::error("{}: {}", what_, error);
      ++version_;
    }
    content_ = T{};
    seen_.reset();
    good_ = false;
  }

  std::filesystem::path file_;
  std::string what_;
  load_function load_;
  T content_{};
  std::optional<mark> seen_; ///< None: it could not be read, and is tried again.
  std::chrono::steady_clock::time_point looked_;
  std::uint64_t version_ = 0; ///< 0: it was not read yet.
  bool good_ = false;
};

} // namespace davit::api
