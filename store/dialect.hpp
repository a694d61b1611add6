// What SQLite and PostgreSQL do differently. Everything else of the store is the same SQL.
#pragma once

#include "store/task_store.hpp"

#include <exception>
#include <memory>
#include <string>

namespace soci {
class session;
}

namespace davit::store {

/// What keeps the database from being well, though it works.
struct upkeep {
  std::string warning; ///< Empty: all is well.
  bool full = false;   ///< Nothing more is to be accepted.
};

class dialect {
public:
  virtual ~dialect() = default;

  /// For messages: which database. No password.
  virtual std::string name() const = 0;

  /// Several agents may work with it at once, and reach it over a network.
  virtual bool shared() const = 0;

  /// Connects, and brings the schema up to date; once, if many start together. Throws.
  virtual void open(soci::session& session) = 0;

  /// A commit is durable that has written the event of this number, the highest by now.
  virtual void reached(std::int64_t) {}

  /// After a commit: sees to what the database does not see to by itself.
  virtual upkeep look_after(soci::session&) { return {}; }

  virtual std::string begin() const = 0;

  /// Goes behind the SELECT of what is to be claimed: rows that another claims just now are passed over.
  virtual std::string claim_lock() const = 0;

  /// A FROM clause: beside each row of `o`, what `inner`, which may name its columns, finds in the tasks, as `t`.
  virtual std::string of_each_owner(const std::string& inner) const = 0;

  /// Until the transaction's end nobody else gets past the same lock.
  virtual void lock(soci::session& session, const std::string& what) = 0;

  /// SQL for the database's own time, nanoseconds since 1970.
  virtual std::string clock() const = 0;

  /// SQL for the larger of two numbers.
  virtual std::string larger(const std::string& one, const std::string& other) const = 0;

  /// SQL for what stands behind the columns of an INSERT into `table`: a row of these values and, as the last, of an id
  /// (`:id`); no row if one of that id is there.
  virtual std::string new_row(const std::string& table, const std::string& values) const = 0;

  /// SQL for how many bytes a task's spec and secrets have, which doesn't read them.
  virtual std::string spec_bytes() const = 0;

  /// Turns what the database threw into words.
  virtual error describe(const std::exception& e) const = 0;

  /// The transaction met another that changed the same rows: it is worth being done once more.
  virtual bool crossed(const std::exception& e) const = 0;

  /// The session is of no use any more: it must be opened anew.
  virtual bool lost(const std::exception& e) const = 0;
};

std::unique_ptr<dialect> make_sqlite(std::string path, sqlite_limits limits = {});
std::unique_ptr<dialect> make_postgresql(std::string url);

} // namespace davit::store
