#include "store/dialect.hpp"
#include "store/schema.hpp"

#include <soci/postgresql/soci-postgresql.h>
#include <soci/soci.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <libpq-fe.h>
#include <string_view>

namespace davit::store {

namespace {

/// What the advisory locks of davit are told apart by from those of others in the same database.
constexpr int lock_space = 0x64617674; // "davt"

/// Lines as one, without the blanks at their ends.
std::string one_line(std::string_view text) {
  std::string all;
  for (std::size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    auto begin = std::min(text.find_first_not_of(" \t", at), end);
    if (begin < end)
      all += (all.empty() ? "" : " ") + std::string{text.substr(begin, end - begin)};
    at = end + 1;
  }
  return all;
}

void log_notice(void*, const char* words) {
  spdlog::warn("the database says: {}", one_line(words));
}

class postgresql final : public dialect {
public:
  explicit postgresql(std::string url) : url_(std::move(url)) {
    // user:password@ is nobody's business
    name_ = url_.substr(0, url_.find('?'));
    auto at = name_.rfind('@'), begin = name_.find("://") + 3;
    if (at != std::string::npos)
      if (auto colon = name_.find(':', begin); colon < at)
        name_.erase(colon, at - colon);
  }

  std::string name() const override { return name_; }
  bool shared() const override { return true; }

  void open(soci::session& sql) override {
    auto given = url_;
    auto add = [&](const std::string& option, const std::string& value) {
      if (given.find(option + "=") == std::string::npos)
        given += (given.find('?') == std::string::npos ? "?" : "&") + option + "=" + value;
    };
    add("connect_timeout", "5");
    add("application_name", "davit");
    // A peer that vanished without a word is noticed, also in the middle of a statement.
    add("keepalives_idle", "5");
    add("keepalives_interval", "2");
    add("keepalives_count", "3");
    add("tcp_user_timeout", "10000");
    sql.open(soci::postgresql, given);
    // libpq would print them to stderr, without time and level.
    PQsetNoticeProcessor(static_cast<soci::postgresql_session_backend*>(sql.get_backend())->conn_, log_notice, nullptr);
    // A transaction that nobody goes on with would keep dead rows from being vacuumed, and the queue from being quick.
    sql << "SET idle_in_transaction_session_timeout = '30s'";
    sql << "SET statement_timeout = '30s'";
    sql << "SET lock_timeout = '10s'";
    sql << "SET client_min_messages = error";
    migrate(sql);
    opened_ = true;
  }

  std::string begin() const override { return "BEGIN"; }
  std::string claim_lock() const override { return " FOR UPDATE SKIP LOCKED"; }
  std::string of_each_owner(const std::string& inner) const override {
    return " FROM o CROSS JOIN LATERAL (" + inner + ") t";
  }

  void lock(soci::session& sql, const std::string& what) override {
    int space = lock_space;
    std::string got;
    sql << "SELECT CAST(pg_advisory_xact_lock(:space, hashtext(:what)) AS TEXT)", soci::use(space), soci::use(what),
      soci::into(got);
  }

  std::string clock() const override {
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) * 1000";
  }
  std::string larger(const std::string& one, const std::string& other) const override {
    return "GREATEST(" + one + ", " + other + ")";
  }

  std::string spec_bytes() const override { return "CAST(OCTET_LENGTH(spec) + OCTET_LENGTH(secrets) AS BIGINT)"; }

  /// A partitioned table has no unique ids but within each partition.
  std::string new_row(const std::string& table, const std::string& values) const override {
    return " SELECT " + values + ", made.id FROM (SELECT CAST(:id AS TEXT) AS id) made WHERE NOT EXISTS (SELECT 1 FROM "
         + table + " WHERE " + table + ".id = made.id)";
  }

  error describe(const std::exception& e) const override {
    std::string text = e.what(), begin = ": ";
    constexpr std::string_view soci_words = "Cannot establish connection to the database.\n";
    if (text.starts_with(soci_words)) { // libpq's own words stand below
      text = one_line(text.substr(soci_words.size()));
      begin = " can't be reached: ";
    }
    text.erase(std::find(text.begin(), text.end(), '\n'), text.end());
    // Whoever has never come to it may have its address wrong, and ends.
    auto advice = !lost(e) ? "" : opened_ ? " (it is asked again)" : "; see davit.store.url";
    return {errc::unavailable, "the store " + name_ + begin + text + advice};
  }

  bool crossed(const std::exception& e) const override {
    std::string text = e.what();
    // A claim that read a task before another agent's finish moved it to the partition of the finished ones; or two
    // that wait for each other.
    constexpr std::array signs{"concurrent update", "deadlock detected", "could not serialize"};
    return std::any_of(signs.begin(), signs.end(),
                       [&](const char* sign) { return text.find(sign) != std::string::npos; });
  }

  bool lost(const std::exception& e) const override {
    std::string text = e.what();
    constexpr std::array signs{"onnection", "terminating",   "server closed", "no connection",       "timeout expired",
                               "SSL",       "shutting down", "starting up",   "could not translate", "recovery mode"};
    return std::any_of(signs.begin(), signs.end(),
                       [&](const char* sign) { return text.find(sign) != std::string::npos; });
  }

private:
  void migrate(soci::session& sql) {
    sql << "BEGIN";
    lock(sql, "schema"); // ten that start together: nine find the work done
    sql << "CREATE TABLE IF NOT EXISTS davit_schema (version BIGINT NOT NULL)";
    long long version = 0;
    sql << "SELECT COALESCE(MAX(version), 0) FROM davit_schema", soci::into(version);
    auto newest = static_cast<long long>(postgresql_schema().size());
    if (version > newest) {
      sql << "ROLLBACK";
      throw std::runtime_error(newer_schema(version, newest));
    }
    for (auto step = version; step < newest; ++step)
      for (auto statement : postgresql_schema()[static_cast<std::size_t>(step)])
        sql << std::string{statement};
    if (version < newest) {
      sql << "DELETE FROM davit_schema";
      sql << "INSERT INTO davit_schema VALUES (" + std::to_string(newest) + ")";
    }
    sql << "COMMIT";
  }

  std::string url_, name_;
  bool opened_ = false; ///< The database was reached at least once.
};

} // namespace

std::unique_ptr<dialect> make_postgresql(std::string url) {
  return std::make_unique<postgresql>(std::move(url));
}

} // namespace davit::store
