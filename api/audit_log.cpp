#include "api/audit_log.hpp"

#include "store/private_files.hpp"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace davit::api {

namespace {

constexpr std::size_t most_bytes = 16 * 1024 * 1024;
constexpr std::size_t old_files = 4;

/// Null: the file can't be opened, which is told.
std::unique_ptr<spdlog::logger> open_file(const std::string& file, bool is_private) {
  try {
    spdlog::file_event_handlers handlers;
    if (is_private)
      handlers.before_open = store::make_private_file;
    auto sink = std::make_shared<spdlog::sinks::rotating_file_sink_st>(file, most_bytes, old_files, false, handlers);
    auto opened = std::make_unique<spdlog::logger>("audit", std::move(sink));
    opened->set_pattern("%v");
    opened->set_error_handler(
      [file](const std::string& what) { spdlog::error("the audit log {} can't be written: {}", file, what); });
    return opened;
  } catch (const spdlog::spdlog_ex& e) {
    spdlog::error("the audit log can't be opened: {}", e.what());
    return nullptr;
  }
}

} // namespace

audit_log::audit_log(std::string file, bool is_private)
  : file_(std::move(file)), private_(is_private), thread_([this] { run(); }) {}

audit_log::~audit_log() {
  {
    std::lock_guard guard{mutex_};
    over_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void audit_log::write(std::string line, std::function<void()> then) {
  {
    std::lock_guard guard{mutex_};
    waiting_.push_back({std::move(line), std::move(then)});
  }
  changed_.notify_one();
}

void audit_log::run() {
  auto file = open_file(file_, private_);
  std::vector<entry> batch;
  while (true) {
    {
      std::unique_lock lock{mutex_};
      changed_.wait(lock, [this] { return over_ || !waiting_.empty(); });
      if (waiting_.empty())
        return;
      batch.swap(waiting_);
    }
    if (file) {
      for (const auto& one : batch)
        file->log(spdlog::level::info, spdlog::string_view_t{one.line});
      file->flush();
    }
    for (const auto& one : batch)
      one.then();
    batch.clear();
  }
}

} // namespace davit::api
