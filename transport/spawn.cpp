#include "transport/spawn.hpp"

#include <spdlog/spdlog.h>

namespace davit::transport {

void log_escaped(const char* who, const std::exception_ptr& escaped) noexcept {
  if (!escaped)
    return;
  try {
    std::rethrow_exception(escaped);
  } catch (const std::exception& e) {
    spdlog::error("{} ended with an error that nothing handled: {}. This is a bug in davit; please report it.", who,
                  e.what());
  } catch (...) {
    spdlog::error("{} ended with an unknown error that nothing handled. This is a bug in davit; please report it.",
                  who);
  }
}

} // namespace davit::transport
