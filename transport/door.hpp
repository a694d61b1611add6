// A thread for the work of clients that have not shown who they are.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace davit::transport {

/// When there is more to do than can be done, whoever has just come is served at once, and those wait who have waited
/// for long or have been turned away before: in order, a crowd would make everybody wait for all of it. A part of the
/// time is for what has waited longest. Its thread has a lower priority than the others of the process. Thread-safe.
class door {
public:
  /// Whose work it is.
  enum class visit { first, again };

  door();
  door(const door&) = delete;
  door& operator=(const door&) = delete;
  ~door();

  /// From its own thread too. After stop() the work is dropped.
  template <class Work>
  void add(visit whose, Work work) {
    add_piece(whose, std::make_unique<piece_of<Work>>(std::move(work)));
  }

  /// Whether the caller is at work here.
  bool runs_here() const { return std::this_thread::get_id() == thread_.get_id(); }

  /// Ends the thread after what it is at; what waits is dropped. Idempotent.
  void stop();

private:
  struct piece {
    virtual ~piece() = default;
    virtual void run() = 0;
  };
  template <class Work>
  struct piece_of final : piece {
    explicit piece_of(Work&& what) : work(std::move(what)) {}
    void run() override { work(); }
    Work work;
  };

  void add_piece(visit whose, std::unique_ptr<piece> one);
  std::unique_ptr<piece> next();
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<piece>> first_, again_;
  unsigned count_ = 0; ///< Of what was done.
  bool stopped_ = false;
  std::thread thread_;
};

} // namespace davit::transport
