#include "api/problem.hpp"

#include "actors/agent_context.hpp"
#include "json/write.hpp"
#include "messages/type_ids.hpp"

#include <boost/beast/http/status.hpp>

#include <caf/sec.hpp>

#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <limits>

namespace davit {

namespace {

transport::server_response document(int status, json::object body) {
  auto title = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  body["type"] = "about:blank";
  body["title"] = std::string{title};
  body["status"] = status;
  return {status, "application/problem+json", json::write(json::value(std::move(body))) + "\n", {}};
}

using steady_clock = std::chrono::steady_clock;

/// When something was told last; it is not told once for each of many requests.
class seldom {
public:
  explicit seldom(steady_clock::duration pause) : pause_(pause) {}

  void log(const std::string& text) {
    auto now = steady_clock::now().time_since_epoch();
    auto last = told_.load();
    if (last <= (now - pause_).count() && told_.compare_exchange_strong(last, now.count()))
      spdlog::error("requests of the API fail: {}", text);
  }

private:
  steady_clock::duration pause_;
  std::atomic<steady_clock::rep> told_{std::numeric_limits<steady_clock::rep>::min()};
};

bool is_of_caf(const caf::error& e) {
  return e.category() == caf::type_id_v<caf::sec>;
}

} // namespace

std::string text_for_client(const caf::error& e, const std::string& who) {
  static seldom trouble{std::chrono::seconds{10}}, silence{std::chrono::seconds{60}};
  if (e == caf::sec::request_timeout) {
    silence.log(who + " does not answer");
    return who + " does not answer";
  }
  if (is_of_caf(e))
    return "a part of the agent is being restarted";
  if (e != store_errc::unavailable)
    return text_of(e);
  trouble.log(text_of(e));
  return "the store does not work at the moment, and the agent's log says why; try again later";
}

transport::server_response problem(int status, std::string detail, const std::string& field) {
  json::object body{{"detail", json::to_value(detail)}};
  if (!field.empty())
    body["field"] = json::to_value(field);
  auto response = document(status, std::move(body));
  if (status == 429 || status == 503)
    response.headers.emplace_back("Retry-After", "1");
  return response;
}

transport::server_response
problem_with(int status, const std::string& detail, std::string_view name, json::value value) {
  json::object body{{"detail", json::to_value(detail)}};
  body[name] = std::move(value);
  return document(status, std::move(body));
}

transport::server_response policy_problem(const std::vector<violation>& violations) {
  std::string detail;
  for (const auto& one : violations)
    detail += (detail.empty() ? "" : "; ") + one.field + ": " + one.message + " (rule " + one.rule + ")";
  return document(403, {{"detail", json::to_value(detail)}, {"violations", json::to_value(violations)}});
}

transport::server_response problem_of(const caf::error& e, const std::string& who) {
  if (e == store_errc::not_found)
    return problem(404, text_of(e));
  if (e == store_errc::conflict)
    return problem(409, text_of(e));
  if (e == store_errc::no_tree)
    return problem(422, text_of(e), "inputs");
  // The store is away, or an actor is being restarted: both pass.
  auto text = text_for_client(e, who);
  return problem(503, is_of_caf(e) ? text + "; try again later" : text);
}

transport::server_response problem_of_accept(const caf::error& e) {
  if (!is_of_caf(e))
    return problem_of(e);
  return problem(503, text_for_client(e)
                        + ", and it is not known whether the task was accepted: send it again with the same "
                          "Idempotency-Key, or, if it had none, look for it before you send it again");
}

} // namespace davit
