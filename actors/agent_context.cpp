#include "actors/agent_context.hpp"

#include "messages/type_ids.hpp"

#include <caf/sec.hpp>

namespace davit {

std::string text_of(const caf::error& e) {
  if (!e)
    return {};
  const auto& context = e.context();
  if (context.match_elements<std::string>())
    return context.get_as<std::string>(0);
  return caf::to_string(e);
}

engine_errc engine_code(const caf::error& e) {
  if (!e)
    return engine_errc::none;
  if (e.category() == caf::type_id_v<engine_errc>)
    return static_cast<engine_errc>(e.code());
  return engine_errc::lost; // the actor went down with the request
}

} // namespace davit
