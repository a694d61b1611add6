// Who calls, as the API's actor knows it.
#pragma once

#include "messages/access.hpp"
#include "policy/ceilings.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace davit::api {

using task_labels = std::map<std::string, std::string>;

struct caller {
  std::string owner; ///< Whose tasks its tasks are: a token's owner, `token NAME`, `uid 1000`, `loopback`.
  std::string name;  ///< `token NAME`, `uid 1000 (pid 77)`, `loopback`
  std::vector<api_scope> scopes;
  std::optional<policy_profile> profile;
  caller_limits limits;
  task_labels labels; ///< Only tasks with all of these labels exist for it, and its own tasks get them.
};

/// Whom a token stands for.
struct identity {
  caller who;
  std::string subject; ///< What its requests are counted under.
  std::optional<timestamp> expires_at;
};

/// Whom a token lets in; or why it lets nobody in, as an HTTP status and a sentence.
struct judgement {
  std::optional<identity> known;
  int status = 401;
  std::string why;
};

/// Whether a task has all the labels that a caller is bound to.
inline bool has_labels(const task_labels& task, const task_labels& bound) {
  return std::all_of(bound.begin(), bound.end(), [&](const auto& one) {
    auto found = task.find(one.first);
    return found != task.end() && found->second == one.second;
  });
}

} // namespace davit::api
