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

/// What is wrong with the store, in the agent's log; not once for each of many requests.
void log_store_trouble(const std::string& text) {
  using clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds pause{10};
  static std::atomic<clock::rep> told{std::numeric_limits<clock::rep>::min()};
  auto now = clock::now().time_since_epoch();
  auto last = told.load();
  if (last > (now - clock::duration{pause}).count() || !told.compare_exchange_strong(last, now.count()))
    return;
  spdlog::error("requests of the API fail: {}", text);
}

} // namespace

std::string text_for_client(const caf::error& e) {
  if (e != store_errc::unavailable)
    return text_of(e);
  log_store_trouble(text_of(e));
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

transport::server_response policy_problem(const std::vector<violation>& violations) {
  std::string detail;
  for (const auto& one : violations)
    detail += (detail.empty() ? "" : "; ") + one.field + ": " + one.message + " (rule " + one.rule + ")";
  return document(403, {{"detail", json::to_value(detail)}, {"violations", json::to_value(violations)}});
}

transport::server_response problem_of(const caf::error& e) {
  if (e == store_errc::not_found)
    return problem(404, text_of(e));
  if (e == store_errc::conflict)
    return problem(409, text_of(e));
  // The store is away, or an actor is being restarted: both pass.
  if (e.category() == caf::type_id_v<caf::sec>)
    return problem(503, "a part of the agent is being restarted (" + caf::to_string(e) + "); try again");
  return problem(503, text_for_client(e));
}

} // namespace davit
