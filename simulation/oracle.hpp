// What must hold when a schedule is over.
#pragma once

#include "simulation/world.hpp"

namespace davit::simulation {

/// The promises that the schedule has broken, in words; none: all is well.
std::vector<std::string> judge(world& all, bool settled);

} // namespace davit::simulation
