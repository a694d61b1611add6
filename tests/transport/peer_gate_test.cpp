#include "fixture/certificates.hpp"
#include "fixture/raw_client.hpp"
#include "fixture/test_engine.hpp"
#include "transport/io_runtime.hpp"
#include "transport/peer_gate.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <future>

using namespace davit;
using namespace davit::transport;
using davit::test::raw_client;
using namespace std::chrono_literals;

namespace {

/// A socket that a gate has given.
struct plain_end {
  int fd = -1;
  explicit plain_end(int socket) : fd(socket) {}
  plain_end(plain_end&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  ~plain_end() {
    if (fd >= 0)
      ::close(fd);
  }
  void send(std::string_view bytes) const { CHECK(::write(fd, bytes.data(), bytes.size()) == ssize_t(bytes.size())); }
  /// What comes next; empty: the end, or nothing within 20 s.
  std::string read() const {
    pollfd look{fd, POLLIN, 0};
    ::poll(&look, 1, 20'000);
    char bytes[4096];
    auto count = ::read(fd, bytes, sizeof bytes);
    return {bytes, count > 0 ? std::size_t(count) : 0};
  }
};

/// Whether the other side ends the connection, without a word.
bool is_cut(const raw_client& client) {
  pollfd look{client.fd, POLLIN, 0};
  char byte = 0;
  return ::poll(&look, 1, 20'000) == 1 && ::recv(client.fd, &byte, 1, 0) <= 0;
}

struct two_gates {
  test::scratch_folder folder;
  test::certificate_authority authority{folder.path().string(), "fleet"}, other{folder.path().string(), "other"};
  io_runtime io{2};
  std::promise<int> came;
  std::shared_ptr<peer_gate> server, client;
  std::uint16_t port = 0;

  /// The client trusts the first authority, and shows a certificate of the second.
  explicit two_gates(gate_limits limits = {}, bool trusts = true, bool is_trusted = true) {
    server = gate(authority, authority, limits);
    client = gate(trusts ? authority : other, is_trusted ? authority : other, {});
    auto open = server->listen({"127.0.0.1", 0}, [this](int socket) { came.set_value(socket); });
    REQUIRE(open.has_value());
    port = *open;
  }
  ~two_gates() {
    server->stop();
    io.stop();
  }

  std::shared_ptr<peer_gate>
  gate(test::certificate_authority& trusted, test::certificate_authority& by, gate_limits limits) {
    static int count = 0;
    auto files = by.issue("peer" + std::to_string(++count));
    // No word of more than three letters.
    return std::make_shared<peer_gate>(
      io, tls_settings{trusted.file(), files.certificate, files.key},
      [](bool) { return [](std::string_view bytes) { return bytes.find("long") == std::string_view::npos; }; }, limits);
  }

  result<int> connect() {
    std::promise<result<int>> made;
    client->connect({"127.0.0.1", port}, within(10s), [&](result<int> one) { made.set_value(std::move(one)); });
    return made.get_future().get();
  }
};

} // namespace

TEST_CASE("what goes in at one gate comes out at the other, and the end does too", "[fleet]") {
  two_gates both;
  auto socket = both.connect();
  REQUIRE(socket.has_value());
  plain_end near{*socket}, far{both.came.get_future().get()};
  near.send("one");
  CHECK(far.read() == "one");
  far.send("two");
  CHECK(near.read() == "two");
  near.send("long");
  CHECK(far.read().empty());
  CHECK(near.read().empty());
}

TEST_CASE("a peer of another authority reaches nobody", "[fleet]") {
  auto trusts = GENERATE(true, false);
  auto is_trusted = GENERATE(true, false);
  CAPTURE(trusts, is_trusted);
  two_gates both{{}, trusts, is_trusted};
  auto socket = both.connect();
  CHECK((trusts || !socket));
  auto came = both.came.get_future();
  if (socket) { // of TLS 1.3 it learns only later that its certificate is not taken
    plain_end near{*socket};
    if (trusts && is_trusted)
      plain_end{came.get()}.send("let in");
    CHECK(near.read() == (trusts && is_trusted ? "let in" : ""));
  }
  if (!trusts || !is_trusted)
    CHECK(came.wait_for(0s) == std::future_status::timeout);
}

TEST_CASE("whoever does not agree on TLS in time is cut, and gives way to others before", "[fleet]") {
  gate_limits limits;
  limits.connections = 2;
  two_gates both{limits};
  raw_client first{both.port}, second{both.port}, third{both.port};
  CHECK(is_cut(first));
  auto socket = both.connect();
  REQUIRE(socket.has_value());
  plain_end near{*socket}, far{both.came.get_future().get()};
  raw_client fourth{both.port}, fifth{both.port};
  CHECK(is_cut(fourth));
  near.send("one");
  CHECK(far.read() == "one");
  limits.handshake = 50ms;
  two_gates hasty{limits};
  raw_client silent{hasty.port};
  CHECK(is_cut(silent));
}

TEST_CASE("a peer that takes nothing is cut when too much waits for it", "[fleet]") {
  gate_limits limits;
  limits.unsent = 1 << 20;
  two_gates both{limits};
  auto socket = both.connect(); // whose gate takes all that the system keeps for it, and then nothing
  REQUIRE(socket.has_value());
  plain_end near{*socket}, far{both.came.get_future().get()};
  std::string part(100'000, 'x');
  pollfd look{far.fd, POLLOUT, 0};
  auto cut = false;
  for (std::size_t sent = 0; !cut && sent < (200u << 20) && ::poll(&look, 1, 20'000) == 1;) {
    auto count = ::send(far.fd, part.data(), part.size(), MSG_NOSIGNAL);
    cut = count < 0 && errno != EAGAIN;
    sent += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  CHECK(cut);
}

TEST_CASE("a gate that stops leaves its port", "[fleet]") {
  two_gates both;
  both.server->stop();
  auto next = both.gate(both.authority, both.authority, {});
  CHECK(next->listen({"127.0.0.1", both.port}, [](int) {}).has_value());
  next->stop();
}
