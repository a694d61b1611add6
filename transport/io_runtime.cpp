#include "transport/io_runtime.hpp"

#include <algorithm>
#include <csignal>

namespace davit::transport {

unsigned io_runtime::usual_threads() {
#ifdef __SANITIZE_THREAD__
  return 4;
#else
  return std::clamp(std::thread::hardware_concurrency() / 4, 1u, 4u);
#endif
}

io_runtime::io_runtime(unsigned threads)
  : context_(static_cast<int>(threads)), work_(boost::asio::make_work_guard(context_)) {
  std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes to sockets without MSG_NOSIGNAL
  for (unsigned i = 0; i < threads; ++i)
    threads_.emplace_back([this] { context_.run(); });
}

io_runtime::~io_runtime() {
  stop();
}

void io_runtime::stop() {
  work_.reset();
  context_.stop();
  door_.stop();
  for (auto& thread : threads_)
    thread.join();
  threads_.clear();
}

} // namespace davit::transport
