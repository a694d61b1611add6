// The first process of a container: of a sandbox, `init wait SECONDS [hosts]`; of one that was made for its task,
// `init run WAY COMMAND...`; or what keeps one up for its network alone, `init hold`. Runs a task as its only child,
// passes signals on to it, reaps what it leaves, and ends as it ends. In a sandbox it waits for the task on standard
// input: one that nothing comes to within so many seconds, or whose agent goes, ends by itself.
//
// What it says at the end decides how the task ended, and a task is no friend of it: see docs/decisions/0012.
//
// Linked statically, so that it runs in an image without a shell or a C library; with musl, which has no C++ headers:
// hence the C ones.
#include "sandbox/hand_over.hpp"
#include "sandbox/sha256.hpp"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace {

using namespace davit::init;

char mark[mark_digits + 1], key[key_digits + 1];
char** own_arguments;
bool terminal = false;

// -- what it says
// ------------------------------------------------------------------------------------------------------

struct line {
  char text[256];
  size_t size = 0;

  void add(const char* more) {
    while (*more && size < sizeof text)
      text[size++] = *more++;
  }

  void add(int number) {
    char digits[12];
    auto at = sizeof digits - 1;
    digits[at] = 0;
    auto rest = number < 0 ? -number : number;
    do
      digits[--at] = static_cast<char>('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
      digits[--at] = '-';
    add(digits + at);
  }
};

/// The task may have made the pipe non-blocking, and left it full.
void write_all(int to, const line& what) {
  for (size_t at = 0; at < what.size;) {
    auto count = ::write(to, what.text + at, what.size - at);
    if (count > 0) {
      at += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      pollfd output{to, POLLOUT, 0};
      ::poll(&output, 1, -1);
    } else if (errno != EINTR) {
      return; // nobody reads
    }
  }
}

/// The kernel's count of kills in this container's memory control group, version 1 or 2.
int oom_kills() {
  constexpr const char* files[] = {"/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"};
  for (auto path : files) {
    auto file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
      continue;
    char text[512];
    auto size = ::read(file, text, sizeof text - 1);
    ::close(file);
    if (size <= 0)
      continue;
    text[size] = 0;
    if (auto found = strstr(text, "oom_kill "))
      return atoi(found + strlen("oom_kill "));
  }
  return -1;
}

enum class sealed : bool { no, yes };

line words(const char* word, int number, int kills, sealed how) {
  line said;
  said.add(word);
  said.add(" ");
  said.add(number);
  said.add(" ");
  said.add(kills);
  line all;
  all.add(report_prefix);
  all.add(mark);
  all.add(" ");
  said.text[said.size] = 0;
  all.add(said.text);
  if (how == sealed::yes) {
    uint8_t digest[digest_bytes];
    hmac_sha256(key, key_digits, said.text, said.size, digest);
    char seal[seal_digits + 1];
    write_hexadecimal(digest, seal_digits / 2, seal);
    all.add(" ");
    all.add(seal);
  }
  const char rest[] = {report_end, '\n', 0};
  all.add(rest);
  return all;
}

[[noreturn]] void end(const char* word, int number, int code) {
  if (*key) {
    auto last = words(word, number, oom_kills(), sealed::yes);
    write_all(1, last);
    if (!terminal) // where both are the same
      write_all(2, last);
  }
  ::_exit(code);
}

[[noreturn]] void unused() {
  end("unused", 0, unused_code);
}

[[noreturn]] void can_not_execute(int error) {
  end("exec", error, error == ENOENT || error == ENOTDIR ? not_found_code : not_executable_code);
}

// -- what it gets
// ------------------------------------------------------------------------------------------------------

/// Exactly so many bytes of standard input, or the end of the sandbox.
void read_all(char* to, size_t size, int seconds) {
  while (size > 0) {
    pollfd input{0, POLLIN, 0};
    auto ready = ::poll(&input, 1, seconds * 1000);
    if (ready == 0)
      unused();
    if (ready < 0)
      continue;
    auto count = ::read(0, to, size);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (count <= 0)
      unused();
    to += count;
    size -= static_cast<size_t>(count);
  }
}

/// Whether a variable hides one of the container's of the same beginning. An empty HOME does not: the runtime takes it
/// for none.
bool hides(const char* own, const char* theirs, size_t length) {
  return strncmp(own, theirs, length) == 0 && strcmp(own, "HOME=") != 0;
}

/// The task's own variables, and those of the container that they do not hide.
char** merge(char** own, uint32_t count) {
  uint32_t theirs = 0;
  while (environ[theirs])
    ++theirs;
  auto all = static_cast<char**>(calloc(count + theirs + 1, sizeof(char*)));
  if (!all)
    unused();
  uint32_t size = 0;
  for (uint32_t i = 0; i < count; ++i)
    if (strcmp(own[i], "HOME=") != 0)
      all[size++] = own[i];
  for (uint32_t i = 0; i < theirs; ++i) {
    auto name = strchr(environ[i], '=');
    auto length = name ? static_cast<size_t>(name - environ[i]) + 1 : 0;
    auto hidden = length == 0;
    for (uint32_t j = 0; j < count && !hidden; ++j)
      hidden = hides(own[j], environ[i], length);
    if (!hidden)
      all[size++] = environ[i];
  }
  return all;
}

/// The task's user may not be allowed to: then davit has put it there.
void write_hosts() {
  ::mkdir("/etc", 0755);
  auto file = ::open("/etc/hosts", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    return;
  [[maybe_unused]] auto written = ::write(file, hosts, sizeof hosts - 1);
  ::fchmod(file, 0644);
  ::close(file);
}

// -- what it does
// ------------------------------------------------------------------------------------------------------

/// As execvp, but with the task's own PATH, and no shell for what has no format: the engine gives none either. An
/// errno.
int execute(char** arguments, char** variables) {
  if (arguments[0][0] == 0)
    return ENOENT;
  if (strchr(arguments[0], '/')) {
    ::execve(arguments[0], arguments, variables);
    return errno;
  }
  const char* path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (auto one = variables; *one; ++one)
    if (strncmp(*one, "PATH=", 5) == 0) {
      path = *one + 5;
      break;
    }
  auto error = ENOENT;
  static char whole[4096];
  while (true) {
    auto end = strchr(path, ':');
    auto length = end ? static_cast<size_t>(end - path) : strlen(path);
    if (length + strlen(arguments[0]) + 3 <= sizeof whole) {
      memcpy(whole, path, length);
      if (length == 0) // this folder
        whole[length++] = '.';
      whole[length] = '/';
      strcpy(whole + length + 1, arguments[0]);
      ::execve(whole, arguments, variables);
      if (errno == EACCES)
        error = EACCES;
      else if (errno != ENOENT && errno != ENOTDIR)
        return errno;
    }
    if (!end)
      return error;
    path = end + 1;
  }
}

constexpr int ending_signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
constexpr int own_faults[] = {SIGSEGV, SIGABRT, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSYS};

/// Until what stands in standard output was read. It is a pipe, which a task can open and read too: one that has taken
/// `begun` out of it would seem never to have begun.
void await_reader() {
  int unread = 0;
  for (auto turn = 0; ::ioctl(1, FIONREAD, &unread) == 0 && unread > 0; ++turn) {
    pollfd output{1, 0, 0};
    timespec moment{0, turn < 100 ? 50'000 : 1'000'000};
    if (turn < 20)
      ::sched_yield();
    else if (::ppoll(&output, 1, &moment, nullptr) > 0) // nobody reads any more
      return;
  }
}

[[noreturn]] void be_the_task(char** strings, char** variables, bool input, int failure) {
  sigset_t none;
  sigemptyset(&none);
  for (auto one : ending_signals)
    signal(one, SIG_DFL);
  if (terminal) { // its controlling terminal is the container's: signals from there go to the task
    ::setpgid(0, 0);
    auto group = ::getpid();
    ::ioctl(0, TIOCSPGRP, &group);
  } else {
    ::setpgid(0, 0);
  }
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!input) {
    auto nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0)
      ::dup2(nothing, 0);
  }
  if (!terminal)
    await_reader();
  auto error = execute(strings, variables);
  [[maybe_unused]] auto told = ::write(failure, &error, sizeof error);
  ::_exit(not_executable_code);
}

/// True: nothing but this process lives in the container any more, and nothing can begin to. False: some of it can't be
/// killed, or does not die soon: another user's, of a task that has no right to kill (cap_drop). The kernel ends it
/// when this process ends.
bool end_all_others() {
  for (auto waited = 0; waited < 500; ++waited) {
    auto nobody = ::kill(-1, SIGKILL) != 0 && errno == ESRCH; // also of those that came in from outside
    pid_t ended;
    while ((ended = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (nobody && ended < 0 && errno == ECHILD)
      return true;
    timespec moment{0, waited < 10 ? 100'000 : 1'000'000};
    ::nanosleep(&moment, nullptr);
  }
  return false;
}

/// The task has ended: nothing of it may write any more. Where something still can, the engine tells how it ended, and
/// this process does not: its word could be taken out of the pipe before the engine reads it, or be followed by others.
[[noreturn]] void end_as(int status, int error) {
  auto code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  auto alone = ::getpid() != 1 || end_all_others();
  if (error != 0)
    can_not_execute(error);
  if (terminal || !alone)
    ::_exit(code);
  if (WIFSIGNALED(status))
    end("signaled", WTERMSIG(status), code);
  end("exited", WEXITSTATUS(status), code);
}

/// What the kernel shows of this process to all others is not theirs to read: a task's variables. Nor shall a search
/// for the command find it twice.
void forget(char** strings) {
  for (; *strings; ++strings)
    memset(*strings, 0, strlen(*strings));
}

/// The same strings elsewhere; the kernel shows those at the old place.
char** moved(char** strings) {
  size_t count = 0, bytes = 0;
  for (; strings[count]; ++count)
    bytes += strlen(strings[count]) + 1;
  auto all = static_cast<char**>(calloc(count + 1, sizeof(char*)));
  auto text = static_cast<char*>(malloc(bytes + 1));
  if (!all || !text)
    unused();
  for (size_t i = 0; i < count; ++i) {
    auto size = strlen(strings[i]) + 1;
    all[i] = static_cast<char*>(memcpy(text, strings[i], size));
    text += size;
  }
  forget(strings);
  return all;
}

/// Of the container's variables, the one that is for nobody else.
void take_nonce() {
  auto name = strlen(nonce_variable);
  auto to = environ;
  for (auto from = environ; *from; ++from) {
    if (strncmp(*from, nonce_variable, name) != 0 || (*from)[name] != '=') {
      *to++ = *from;
      continue;
    }
    auto value = *from + name + 1;
    if (strlen(value) == nonce_digits) {
      memcpy(mark, value, mark_digits);
      memcpy(key, value + mark_digits, key_digits);
    }
    memset(*from, 0, strlen(*from));
  }
  *to = nullptr;
}

/// They wait until they can be passed on. Those that tell of a program's own fault are no others' to send: a first
/// process ignores them.
sigset_t block_signals() {
  sigset_t all;
  memset(&all, 0xff, sizeof all); // sigfillset leaves out those that the library wants for itself
  for (auto one : own_faults)
    sigdelset(&all, one);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  return all;
}

/// Runs the task, and ends as it does.
[[noreturn]] void run_task(char** strings, char** variables, bool input) {
  auto all = block_signals();
  strings = moved(strings);
  variables = moved(variables);
  forget(environ);
  forget(own_arguments + 1);
  int failure[2];
  if (::pipe2(failure, O_CLOEXEC) != 0)
    unused();
  if (!terminal && *key)
    write_all(1, words("begun", 0, 0, sealed::no));
  auto child = ::fork();
  if (child < 0)
    can_not_execute(errno);
  if (child == 0)
    be_the_task(strings, variables, input, failure[1]);
  forget(variables);
  forget(strings);
  // No process of the task may find this line here (/proc/1/fd): it closes when the command is executed, and is read to
  // its end before.
  ::close(failure[1]);
  int error = 0;
  while (::read(failure[0], &error, sizeof error) < 0 && errno == EINTR) {
  }
  ::close(failure[0]);
  ::close(0); // that nobody reads a task's input any more must be seen by whoever writes it

  while (true) {
    siginfo_t info;
    auto signal = ::sigwaitinfo(&all, &info);
    if (signal != SIGCHLD) {
      // What this process has brought upon itself (SIGXFSZ, SIGPIPE) is not the task's.
      if (signal > 0 && !(info.si_code == SI_USER && info.si_pid == ::getpid()))
        ::kill(child, signal);
      continue;
    }
    int status = 0;
    pid_t ended;
    while ((ended = ::waitpid(-1, &status, WNOHANG)) > 0)
      if (ended == child)
        end_as(status, error);
  }
}

} // namespace

int main(int count, char** values) {
  // Nobody may read its memory, open what it has open, or trace it: not the task's user either, who is its own.
  ::prctl(PR_SET_DUMPABLE, 0);
  own_arguments = values;
  take_nonce();
  if (count > 3 && strcmp(values[1], run) == 0) {
    block_signals();
    terminal = strcmp(values[2], with_terminal) == 0;
    if (strcmp(values[2], with_hosts) == 0)
      write_hosts();
    run_task(values + 3, environ, true);
  }
  if (count == 2 && strcmp(values[1], hold) == 0)
    while (true)
      ::pause();
  auto seconds = count >= 3 && strcmp(values[1], await_task) == 0 ? atoi(values[2]) : 0;
  if (seconds <= 0)
    unused();
  if (count == 4 && strcmp(values[3], with_hosts) == 0)
    write_hosts();
  // As long as nothing has come, a stop ends it at once: by itself the kernel does not do so with a first process.
  for (auto one : ending_signals)
    signal(one, [](int) { unused(); });

  hand_over header;
  read_all(reinterpret_cast<char*>(&header), sizeof header, seconds);
  if (memcmp(header.magic, magic, sizeof magic) != 0 || header.arguments == 0 || header.bytes > most_bytes
      || header.arguments > header.bytes || header.variables > header.bytes - header.arguments)
    unused();
  auto text = static_cast<char*>(malloc(header.bytes + 1));
  auto strings = static_cast<char**>(calloc(header.arguments + header.variables + 2, sizeof(char*)));
  if (!text || !strings)
    unused();
  read_all(text, header.bytes, seconds);
  text[header.bytes] = 0;
  // The arguments, a null, the variables, a null.
  uint32_t at = 0;
  for (uint32_t i = 0; i < header.arguments + header.variables; ++i) {
    if (at >= header.bytes)
      unused();
    strings[i < header.arguments ? i : i + 1] = text + at;
    at += static_cast<uint32_t>(strlen(text + at)) + 1;
  }
  if (at != header.bytes)
    unused();
  auto variables = merge(strings + header.arguments + 1, header.variables);
  run_task(strings, variables, header.input != 0);
}
