// The metrics about owners, as Prometheus reads them.
#pragma once

#include "actors/owner_totals.hpp"

#include <string>
#include <vector>

namespace davit::api {

/// All that one owner may know: families of its own tasks, under the names that the agent's metrics have.
std::string metrics_of_owner(const task_counts& tasks, const owner_totals& totals);

/// The family `davit_owner_tasks`, for who may know of all owners.
std::string metrics_by_owner(const std::vector<owner_counts>& owners);

} // namespace davit::api
