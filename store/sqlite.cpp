#include "messages/units.hpp"
#include "store/dialect.hpp"
#include "store/file.hpp"
#include "store/private_files.hpp"
#include "store/schema.hpp"

#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fcntl.h>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

namespace davit::store {

namespace {

/// How long another process' transaction is waited for.
constexpr int busy_seconds = 20;

class sqlite final : public dialect {
public:
  sqlite(std::string path, sqlite_limits limits) : path_(std::move(path)), limits_(limits) {}

  std::string name() const override { return path_; }
  bool shared() const override { return false; }

  void open(soci::session& sql) override {
    // Each session is one thread's at a time, and nobody asks how much memory SQLite has: no locks for either.
    [[maybe_unused]] static const auto configured = sqlite_api::sqlite3_config(SQLITE_CONFIG_MULTITHREAD) == SQLITE_OK
                                                 && sqlite_api::sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK;
    make_private_file(path_); // its -wal and -shm get the mode of the file itself
    sql.open(soci::sqlite3, "dbname=" + path_ + " timeout=" + std::to_string(busy_seconds));
    try {
      sql << "PRAGMA journal_mode = WAL";
    } catch (const soci::soci_error& e) {
      if (std::string_view{e.what()}.find("disk") == std::string_view::npos)
        throw;
      // There is no room for the file of the memory that SQLite's processes share (-shm): it is done without, and
      // alone.
      sql.close();
      sql.open(soci::sqlite3, "dbname=" + path_ + " timeout=" + std::to_string(busy_seconds));
      sql << "PRAGMA locking_mode = EXCLUSIVE";
      sql << "PRAGMA journal_mode = WAL";
    }
    sql << "PRAGMA synchronous = FULL";                                       // NORMAL loses commits in a power cut
    sql << "PRAGMA wal_autocheckpoint = 4000";                                // 16 MB
    sql << "PRAGMA journal_size_limit = " + std::to_string(limits_.warn_wal); // however large a reader has made it
    check(sql);
    migrate(sql);
    compare(sql);
  }

  /// Not synced: after a power cut it may be behind the database, which is no harm. It is never ahead of what is
  /// durable.
  void reached(std::int64_t sequence) override {
    char text[24];
    auto size = std::snprintf(text, sizeof text, "%020lld\n", static_cast<long long>(sequence));
    if (!mark_)
      mark_ = file{::open(mark_name().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, private_file_mode)};
    if (mark_) [[maybe_unused]]
      auto written = ::pwrite(mark_.fd, text, static_cast<std::size_t>(size), 0);
  }

  upkeep look_after(soci::session& sql) override {
    auto now = std::chrono::steady_clock::now();
    if (now - looked_at_ < std::chrono::seconds{1} && !now_.full)
      return now_;
    looked_at_ = now;
    std::error_code ec;
    auto size = std::filesystem::file_size(path_ + "-wal", ec);
    if (ec || size < limits_.warn_wal)
      return well();
    int busy = 0, frames = 0, written_back = 0;
    try {
      sql << "PRAGMA wal_checkpoint(PASSIVE)", soci::into(busy), soci::into(frames), soci::into(written_back);
    } catch (const soci::soci_error&) {
      return now_; // within a transaction: the next commit looks again. What was committed is, whatever becomes of this
    }
    if (written_back >= frames) // the next write begins it anew
      return well();
    if (!held_since_)
      held_since_ = now;
    now_.full = size >= limits_.most_wal;
    now_.warning = "the store's write-ahead log " + path_ + "-wal has grown to " + std::to_string(size >> 20)
                 + " MiB: a reader" + reader() + " has kept it from being written back for "
                 + format_duration(std::chrono::duration_cast<std::chrono::seconds>(now - *held_since_))
                 + "; end that reader";
    return now_;
  }

  std::string begin() const override { return "BEGIN IMMEDIATE"; }
  std::string claim_lock() const override { return ""; }
  std::string of_each_owner(const std::string& inner) const override {
    return " FROM o JOIN task t ON t.id IN (" + inner + ")";
  }
  void lock(soci::session&, const std::string&) override {} // one writer there is
  std::string clock() const override {
    return "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000)";
  }
  std::string larger(const std::string& one, const std::string& other) const override {
    return "MAX(" + one + ", " + other + ")";
  }

  std::string spec_bytes() const override { return "spec_bytes"; }

  std::string new_row(const std::string&, const std::string& values) const override {
    return " VALUES (" + values + ", :id) ON CONFLICT (id) DO NOTHING";
  }

  error describe(const std::exception& e) const override {
    std::string text = e.what();
    if (text.find("malformed") != std::string::npos || text.find("not a database") != std::string::npos)
      return {errc::unavailable, "the store " + path_ + " is damaged (" + text
                                   + "); stop the agent, keep a copy of the file, restore a backup or run: sqlite3 "
                                   + path_ + " .recover"};
    if (text.find("disk is full") != std::string::npos || text.find("disk I/O") != std::string::npos)
      return {errc::unavailable, "the store " + path_ + " can't be written: " + text};
    if (text.find("database is locked") != std::string::npos)
      return {errc::unavailable, "the store " + path_ + " is locked by another process, and has been for longer than "
                                   + std::to_string(busy_seconds)
                                   + " s; end what uses it, such as a sqlite3 with an open transaction, or a backup"};
    if (text.find("readonly") != std::string::npos)
      return {errc::unavailable, "the store " + path_ + " can't be written: it, or its folder, is read-only"};
    return {errc::unavailable, "the store " + path_ + ": " + text};
  }

  bool crossed(const std::exception&) const override { return false; } // one writer there is
  bool lost(const std::exception&) const override { return false; }

private:
  void migrate(soci::session& sql) {
    long long version = 0;
    sql << "BEGIN IMMEDIATE"; // two that start together: the second finds the work done
    sql << "PRAGMA user_version", soci::into(version);
    auto newest = static_cast<long long>(sqlite_schema().size());
    if (version > newest) {
      sql << "ROLLBACK";
      throw std::runtime_error(newer_schema(version, newest));
    }
    if (version == newest) { // nothing is written: there may be no room
      sql << "ROLLBACK";
      return;
    }
    for (auto step = version; step < newest; ++step)
      for (auto statement : sqlite_schema()[static_cast<std::size_t>(step)])
        sql << std::string{statement};
    sql << "PRAGMA user_version = " + std::to_string(newest);
    sql << "COMMIT";
  }

  upkeep well() {
    held_since_.reset();
    return now_ = {};
  }

  /// The process that holds a read lock on the WAL's index, as the kernel tells (WAL_READ_LOCK in SQLite's wal.c);
  /// empty: not known.
  std::string reader() const {
    struct stat index {};
    if (::stat((path_ + "-shm").c_str(), &index) != 0)
      return {};
    std::ifstream locks{"/proc/locks"};
    std::string line;
    while (std::getline(locks, line)) {
      std::istringstream words{line};
      std::string number, kind, advisory, mode, where, begin, end;
      long pid = 0;
      words >> number >> kind >> advisory >> mode >> pid >> where >> begin >> end;
      auto inode = where.substr(where.rfind(':') + 1);
      if (inode != std::to_string(index.st_ino) || mode != "READ" || pid == ::getpid() || pid <= 0
          || std::atol(begin.c_str()) > 127 || std::atol(end.c_str()) < 123)
        continue;
      std::string name;
      std::ifstream{"/proc/" + std::to_string(pid) + "/comm"} >> name;
      return " (process " + std::to_string(pid) + (name.empty() ? "" : ", " + name) + ")";
    }
    return {};
  }

  std::string mark_name() const { return path_ + "-mark"; }

  /// What is damaged is found now, and not by whoever comes to the page. Once in a process: an actor that starts again
  /// has not damaged it.
  void check(soci::session& sql) {
    static std::mutex mutex;
    static std::set<std::string> checked;
    std::lock_guard lock{mutex};
    if (checked.contains(path_))
      return;
    std::string verdict;
    sql << "PRAGMA quick_check(1)", soci::into(verdict);
    if (verdict != "ok")
      throw std::runtime_error("malformed: " + verdict);
    checked.insert(path_);
  }

  /// The last commit that this file was known to hold must be there. SQLite itself takes a WAL that was cut off for one
  /// that ends there.
  void compare(soci::session& sql) {
    long long marked = 0, there = 0;
    if (!(std::ifstream{mark_name()} >> marked)) // first the mark: another process may be writing
      return;
    soci::indicator found = soci::i_null;
    sql << "SELECT MAX(seq) FROM sqlite_sequence WHERE name = 'event'", soci::into(there, found);
    if (found == soci::i_null)
      there = 0;
    if (there < marked)
      throw std::runtime_error("its last commits are lost: it ends with event " + std::to_string(there) + ", and event "
                               + std::to_string(marked) + " was committed (" + mark_name()
                               + "). The file, or the -wal that belongs to it, was cut off, removed or replaced by an "
                                 "older one. Keep a copy of both; restore the right ones, or remove "
                               + mark_name() + " to continue without the missing commits");
  }

  std::string path_;
  sqlite_limits limits_;
  file mark_;
  std::chrono::steady_clock::time_point looked_at_{};
  /// Since when the WAL is known not to be written back.
  std::optional<std::chrono::steady_clock::time_point> held_since_;
  upkeep now_;
};

} // namespace

std::unique_ptr<dialect> make_sqlite(std::string path, sqlite_limits limits) {
  return std::make_unique<sqlite>(std::move(path), limits);
}

} // namespace davit::store
