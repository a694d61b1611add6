// Which owners may use which images of an engine without asking the registry.
#pragma once

#include "messages/engine.hpp"
#include "store/sql_session.hpp"

namespace davit::store {

/// An image that nothing is written down about is every owner's: it is the operator's, or davit pulled it for all. One
/// that came by a pull with a task's own credentials is for those owners for whom davit has pulled it too. Until such a
/// pull is known to have ended, what it may have brought is nobody's.
class sql_grants {
public:
  explicit sql_grants(sql_session& session) : session_(session) {}

  // Each is one transaction, or a part of the batch: see task_store.
  result<bool> may_use(const image_grant& wanted);
  result<void> pull(const image_grant& what, pull_stage stage);
  result<bool> any();

private:
  bool may_use_any(const image_grant& wanted);
  bool may_use_one(const image_grant& wanted);
  bool is_being_pulled(const image_grant& wanted);
  void write(const image_grant& what, const std::string& owner);

  sql_session& session_;
};

} // namespace davit::store
