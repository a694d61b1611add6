#include "transport/io_runtime.hpp"

#include <algorithm>
#include <csignal>
#include <sys/resource.h>
#include <unistd.h>

namespace davit::transport {

namespace {

constexpr int door_niceness = 5;

} // namespace

unsigned io_runtime::usual_threads() {
#ifdef __SANITIZE_THREAD__
  return 4;
#else
  return std::clamp(std::thread::hardware_concurrency() / 4, 1u, 4u);
#endif
}

io_runtime::io_runtime(unsigned threads)
  : context_(static_cast<int>(threads)), work_(boost::asio::make_work_guard(context_)),
    door_work_(boost::asio::make_work_guard(door_)) {
  std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes to sockets without MSG_NOSIGNAL
  for (unsigned i = 0; i < threads; ++i)
    threads_.emplace_back([this] { context_.run(); });
  threads_.emplace_back([this] {
    // Of this thread alone, as Linux has it. It may be refused: then the priority is that of all.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), door_niceness);
    door_.run();
  });
}

io_runtime::~io_runtime() {
  stop();
}

void io_runtime::stop() {
  work_.reset();
  door_work_.reset();
  context_.stop();
  door_.stop();
  for (auto& thread : threads_)
    thread.join();
  threads_.clear();
}

} // namespace davit::transport
