// Speaks the part of the Docker Engine API that davit uses, and runs nothing: a container has exited as soon as it is
// started. For measuring davit itself.
#pragma once

#include "transport/http_server.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace davit::bench {

class stub_engine {
public:
  /// Listens on a unix socket at `path`.
  stub_engine(transport::io_runtime& io, const std::string& path);
  ~stub_engine();

  std::uint64_t started() const { return started_; }
  /// Containers that were made and not removed.
  std::size_t left() const;

private:
  void answer(transport::exchange_ptr client);

  struct container {
    std::string name;
    std::string labels; ///< JSON.
    bool started = false;
  };

  mutable std::mutex mutex_;
  std::map<std::string, container> containers_;
  std::map<std::string, std::string> names_; ///< To ids.
  std::uint64_t last_ = 0;
  std::atomic<std::uint64_t> started_{0};
  std::shared_ptr<transport::http_server> server_;
};

} // namespace davit::bench
