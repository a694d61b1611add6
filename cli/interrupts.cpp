#include "cli/interrupts.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace davit {

namespace {

constexpr int caught[] = {SIGINT, SIGTERM, SIGHUP};
constexpr int left_at_once = 130;
constexpr int reader_patience_ms = 1000;

struct sigaction before[std::size(caught)];
int wake = -1;
std::atomic<int> came{0};
std::atomic<bool> first_is_answered{false};

/// Runs in a signal handler, on any thread.
void on_signal(int) {
  auto saved = errno;
  auto count = ++came;
  // A terminal that goes may send two in a row: the first is to be heard.
  if (count > 2 || (count == 2 && first_is_answered))
    ::_exit(left_at_once);
  std::uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(wake, &one, sizeof one);
  errno = saved;
}

} // namespace

interrupts::interrupts() {
  came = 0;
  first_is_answered = false;
  wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  for (std::size_t i = 0; i < std::size(caught); ++i) {
    ::sigaction(caught[i], nullptr, &before[i]);
    if (caught[i] == SIGHUP && before[i].sa_handler == SIG_IGN) // somebody wants it to outlive its terminal
      continue;
    struct sigaction now {};
    now.sa_handler = on_signal; // without SA_RESTART: a write that blocks comes back
    ::sigaction(caught[i], &now, nullptr);
  }
}

interrupts::~interrupts() {
  for (std::size_t i = 0; i < std::size(caught); ++i)
    ::sigaction(caught[i], &before[i], nullptr);
  ::close(wake);
}

int interrupts::descriptor() const {
  return wake;
}

void interrupts::answered() {
  first_is_answered = true;
  if (came > 1)
    ::_exit(left_at_once);
}

int interrupts::write(int fd, std::string_view& bytes) {
  while (!bytes.empty()) {
    pollfd look[] = {{fd, POLLOUT, 0}, {wake, POLLIN, 0}};
    auto ready = ::poll(look, told_ ? 1 : 2, told_ ? reader_patience_ms : -1);
    if (ready == 0)
      return ETIMEDOUT;
    if (ready < 0 && errno != EINTR)
      return errno;
    if (ready < 0)
      continue;
    if (look[0].revents == 0) {
      told_ = true;
      return EINTR;
    }
    // A pipe that takes anything takes so much without blocking.
    auto count = ::write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
    if (count < 0 && errno != EINTR && errno != EAGAIN)
      return errno;
    if (count > 0)
      bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return 0;
}

} // namespace davit
