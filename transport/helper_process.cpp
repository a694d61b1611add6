#include "transport/helper_process.hpp"

#include "transport/as_awaitable.hpp"

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace davit::transport {

namespace asio = boost::asio;
using local = asio::local::stream_protocol;

namespace {

constexpr std::size_t longest_output = 1024 * 1024;

/// A process of a group of its own. It is gone, with all that it has started, when this is.
class child {
public:
  explicit child(pid_t pid) : pid_(pid) {}
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    if (pid_ > 0) {
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  /// True: it has ended, and how.
  bool ended(int& exit_code) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_)
      return false;
    exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = -1;
    return true;
  }

private:
  pid_t pid_;
};

/// The pid, or 0 with errno set.
pid_t spawn(const std::string& program, const std::vector<std::string>& arguments, int end) {
  std::vector<char*> words{const_cast<char*>(program.c_str())};
  for (const auto& one : arguments)
    words.push_back(const_cast<char*>(one.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, end, 0);
  ::posix_spawn_file_actions_adddup2(&actions, end, 1);
  ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  sigset_t none, usual;
  ::sigemptyset(&none);
  ::sigemptyset(&usual);
  ::sigaddset(&usual, SIGPIPE);
  ::posix_spawnattr_setsigmask(&attributes, &none); // the agent blocks what it reads from a descriptor
  ::posix_spawnattr_setsigdefault(&attributes, &usual);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  auto failed = ::posix_spawnp(&pid, program.c_str(), &actions, &attributes, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  errno = failed;
  return failed ? 0 : pid;
}

} // namespace

awaitable<result<helper_result>>
run_helper(std::string program, std::vector<std::string> arguments, std::string input, deadline until) {
  auto fail = [&](const std::string& what) { return error{engine_errc::failed, 0, program + " " + what}; };
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    co_return fail(std::string{"can't be started: "} + std::strerror(errno));
  auto executor = co_await asio::this_coro::executor;
  boost::beast::basic_stream<local> stream{executor};
  stream.socket().assign(local{}, ends[0]);
  auto pid = spawn(program, arguments, ends[1]);
  auto why = errno;
  ::close(ends[1]);
  if (pid == 0)
    co_return fail(why == ENOENT ? "is not on the PATH" : std::string{"can't be started: "} + std::strerror(why));
  child running{pid};
  stream.expires_at(until);
  co_await asio::async_write(stream, asio::buffer(input),
                             as_awaitable); // one that reads nothing may answer all the same
  boost::system::error_code ignored;
  stream.socket().shutdown(local::socket::shutdown_send, ignored);
  helper_result answer;
  std::vector<char> buffer(16 * 1024);
  while (true) {
    auto [ec, count] = co_await stream.async_read_some(asio::buffer(buffer), as_awaitable);
    if (ec == boost::beast::error::timeout)
      co_return fail("did not answer in time");
    if (ec)
      break;
    answer.output.append(buffer.data(), count);
    if (answer.output.size() > longest_output)
      co_return fail("answers without end");
  }
  asio::steady_timer pause{executor};
  while (!running.ended(answer.exit_code)) {
    if (std::chrono::steady_clock::now() >= until)
      co_return fail("did not end in time");
    pause.expires_after(std::chrono::milliseconds{2});
    co_await pause.async_wait(as_awaitable);
  }
  co_return answer;
}

} // namespace davit::transport
