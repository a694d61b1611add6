// The connections that a server has open.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

namespace davit::transport {

/// Knows each connection for as long as the connection keeps its place. Thread-safe.
class open_connections : public std::enable_shared_from_this<open_connections> {
public:
  /// With more than `most`, the connection that has been idle for longest is closed in favour of a new one.
  explicit open_connections(std::size_t most) : most_(most) {}

  /// A connection's entry. Destroying it removes the entry, however the connection ends.
  class place {
  public:
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place();

    /// The connection waits for a request. A new place is idle.
    void idle();
    /// The connection is at work on a request: it is not closed in favour of another.
    void busy();

  private:
    friend class open_connections;
    place(std::shared_ptr<open_connections> list, std::function<void()> close)
      : list_(std::move(list)), close_(std::move(close)) {}

    std::shared_ptr<open_connections> list_;
    std::function<void()> close_;
    std::list<place*>::iterator self_;
    /// Guarded by the list's mutex.
    std::optional<std::chrono::steady_clock::time_point> idle_since_ = std::chrono::steady_clock::now();
  };

  /// Null: all places are taken by connections at work, or close_all() was called. `close` closes the connection from
  /// any thread; it must not call back, and must do nothing after the connection's end.
  std::shared_ptr<place> enter(std::function<void()> close);

  /// Closes all connections, and lets no more in.
  void close_all();

  std::size_t size() const;

private:
  bool make_room();

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::list<place*> places_;
  bool closed_ = false;
};

} // namespace davit::transport
