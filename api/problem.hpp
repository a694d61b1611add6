// Answers that tell of a mistake: RFC 9457 problem documents.
#pragma once

#include "json/write.hpp"
#include "messages/engine.hpp"
#include "policy/policy.hpp"
#include "transport/exchange.hpp"

#include <caf/error.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace davit {

/// `detail` says what is wrong and what to do; `field`, if it is not empty, where in the request.
transport::server_response problem(int status, std::string detail, const std::string& field = {});

/// With one more member of the document.
transport::server_response
problem_with(int status, const std::string& detail, std::string_view name, json::value value);

/// 403: the policy does not allow the task.
transport::server_response policy_problem(const std::vector<violation>& violations);

/// An error's sentence as a client may read it. What the store says names its address: that goes to the agent's log;
/// so does, once a minute, that `who` was asked and does not answer.
std::string text_for_client(const caf::error& e, const std::string& who = "the store");

/// What the error of `who` means to an HTTP client.
transport::server_response problem_of(const caf::error& e, const std::string& who = "the store");

/// The same of a task that was to be accepted: it may have been where nobody answers.
transport::server_response problem_of_accept(const caf::error& e);

} // namespace davit
