// Who did what, line by line, in a file.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace davit::api {

/// Writes lines in their order, on a thread of its own: a disk that blocks holds up who waits for a line, and nobody
/// else. At 16 MiB the file is put aside; four old ones are kept. Thread-safe.
class audit_log {
public:
  /// `is_private`: the file is made with mode 0600, else with what the umask leaves.
  explicit audit_log(std::string file, bool is_private = false);
  audit_log(const audit_log&) = delete;
  audit_log& operator=(const audit_log&) = delete;

  /// Writes what has been given to it, however long that takes.
  ~audit_log();

  /// `then` is called on another thread when the line has gone to the system; also if it could not be written, which
  /// davit's own log tells. One line that waits holds one `then`: whoever limits these limits what is held.
  void write(std::string line, std::function<void()> then);

private:
  struct entry {
    std::string line;
    std::function<void()> then;
  };

  void run();

  std::string file_;
  bool private_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<entry> waiting_;
  bool over_ = false;
  std::thread thread_; ///< The last: it uses the others.
};

} // namespace davit::api
