#include "store/dialect.hpp"
#include "store/schema.hpp"

#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

namespace davit::store {

namespace {

class sqlite final : public dialect {
public:
  explicit sqlite(std::string path) : path_(std::move(path)) {}

  std::string name() const override { return path_; }
  bool shared() const override { return false; }

  void open(soci::session& sql) override {
    // Each session is one thread's at a time, and nobody asks how much memory SQLite has: no locks for either.
    [[maybe_unused]] static const auto configured = sqlite_api::sqlite3_config(SQLITE_CONFIG_MULTITHREAD) == SQLITE_OK && sqlite_api::sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK;
    sql.open(soci::sqlite3, "dbname=" + path_ + " timeout=20");
    sql << "PRAGMA journal_mode = WAL";
    sql << "PRAGMA synchronous = FULL"; // NORMAL loses commits in a power cut
    sql << "PRAGMA wal_autocheckpoint = 4000"; // 16 MB
    migrate(sql);
  }

  std::string begin() const override { return "BEGIN IMMEDIATE"; }
  std::string claim_lock() const override { return ""; }
  void lock(soci::session&, const std::string&) override {} // one writer there is
  std::string clock() const override { return "(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000)"; }
  std::string larger(const std::string& one, const std::string& other) const override { return "MAX(" + one + ", " + other + ")"; }

  error describe(const std::exception& e) const override {
    std::string text = e.what();
    if (text.find("malformed") != std::string::npos || text.find("not a database") != std::string::npos)
      return {errc::unavailable, "the store " + path_ + " is damaged (" + text + "); stop the agent, keep a copy of the file, restore a backup or run: sqlite3 " + path_ + " .recover"};
    if (text.find("disk is full") != std::string::npos || text.find("disk I/O") != std::string::npos)
      return {errc::unavailable, "the store " + path_ + " can't be written: " + text};
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
    for (auto step = version; step < newest; ++step)
      for (auto statement : sqlite_schema()[static_cast<std::size_t>(step)])
        sql << std::string{statement};
    sql << "PRAGMA user_version = " + std::to_string(newest);
    sql << "COMMIT";
  }

  std::string path_;
};

} // namespace

std::unique_ptr<dialect> make_sqlite(std::string path) {
  return std::make_unique<sqlite>(std::move(path));
}

} // namespace davit::store
