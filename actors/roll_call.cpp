#include "actors/roll_call.hpp"

#include <algorithm>
#include <mutex>

namespace davit {

namespace {

struct roll {
  std::mutex mutex;
  std::vector<std::string> names;
};

roll& the_roll() {
  static auto* one = new roll; // never ends: actors may end later than whatever is static
  return *one;
}

} // namespace

void enrol(const caf::actor& one, const std::string& name) {
  {
    std::lock_guard lock{the_roll().mutex};
    the_roll().names.push_back(name);
  }
  one->attach_functor([name](const caf::error&) {
    std::lock_guard lock{the_roll().mutex};
    auto& names = the_roll().names;
    if (auto found = std::find(names.begin(), names.end(), name); found != names.end())
      names.erase(found);
  });
}

std::vector<std::string> present() {
  std::lock_guard lock{the_roll().mutex};
  return the_roll().names;
}

} // namespace davit
