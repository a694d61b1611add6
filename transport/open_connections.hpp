// The connections that a server has open.
#pragma once

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace davit::transport {

/// Knows each connection for as long as the connection keeps its place. Thread-safe.
class open_connections : public std::enable_shared_from_this<open_connections> {
  /// In the order in which they are closed.
  enum class rank : std::size_t { answered, waits, works, known, known_works, closing };
  static constexpr std::size_t ranks = 6, first_that_stays = static_cast<std::size_t>(rank::known_works);

public:
  /// With more than `most`, one is closed in favour of a new one: the first is a client that has had an answer and is
  /// not known all the same, then one that is not known and waits, then one that is not known, then a known one that
  /// waits; among several the one that has been so for longest. A known client at work is never closed. Clients of one
  /// address have half of the places. `most_closing`: how many more may be open while they are being closed.
  explicit open_connections(std::size_t most, std::size_t most_closing)
    : most_(most), most_of_address_(std::max<std::size_t>(most / 2, 1)), most_closing_(most_closing) {}
  explicit open_connections(std::size_t most) : open_connections(most, most / 4) {}

  /// A connection's entry. Destroying it removes the entry, however the connection ends.
  class place {
  public:
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place();

    /// The connection waits for a request. A new place is idle.
    void idle();
    /// The connection is at work on a request.
    void busy();
    /// The client has shown who it is. A new place's client is not known.
    void known();
    /// It has had an answer.
    void answered();

  private:
    friend class open_connections;
    place(std::shared_ptr<open_connections> list, std::string address, std::function<void()> close,
          std::function<void()> on_known)
      : list_(std::move(list)), address_(std::move(address)), close_(std::move(close)), on_known_(std::move(on_known)) {
    }

    using hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

    rank whose_turn() const;
    void take_turn();

    std::shared_ptr<open_connections> list_;
    const std::string address_;
    std::function<void()> close_, on_known_;
    // Guarded by the list's mutex:
    hook among_all_, of_address_;
    bool idle_ = true;
    bool known_ = false;
    bool answered_ = false;
    bool closing_ = false;
  };

  /// Null: no connection can be closed for this one, or close_all() was called. `close` closes the connection from any
  /// thread; it must not call back, and must do nothing after the connection's end. `address` is empty for a client
  /// that is limited by nothing but the number of all. `on_known` is called when the client becomes known; so it must
  /// not call back either.
  std::shared_ptr<place>
  enter(const std::string& address, std::function<void()> close, std::function<void()> on_known = {});

  /// Closes all connections, and lets no more in.
  void close_all();

  /// Whether so many have been asked to close, and have not got to it, that new ones must wait.
  bool has_many_closing() const;

  std::size_t size() const;
  std::size_t most() const { return most_; }

  /// How many were closed in favour of others, and how many were not let in.
  struct totals {
    std::uint64_t closed = 0;
    std::uint64_t turned_away = 0;
  };
  totals so_far() const;

private:
  /// For each rank, the places that have it, the newest last.
  template <place::hook place::*Hook>
  using turns = std::array<boost::intrusive::list<place, boost::intrusive::member_hook<place, place::hook, Hook>,
                                                  boost::intrusive::constant_time_size<false>>,
                           ranks>;
  struct one_address {
    std::size_t size = 0;
    turns<&place::of_address_> by_rank;
  };

  bool make_room(const std::string& address);
  template <class Turns>
  bool close_first(Turns& by_rank);

  const std::size_t most_, most_of_address_, most_closing_;
  mutable std::mutex mutex_;
  turns<&place::among_all_> by_rank_;
  std::map<std::string, one_address> by_address_;
  totals totals_;
  std::size_t size_ = 0, closing_ = 0; ///< Places, and those of them that were asked to close.
  bool closed_ = false;
};

} // namespace davit::transport
