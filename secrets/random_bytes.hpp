// Random numbers that nobody can guess.
#pragma once

#include <cstddef>
#include <string>

namespace davit::secrets {

/// Throws std::runtime_error if the system has no random numbers to give.
std::string random_bytes(std::size_t count);

} // namespace davit::secrets
