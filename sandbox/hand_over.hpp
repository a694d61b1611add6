// What davit and its init, the first process of a container, say to each other. In a sandbox the init waits for one
// message on its standard input; a task's own input may follow it. In a container that was made for its task it has the
// command as its arguments. Little-endian, as every processor that Docker runs on.
//
// No dependencies but integer types: sandbox/init.cpp has no C++ library.
#pragma once

#include <stdint.h>

namespace davit::init {

/// The message's header. The strings follow it, each with its NUL: the arguments, then the variables (`NAME=value`).
struct hand_over {
  char magic[8];      ///< `davit 1\n`
  uint32_t arguments; ///< At least one: the program, by path or by name.
  uint32_t variables; ///< To be set beside what the container has already.
  uint32_t bytes;     ///< Of all strings.
  uint32_t input;     ///< 1: what follows is the task's standard input; 0: it has none (/dev/null).
};

static_assert(sizeof(hand_over) == 24);

inline constexpr char magic[8] = {'d', 'a', 'v', 'i', 't', ' ', '1', '\n'};

/// No more than the kernel would take for one exec: a quarter of the stack's usual limit of 8 MiB.
inline constexpr uint32_t most_bytes = 2 * 1024 * 1024;

/// How the init ends if no task came, or it can't be executed (as shells have it); otherwise as the task does.
inline constexpr int unused_code = 119, not_found_code = 127, not_executable_code = 126;

/// The nonce: 64 hexadecimal digits, that the init finds in this variable of its container, and takes out of it before
/// anything else. No task sees it there. The first half, the mark, stands in all that the init says. The second half is
/// the key that it seals its last words with: it never leaves the init.
inline constexpr char nonce_variable[] = ".davit";
inline constexpr unsigned mark_digits = 32, key_digits = 32, nonce_digits = mark_digits + key_digits;

/// What it says: `davit-init MARK WORD NUMBER KILLS SEAL;` and a newline. Before anything of a task runs, `begun 0 0`
/// (without a seal) on standard output, and nothing of the task runs before that was read: where it does not stand,
/// nothing of the task ever ran. When nothing else lives in the container any more, how the task ended, on standard
/// output and on standard error, as the last thing there: behind it nothing comes in that stream. Where something does
/// live, it says nothing, and ends. The words then: unused, exec (an errno), exited (a code), signaled (a signal).
/// KILLS: how many processes the kernel has killed for the container's memory limit; -1: it can't be told. SEAL: the
/// first 32 hexadecimal digits of the HMAC-SHA-256 of `WORD NUMBER KILLS` with the key. Whoever reads such a line can
/// say it once more, but no other one.
inline constexpr char report_prefix[] = "davit-init ";
inline constexpr char report_end = ';';
inline constexpr unsigned seal_digits = 32;

/// What the engine mounts as /etc/hosts where it makes the network itself, for a container without an address.
inline constexpr char hosts[]
  = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Where the init's volume is mounted: a folder of `/` that begins so. The rest is each container's own (folder_of).
inline constexpr char folder_beginning[] = "/.davit";

/// On a container with an init: which words that has, and where it is. Before 4 it was in /.davit, which an image could
/// hold a link to, and a container that was made for its task had no such label. A sandbox without it does not say
/// `begun`. Before 3 there was no seal, and a nonce of another form (a UUID) stood where the mark does.
inline constexpr char words_label[] = "davit.sandbox.words", words_version[] = "4";

/// On a container that was made for its task: the nonce of its init. Without it the command is its first process.
inline constexpr char nonce_label[] = "davit.init";

/// As the first argument, before a way and the command: it runs that at once. The ways: with a terminal (then it says
/// nothing but `exec`), with /etc/hosts to be written first, or neither.
inline constexpr char run[] = "run", with_terminal[] = "terminal", with_hosts[] = "hosts", plainly[] = "plain";

/// As the first argument, before how many seconds it waits for a task, and `hosts`, if /etc/hosts is to be written.
inline constexpr char await_task[] = "wait";

/// As the only argument: it does nothing until it is ended. A container whose network another one has joined runs this
/// as its task.
inline constexpr char hold[] = "hold";

} // namespace davit::init
