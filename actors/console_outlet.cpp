#include "actors/console_outlet.hpp"

#include "shipping/log_format.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace davit {

namespace {

/// How often a wait for the reader looks whether it is to end.
constexpr duration console_slice = std::chrono::milliseconds{20};
/// How long the end of the outlet waits for the end of its thread.
constexpr duration console_farewell = std::chrono::seconds{1};

/// Writes that do not wait, on a descriptor that other processes may share.
class unwaiting_writer {
public:
  unwaiting_writer(int descriptor, duration patience, const std::atomic<bool>& over)
    : original_(descriptor), patience_(patience), over_(over) {
    struct stat info {};
    if (::fstat(descriptor, &info) != 0)
      return;
    is_socket_ = S_ISSOCK(info.st_mode);
    // Opened anew it has flags of its own. That fails if another user made the pipe: then `poll` has to do. It says of
    // a pipe that it takes PIPE_BUF bytes at once, which holds unless another process writes in between.
    auto can_write = (::fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_RDONLY;
    if (can_write && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)))
      reopened_
        = ::open(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  }
  ~unwaiting_writer() {
    if (reopened_ >= 0)
      ::close(reopened_);
  }
  unwaiting_writer(const unwaiting_writer&) = delete;
  unwaiting_writer& operator=(const unwaiting_writer&) = delete;

  /// Writes some of at most PIPE_BUF bytes, all or nothing to a pipe; how many. Less than nothing: errno says why,
  /// EAGAIN that nobody reads.
  ssize_t write(const char* bytes, std::size_t count) const {
    auto to = reopened_ >= 0 ? reopened_ : original_;
    for (duration waited{0}; waited <= patience_; waited += console_slice) {
      pollfd poller{to, POLLOUT, 0};
      auto ready = ::poll(&poller, 1, over_ ? 0 : static_cast<int>(console_slice.count()));
      if (ready > 0) {
        auto written = is_socket_ ? ::send(to, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) : ::write(to, bytes, count);
        if (written >= 0 || (errno != EAGAIN && errno != EINTR))
          return written;
        std::this_thread::sleep_for(console_slice);
      }
      if (over_)
        break;
    }
    errno = EAGAIN;
    return -1;
  }

private:
  int original_;
  int reopened_ = -1;
  bool is_socket_ = false;
  duration patience_;
  const std::atomic<bool>& over_;
};

/// What the thread and the outlet share: whoever ends last lets go of it.
class console_queue {
public:
  struct delivery_job {
    std::shared_ptr<const shipping::log_names> names;
    sink_outlet::records_ptr records;
    std::function<void(shipping::delivery)> done;
  };

  console_queue(int descriptor, duration patience) : writer_(descriptor, patience, over_) {}

  void add(delivery_job job) {
    std::lock_guard guard{mutex_};
    jobs_.push_back(std::move(job));
    changed_.notify_all();
  }

  /// The thread's work.
  void run() {
    for (std::unique_lock lock{mutex_}; !over_;) {
      changed_.wait(lock, [this] { return over_ || !jobs_.empty(); });
      if (over_)
        break;
      std::deque<delivery_job> jobs;
      jobs.push_back(std::move(jobs_.front()));
      jobs_.pop_front();
      lock.unlock();
      auto outcome = deliver(jobs.front());
      lock.lock();
      if (outcome.how == shipping::delivery::verdict::again) { // the others would wait for the same
        std::move(jobs_.begin(), jobs_.end(), std::back_inserter(jobs));
        jobs_.clear();
      }
      lock.unlock();
      for (const auto& one : jobs)
        one.done(outcome);
      lock.lock();
    }
    std::string rest = begun_;
    write_all(rest, rest.size());
    std::lock_guard guard{mutex_};
    ended_ = true;
    changed_.notify_all();
  }

  /// Waits for the thread, unless the system keeps it in a write.
  void end() {
    std::unique_lock lock{mutex_};
    over_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, console_farewell, [this] { return ended_; });
  }

private:
  using records_watch = std::weak_ptr<const std::vector<log_record>>;

  /// How much to write at once: whole lines, so that a reader that stops leaves none in halves.
  static std::size_t next_part(std::string_view rest) {
    if (rest.size() <= PIPE_BUF)
      return rest.size();
    auto end = rest.substr(0, PIPE_BUF).rfind('\n');
    return end == std::string_view::npos ? PIPE_BUF : end + 1;
  }

  /// How many of the bytes were written; fewer than all: errno says why.
  std::size_t write_all(const std::string& text, std::size_t size) const {
    std::size_t written = 0;
    while (written < size) {
      auto part = next_part(std::string_view{text}.substr(written));
      auto now = writer_.write(text.data() + written, part);
      if (now < 0)
        break;
      written += static_cast<std::size_t>(now);
    }
    return written;
  }

  shipping::delivery deliver(const delivery_job& job) {
    std::erase_if(sent_, [](const auto& one) { return one.first.expired(); });
    auto text = begun_;
    auto lines_from = text.size();
    auto& sent = sent_[job.records];
    for (auto at = sent; at < job.records->size(); ++at)
      text += shipping::json_line(*job.names, (*job.records)[at]);
    auto written = write_all(text, text.size());
    auto why = errno;
    // The end of the line that the reader has the beginning of.
    auto cut = written > 0 && text[written - 1] != '\n';
    auto line_end = cut || written < lines_from ? text.find('\n', written) : std::string::npos;
    begun_ = line_end == std::string::npos ? "" : text.substr(written, line_end + 1 - written);
    if (written == text.size()) {
      sent_.erase(job.records);
      return {};
    }
    auto lines = std::max(written, lines_from);
    sent += static_cast<std::size_t>(
      std::count(text.begin() + static_cast<long>(lines_from), text.begin() + static_cast<long>(lines), '\n'));
    if (cut && written > lines_from)
      ++sent;
    return {shipping::delivery::verdict::again,
            why == EAGAIN ? "nobody reads stdout" : std::string{"stdout can't be written: "} + std::strerror(why),
            duration{0},
            0,
            {}};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<delivery_job> jobs_;
  std::atomic<bool> over_{false};
  bool ended_ = false;
  unwaiting_writer writer_;
  std::string begun_; ///< The rest of a line that was begun; the thread's alone, as `sent_`.
  std::map<records_watch, std::size_t, std::owner_less<>> sent_; ///< Records that a failed delivery has written.
};

class console_outlet final : public sink_outlet {
public:
  console_outlet(int descriptor, duration patience) : queue_(std::make_shared<console_queue>(descriptor, patience)) {
    std::thread{[queue = queue_] { queue->run(); }}.detach();
  }
  ~console_outlet() override { queue_->end(); }

  void send(std::shared_ptr<const shipping::log_names> names, records_ptr records,
            std::function<void(shipping::delivery)> done) override {
    queue_->add({std::move(names), std::move(records), std::move(done)});
  }

private:
  std::shared_ptr<console_queue> queue_;
};

} // namespace

std::shared_ptr<sink_outlet> make_console_outlet(int descriptor, duration patience) {
  return std::make_shared<console_outlet>(descriptor, patience);
}

} // namespace davit
