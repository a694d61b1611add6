#include "transport/resolver.hpp"

#include "transport/io_runtime.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <netdb.h>
#include <optional>
#include <system_error>
#include <thread>

namespace davit::transport {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {

constexpr std::chrono::seconds longest_look_up{30}; ///< Of resolve_addresses().

/// What the system's resolver says of a name.
struct found_addresses {
  int code = 0; ///< Of getaddrinfo.
  std::vector<tcp::endpoint> all;
};

using found_ptr = std::shared_ptr<const found_addresses>;

found_ptr look_up(const std::string& host) {
  auto found = std::make_shared<found_addresses>();
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_protocol = IPPROTO_TCP;
  addrinfo* list = nullptr;
  found->code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  for (auto one = found->code == 0 ? list : nullptr; one; one = one->ai_next) {
    tcp::endpoint address;
    if ((one->ai_family != AF_INET && one->ai_family != AF_INET6) || one->ai_addrlen > address.capacity())
      continue;
    std::memcpy(address.data(), one->ai_addr, one->ai_addrlen);
    address.resize(one->ai_addrlen);
    found->all.push_back(address);
  }
  if (list)
    ::freeaddrinfo(list);
  if (found->code == 0 && found->all.empty())
    found->code = EAI_NONAME;
  return found;
}

/// The look-ups under way. getaddrinfo can't be called off, so each name has a thread of its own, which whoever asks
/// for the name meanwhile shares: there are never more threads than names.
class look_ups {
public:
  using listener = std::function<void(found_ptr)>;

  /// Never destroyed: a thread that hangs in the system's resolver may outlive main().
  static look_ups& all() {
    static auto& instance = *new look_ups;
    return instance;
  }

  /// `done` is called once, on another thread, unless leave() comes first. It must not call back.
  std::uint64_t ask(const std::string& host, listener done) {
    std::lock_guard guard{mutex_};
    auto [entry, first] = under_way_.try_emplace(host);
    auto number = ++last_;
    entry->second.emplace(number, std::move(done));
    if (first)
      start(host);
    return number;
  }

  void leave(const std::string& host, std::uint64_t number) {
    std::lock_guard guard{mutex_};
    if (auto entry = under_way_.find(host); entry != under_way_.end())
      entry->second.erase(number);
  }

private:
  void start(const std::string& host) {
    try {
      std::thread{[this, host] { settle(host, look_up(host)); }}.detach();
    } catch (const std::system_error&) { // no more threads: the caller asks again some time
      auto failed = std::make_shared<found_addresses>();
      failed->code = EAI_AGAIN;
      tell(under_way_.extract(host).mapped(), failed);
    }
  }

  void settle(const std::string& host, const found_ptr& found) {
    std::lock_guard guard{mutex_};
    tell(under_way_.extract(host).mapped(), found);
  }

  /// With the mutex: who has left hears nothing any more.
  static void tell(const std::map<std::uint64_t, listener>& listeners, const found_ptr& found) {
    for (const auto& [number, done] : listeners)
      done(found);
  }

  std::mutex mutex_;
  std::map<std::string, std::map<std::uint64_t, listener>> under_way_;
  std::uint64_t last_ = 0;
};

/// What a coroutine that waits and the look-up's thread share; it outlives both.
struct waiting {
  explicit waiting(const asio::any_io_executor& executor) : timer(executor) {}
  asio::steady_timer timer; ///< On the coroutine's executor alone, as is the next.
  found_ptr found;
};

/// Leaves the look-up when the coroutine's frame goes, also if the frame is destroyed with its io_context.
struct look_up_scope {
  std::string host;
  std::uint64_t number = 0;
  explicit look_up_scope(std::string name) : host(std::move(name)) {}
  look_up_scope(const look_up_scope&) = delete;
  look_up_scope& operator=(const look_up_scope&) = delete;
  ~look_up_scope() { look_ups::all().leave(host, number); }
};

} // namespace

awaitable<result<std::vector<tcp::endpoint>>> resolve(std::string host, std::uint16_t port, deadline until) {
  boost::system::error_code ec;
  if (auto address = asio::ip::make_address(host, ec); !ec)
    co_return std::vector<tcp::endpoint>{tcp::endpoint{address, port}};
  auto executor = co_await asio::this_coro::executor;
  auto shared = std::make_shared<waiting>(executor);
  shared->timer.expires_at(until);
  look_up_scope scope{host};
  scope.number = look_ups::all().ask(host, [shared, executor](const found_ptr& found) {
    asio::post(executor, [shared, found] {
      shared->found = found;
      shared->timer.expires_at(asio::steady_timer::time_point::min());
    });
  });
  co_await shared->timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (!shared->found)
    co_return error{engine_errc::timed_out, 0, "the name " + host + " was not resolved in time"};
  if (shared->found->code != 0)
    co_return error{engine_errc::unreachable, 0, "cannot resolve " + host + ": " + ::gai_strerror(shared->found->code)};
  auto all = shared->found->all;
  for (auto& one : all)
    one.port(port);
  co_return all;
}

void resolve_addresses(io_runtime& io, std::string host, std::function<void(std::vector<std::string>)> done) {
  spawn_detached(asio::make_strand(io.context()), "the look-up of a name",
                 [host = std::move(host), done = std::move(done)]() -> awaitable<void> {
                   auto found = co_await resolve(host, 0, within(longest_look_up));
                   std::vector<std::string> addresses;
                   if (found)
                     for (const auto& one : *found)
                       if (auto text = one.address().to_string();
                           std::find(addresses.begin(), addresses.end(), text) == addresses.end())
                         addresses.push_back(std::move(text));
                   done(std::move(addresses));
                 });
}

} // namespace davit::transport
