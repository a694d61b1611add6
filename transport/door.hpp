// A thread for the work of clients that have not shown who they are.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

namespace davit::transport {

/// When there is more to do than can be done, whoever has just come is served at once, and those wait who have waited
/// for long or have been turned away before: in order, a crowd would make everybody wait for all of it. A part of the
/// time is for what has waited longest. The addresses that clients come from take turns, so a crowd of one makes its
/// own clients wait. Every other turn is of those that leave: they hold what others wait for. Its thread has a lower
/// priority than the others of the process. Thread-safe.
class door {
public:
  /// Whose work it is: of somebody who is asked to leave, has just come, or has been turned away before.
  enum class visit { leaving, first, again };
  /// Stands for an address; the same for all of whom none is known.
  using origin = std::uint64_t;

  door();
  door(const door&) = delete;
  door& operator=(const door&) = delete;
  ~door();

  /// From its own thread too. After stop() the work is dropped.
  template <class Work>
  void add(visit whose, origin from, Work work) {
    add_piece(whose, from, std::make_unique<piece_of<Work>>(std::move(work)));
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

  using pieces = std::deque<std::unique_ptr<piece>>;
  struct lane {
    pieces waiting;
    unsigned count = 0; ///< Of its pieces that were done since it had none.
  };

  void add_piece(visit whose, origin from, std::unique_ptr<piece> one);
  bool has_none() const { return leaving_.empty() && first_.empty() && again_.empty(); }
  std::unique_ptr<piece> next();
  origin next_origin();
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  pieces leaving_, again_;
  std::unordered_map<origin, lane> first_;  ///< Where something waits.
  std::deque<origin> newcomers_, had_turn_; ///< Of those, the ones that nothing was done of yet, and the others.
  unsigned count_ = 0;                      ///< Of what was done for those who stay.
  bool left_ = false;                       ///< The last turn was of one who leaves.
  bool stopped_ = false;
  std::thread thread_;
};

} // namespace davit::transport
