#include "store/sql_session.hpp"

#include <utility>

namespace davit::store {

result<void> sql_session::batch(const std::function<void()>& work) {
  return until_alone<void>([&] {
    auto outcome = guarded<void>([&] {
      sql_ << how_->begin();
      batching_ = true;
      work();
      batching_ = false;
      if (broken_)
        throw std::runtime_error(*std::exchange(broken_, std::nullopt));
      commit();
    });
    if (!outcome) {
      batching_ = false;
      broken_.reset();
      undo();
    }
    return outcome;
  });
}

std::optional<error> sql_session::open_if_lost() {
  if (!lost_ || batching_)
    return std::nullopt;
  try {
    kept_.clear();
    sql_.close();
    how_->open(sql_);
    lost_ = false;
    return std::nullopt;
  } catch (const std::exception& e) {
    auto away = failed(e);
    away.away = true;
    return away;
  }
}

error sql_session::failed(const std::exception& e) {
  auto described = how_->describe(e);
  auto gone = how_->lost(e);
  lost_ |= gone;
  described.in_doubt = std::exchange(committing_, false) && gone;
  crossed_ |= how_->crossed(e);
  if (batching_ && !broken_)
    broken_ = e.what();
  return described;
}

void sql_session::commit() {
  for (auto* one : last_)
    one->write_last();
  committing_ = true;
  sql_ << "COMMIT";
  committing_ = false;
  for (auto* one : last_)
    one->committed();
  look_after();
}

void sql_session::undo() {
  for (auto* one : last_)
    one->forget();
  if (lost_)
    return;
  try {
    sql_ << "ROLLBACK";
  } catch (const soci::soci_error&) {
    // There is none open: the failure came before BEGIN, or the database has rolled back by itself.
  }
}

} // namespace davit::store
