#include "actors/peer_port.hpp"

#include "actors/peer_guard.hpp"
#include "messages/actors.hpp"
#include "transport/io_runtime.hpp"
#include "transport/peer_gate.hpp"

#include <caf/actor_system.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/byte_buffer.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/multiplexer.hpp>
#include <caf/io/scribe.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <spdlog/spdlog.h>

#include <map>
#include <set>
#include <unistd.h>
#include <utility>

namespace davit {

namespace {

using namespace std::chrono_literals;
using interfaces = std::set<std::string>;

constexpr duration longest_connect = 7s;

using connected = caf::typed_response_promise<caf::node_id, caf::strong_actor_ptr, interfaces>;

struct port_state {
  static inline const char* name = "peer_port";
  std::shared_ptr<transport::peer_gate> gate;
  std::map<std::uint64_t, connected> connecting; ///< By number: what the gate is asked for.
  std::uint64_t next = 0;
};

using self_pointer = caf::stateful_actor<port_state>*;

caf::actor broker_of(caf::actor_system& system) {
  return system.middleman().named_broker<caf::io::basp_broker>("BASP");
}

/// Closed with its last copy, unless somebody has taken it.
std::shared_ptr<int> owned(int socket) {
  return {new int{socket}, [](int* one) {
            if (*one >= 0)
              ::close(*one);
            delete one;
          }};
}

/// Runs the work among the actor's messages, if it still lives.
void resume(const caf::weak_actor_ptr& port, std::function<void()> work) {
  if (auto strong = port.lock())
    caf::anon_send(caf::actor_cast<caf::actor>(strong), continuation{std::move(work)});
}

caf::io::scribe_ptr scribe_of(self_pointer self, int& socket) {
  return self->system().middleman().backend().new_scribe(std::exchange(socket, -1));
}

/// The gate has reached a peer, or has not: for the connection of this number.
void on_reached(self_pointer self, std::uint64_t number, std::uint16_t port, const transport::error& why, int& socket) {
  auto entry = self->state.connecting.extract(number);
  auto promise = std::move(entry.mapped());
  if (why.code == engine_errc::tls)
    return promise.deliver(caf::make_error(caf::sec::disconnect_during_handshake));
  if (socket < 0)
    return promise.deliver(make_failure(fleet_errc::unreachable, why.message));
  self->request(broker_of(self->system()), longest_connect, caf::connect_atom_v, scribe_of(self, socket), port)
    .then([promise](const caf::node_id& node, const caf::strong_actor_ptr& there,
                    const interfaces& sigs) mutable { promise.deliver(node, there, sigs); },
          [promise](const caf::error& e) mutable { promise.deliver(e); });
}

/// This agent's node, as it is written in messages.
std::string bytes_of(caf::actor_system& system) {
  caf::byte_buffer bytes;
  caf::binary_serializer sink{system, bytes};
  static_cast<void>(sink.apply(system.node()));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

transport::peer_watch guard(const std::string& own, bool came) {
  return [guard = peer_guard{own, came}](std::string_view bytes) mutable {
    auto good = guard.good(bytes);
    if (!good && !guard.why().empty())
      spdlog::warn("davit ends the connection of a peer that has a certificate of the fleet: {}", guard.why());
    return good;
  };
}

caf::behavior peer_port(self_pointer self, context_ptr context) {
  const auto& peers = context->settings.peers;
  self->state.gate = std::make_shared<transport::peer_gate>(
    context->io, transport::tls_settings{peers.tls_ca, peers.tls_certificate, peers.tls_key},
    [own = bytes_of(self->system())](bool came) { return guard(own, came); });
  self->attach_functor([gate = self->state.gate] { gate->stop(); });
  caf::weak_actor_ptr me{self->ctrl()};
  return {
    [=](caf::publish_atom, const std::string& host, std::uint16_t port, const caf::strong_actor_ptr& whom,
        const interfaces& sigs) -> caf::result<std::uint16_t> {
      auto open = self->state.gate->listen({host, port}, [=](int socket) {
        resume(me, [=, socket = owned(socket)] {
          self->send(broker_of(self->system()), caf::publish_atom_v, scribe_of(self, *socket), port, whom, sigs);
        });
      });
      if (!open)
        return make_failure(fleet_errc::unreachable, open.error().message);
      return *open;
    },
    [=](caf::connect_atom, const std::string& host,
        std::uint16_t port) -> caf::delegated<caf::node_id, caf::strong_actor_ptr, interfaces> {
      auto number = self->state.next++;
      // The promise stays here: it is not for another thread.
      self->state.connecting.emplace(number,
                                     self->make_response_promise<caf::node_id, caf::strong_actor_ptr, interfaces>());
      self->state.gate->connect({host, port}, transport::within(longest_connect), [=](transport::result<int> reached) {
        auto why = reached ? transport::error{} : reached.error();
        resume(me, [=, socket = owned(reached ? *reached : -1)] { on_reached(self, number, port, why, *socket); });
      });
      return {};
    },
    [](const continuation& work) { work.run(); },
  };
}

} // namespace

caf::actor spawn_peer_port(caf::actor_system& system, const context_ptr& context) {
  return system.spawn(peer_port, context);
}

} // namespace davit
