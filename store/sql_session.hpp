// A session with the database: transactions, what is done when one fails, and what is written at its end.
#pragma once

#include "store/dialect.hpp"
#include "store/statements.hpp"

#include <soci/soci.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace davit::store {

/// Gathers during a transaction what every agent writes to, and writes it at the transaction's end, in one order for
/// all: so none waits long for another, and no two for each other.
class last_write {
public:
  virtual ~last_write() = default;

  /// Right before the COMMIT.
  virtual void write_last() = 0;

  /// Nothing of this transaction has happened; or, where the COMMIT's answer was lost, nobody knows.
  virtual void forget() = 0;

  /// The transaction is durable.
  virtual void committed() {}
};

class sql_session {
public:
  /// `last` is asked in this order. The session opens the database when it is used first, and anew when it was lost.
  sql_session(std::unique_ptr<dialect> how, std::vector<last_write*> last)
    : how_(std::move(how)), last_(std::move(last)) {}

  soci::session& sql() { return sql_; }
  statements& kept() { return kept_; }
  dialect& how() { return *how_; }
  const dialect& how() const { return *how_; }

  const davit::store::upkeep& upkeep() const { return upkeep_; }
  void look_after() { upkeep_ = how_->look_after(sql_); }

  /// Runs `work`; what the database throws becomes an error here, at the folder's edge.
  template <class T, class Work>
  result<T> guarded(Work work) {
    if (auto away = open_if_lost())
      return *away;
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
        work();
        return {};
      } else {
        return work();
      }
    } catch (const std::exception& e) {
      return failed(e);
    }
  }

  /// As guarded, in a transaction of its own unless a batch is open. A refusal writes nothing.
  template <class T, class Work>
  result<T> transaction(Work work) {
    if (batching_)
      return guarded<T>(work);
    return until_alone<T>([&] {
      auto outcome = guarded<T>([&]() -> result<T> {
        sql_ << how_->begin();
        result<T> inner = work();
        if (inner)
          commit();
        else
          sql_ << "ROLLBACK";
        return inner;
      });
      if (!outcome)
        undo();
      return outcome;
    });
  }

  /// See task_store::batch.
  result<void> batch(const std::function<void()>& work);

private:
  /// Does a whole transaction; again if another agent's came between.
  template <class T, class Work>
  result<T> until_alone(Work work) {
    constexpr int most_turns = 5;
    for (int turn = 1;; ++turn) {
      crossed_ = false;
      result<T> outcome = work();
      if (outcome || !crossed_ || turn == most_turns)
        return outcome;
    }
  }

  std::optional<error> open_if_lost();
  error failed(const std::exception& e);
  void commit();
  void undo();

  std::unique_ptr<dialect> how_;
  soci::session sql_;
  statements kept_{sql_};
  std::vector<last_write*> last_;
  bool lost_ = true;        ///< The session is to be opened before it is used.
  bool crossed_ = false;    ///< Another session's transaction came between: the same may work at once.
  bool committing_ = false; ///< COMMIT was sent, and is not answered.
  bool batching_ = false;
  std::optional<std::string> broken_; ///< What went wrong within a batch: all of it is undone.
  davit::store::upkeep upkeep_;
};

} // namespace davit::store
