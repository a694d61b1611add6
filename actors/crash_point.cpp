#include "actors/crash_point.hpp"

namespace davit {

// Alone in its file, so that a test's own definition takes its place when the library is linked.
void crash_point(std::string_view) noexcept {}

} // namespace davit
