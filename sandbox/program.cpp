#include "sandbox/program.hpp"

#include <sys/utsname.h>

#include <cstdint>

// DAVIT_INIT_FILE is the file's path, in quotes.
asm(".section .rodata\n"
    ".balign 16\n"
    "davit_init_begin:\n"
    ".incbin " DAVIT_INIT_FILE "\n"
    "davit_init_end:\n"
    ".previous\n");

extern "C" {
extern const char davit_init_begin[] __attribute__((visibility("hidden")));
extern const char davit_init_end[] __attribute__((visibility("hidden")));
}

namespace davit::init {

std::string_view program_bytes() {
  return {davit_init_begin, static_cast<std::size_t>(davit_init_end - davit_init_begin)};
}

std::string_view architecture() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  static const auto name = [] {
    utsname system{};
    ::uname(&system);
    return std::string{system.machine};
  }();
  return name;
#endif
}

const std::string& volume_name() {
  // FNV-1a: not against an enemy (whoever can write to the engine's volumes has the engine), but so that versions live
  // side by side.
  static const auto name = [] {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (unsigned char byte : program_bytes())
      hash = (hash ^ byte) * 0x100000001b3;
    static constexpr char digits[] = "0123456789abcdef";
    std::string text = "davit-init-";
    for (int shift = 60; shift >= 0; shift -= 4)
      text += digits[hash >> shift & 15];
    return text;
  }();
  return name;
}

} // namespace davit::init
