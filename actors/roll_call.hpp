// Who is there: what is said of a process that should have ended, and has not.
#pragma once

#include <caf/actor.hpp>

#include <string>
#include <vector>

namespace davit {

/// Counts the actor in, by its name, until it has ended.
void enrol(const caf::actor& one, const std::string& name);

/// The names of those that have not ended, in the order in which they began. From any thread.
std::vector<std::string> present();

} // namespace davit
