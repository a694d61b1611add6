#include "store/log_journal.hpp"

#include "store/file.hpp"
#include "store/private_files.hpp"

#include <atomic>
#include <cstring>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <thread>
#include <vector>
#include <xxhash.h>

namespace davit::store {

namespace {

constexpr std::uint64_t most_bytes = 32 * 1024 * 1024; // then a new one is begun
constexpr std::size_t head_bytes = 40;

enum class entry_kind : std::uint32_t { log = 1, removed = 2 };

void put_entry(std::string& to, entry_kind kind, const attempt_key& key, std::string_view bytes) {
  auto at = to.size();
  char head[head_bytes]{};
  auto length = static_cast<std::uint32_t>(bytes.size()), word = static_cast<std::uint32_t>(kind);
  std::memcpy(head + 8, &length, 4);
  std::memcpy(head + 12, &word, 4);
  std::memcpy(head + 16, key.task.bytes.data(), 16);
  std::memcpy(head + 32, &key.number, 4);
  to.append(head, head_bytes);
  to.append(bytes);
  auto hash = XXH3_64bits(to.data() + at + 8, to.size() - at - 8);
  std::memcpy(to.data() + at, &hash, 8);
}

struct entry {
  entry_kind kind{};
  attempt_key key;
  std::string_view bytes;
};

/// Takes the first entry off `from`; false: there is none, or it was not written to its end.
bool take_entry(std::string_view& from, entry& into) {
  if (from.size() < head_bytes)
    return false;
  std::uint64_t hash = 0;
  std::uint32_t length = 0, word = 0;
  std::memcpy(&hash, from.data(), 8);
  std::memcpy(&length, from.data() + 8, 4);
  std::memcpy(&word, from.data() + 12, 4);
  std::memcpy(into.key.task.bytes.data(), from.data() + 16, 16);
  std::memcpy(&into.key.number, from.data() + 32, 4);
  if (length > log_journal::longest || from.size() - head_bytes < length
      || XXH3_64bits(from.data() + 8, head_bytes - 8 + length) != hash)
    return false;
  into.kind = static_cast<entry_kind>(word);
  into.bytes = from.substr(head_bytes, length);
  from.remove_prefix(head_bytes + length);
  return true;
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// Makes a log's file again if it has not what the journal has.
log_result<void> bring_back(const std::filesystem::path& folder, const entry& one) {
  auto path = log_path(folder, one.key);
  if (packed_blocks(path) != 0)
    return {};
  auto name = path.string() + ".log";
  if (content_of(name) == one.bytes)
    return {};
  make_private_folder(path.parent_path());
  file out{::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
  if (!out || !write_all(out.fd, one.bytes.data(), one.bytes.size()))
    return system_error(name, "write");
  return {};
}

/// Reads a journal of another boot.
log_result<void> replay(const std::filesystem::path& folder, const std::string& content) {
  auto head = content.find('\n');
  if (head == std::string::npos)
    return {};
  std::vector<entry> logs;
  std::set<task_id> removed;
  std::string_view rest{content};
  rest.remove_prefix(head + 1);
  for (entry one; take_entry(rest, one);)
    if (one.kind == entry_kind::removed)
      removed.insert(one.key.task);
    else if (one.kind == entry_kind::log)
      logs.push_back(one);
  for (const auto& one : logs)
    if (!removed.contains(one.key.task))
      if (auto good = bring_back(folder, one); !good)
        return good;
  return {};
}

} // namespace

struct log_journal::state {
  std::filesystem::path folder;
  std::string boot;
  file directory, out;
  std::uint64_t size = 0;       ///< Of what is written and whole.
  std::string waiting;          ///< Not written yet.
  std::thread retiring;         ///< Syncs the logs of the old journal, and removes it.
  std::atomic<bool> idle{true}; ///< It has ended, well or not.

  std::filesystem::path name() const { return folder / "journal"; }
  std::filesystem::path old_name() const { return folder / "journal.old"; }

  ~state() {
    if (retiring.joinable())
      retiring.join();
  }

  log_result<void> begin() {
    out = file{::open(name().c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
    auto line = "davit log journal 1 " + boot + '\n';
    if (!out || !write_all(out.fd, line.data(), line.size()) || ::fdatasync(out.fd) != 0 || ::fsync(directory.fd) != 0)
      return system_error(name(), "write");
    size = line.size();
    return {};
  }

  void retire() {
    if (retiring.joinable())
      retiring.join();
    idle = false;
    retiring = std::thread{[this] {
      if (::syncfs(directory.fd) == 0)
        ::unlink(old_name().c_str());
      idle = true;
    }};
  }

  /// Begins a new journal; where that does not work now, this one goes on growing.
  void rotate() {
    std::error_code ec;
    if (std::filesystem::exists(old_name(), ec)) { // it could not be synced: once more
      retire();
      return;
    }
    std::filesystem::rename(name(), old_name(), ec);
    if (ec)
      return;
    if (!begin())
      out = file{}; // begun with the next entry
    retire();
  }
};

log_journal::log_journal(std::unique_ptr<state> s) : state_(std::move(s)) {}

log_journal::~log_journal() = default;

std::string log_journal::this_boot() {
  std::string boot;
  std::ifstream{"/proc/sys/kernel/random/boot_id"} >> boot;
  return boot;
}

log_result<std::unique_ptr<log_journal>>
log_journal::open(const std::filesystem::path& folder, const std::string& boot) {
  auto s = std::make_unique<state>();
  s->folder = folder;
  s->boot = boot;
  make_private_folder(folder);
  s->directory = file{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!s->directory)
    return system_error(folder, "open");
  auto old = content_of(s->old_name()), content = content_of(s->name());
  auto of_this_boot = [&](const std::string& text) {
    return text.empty() || (!boot.empty() && text.starts_with("davit log journal 1 " + boot + '\n'));
  };
  if (!of_this_boot(old) || !of_this_boot(content)) {
    for (const auto* one : {&old, &content})
      if (auto good = replay(folder, *one); !good)
        return good.error();
    if (::syncfs(s->directory.fd) != 0)
      return system_error(folder, "sync");
    ::unlink(s->old_name().c_str());
    content.clear();
  } else if (!old.empty()) {
    s->retire();
  }
  if (content.empty()) {
    if (auto good = s->begin(); !good)
      return good.error();
  } else { // the process was killed: what it had written is in the kernel's hands
    std::string_view rest{content};
    rest.remove_prefix(content.find('\n') + 1);
    for (entry one; take_entry(rest, one);) {
    }
    s->size = content.size() - rest.size();
    s->out = file{::open(s->name().c_str(), O_RDWR | O_CLOEXEC)};
    if (!s->out || ::ftruncate(s->out.fd, static_cast<off_t>(s->size)) != 0 || ::lseek(s->out.fd, 0, SEEK_END) < 0)
      return system_error(s->name(), "open");
  }
  return std::unique_ptr<log_journal>{new log_journal{std::move(s)}};
}

void log_journal::add(const attempt_key& key, std::string_view bytes) {
  put_entry(state_->waiting, entry_kind::log, key, bytes);
}

void log_journal::remove(task_id task) {
  put_entry(state_->waiting, entry_kind::removed, {task, 0}, {});
}

log_result<void> log_journal::sync() {
  auto& s = *state_;
  if (s.waiting.empty())
    return {};
  if (!s.out)
    if (auto good = s.begin(); !good)
      return good;
  if (!write_all(s.out.fd, s.waiting.data(), s.waiting.size()) || ::fdatasync(s.out.fd) != 0) {
    auto e = system_error(s.name(), "write");
    // Nothing half-written may stand before what comes next.
    if (::ftruncate(s.out.fd, static_cast<off_t>(s.size)) == 0)
      ::lseek(s.out.fd, static_cast<off_t>(s.size), SEEK_SET);
    s.waiting.clear();
    return e;
  }
  s.size += s.waiting.size();
  s.waiting.clear();
  if (s.size > most_bytes && s.idle)
    s.rotate();
  return {};
}

} // namespace davit::store
