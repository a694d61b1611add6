// The init as davit carries it within itself, to be put into volumes on engines.
#pragma once

#include <string>
#include <string_view>

namespace davit::init {

/// The statically linked executable.
std::string_view program_bytes();

/// The architecture that it runs on, as an engine's /info names it (`x86_64`, `aarch64`).
std::string_view architecture();

/// Names the volume that holds it, with the program's SHA-256: other bytes have another name.
const std::string& volume_name();

} // namespace davit::init
