#include "sandbox/program.hpp"

#include "sandbox/sha256.hpp"

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
  static const auto name = [] {
    sha256 hash;
    hash.add(program_bytes().data(), program_bytes().size());
    std::uint8_t digest[digest_bytes];
    hash.finish(digest);
    char text[2 * digest_bytes + 1];
    write_hexadecimal(digest, digest_bytes, text);
    return std::string{"davit-init-"} + text;
  }();
  return name;
}

} // namespace davit::init
