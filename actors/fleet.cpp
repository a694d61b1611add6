#include "actors/fleet.hpp"

#include "actors/fleet_roster.hpp"
#include "actors/peer_port.hpp"
#include "encoding/printable.hpp"
#include "transport/endpoint.hpp"
#include "transport/resolver.hpp"

#include <caf/actor_system.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/middleman_actor.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <set>

namespace davit {

namespace {

using namespace std::chrono_literals;

constexpr duration look_interval = 2s;

using place = transport::host_and_port;

peer_hello hello_of(const context_ptr& context) {
  return {peer_hello::current_protocol, context->settings.fleet, context->settings.name, DAVIT_VERSION};
}

/// Why the two are not of one fleet; empty if they are.
std::string why_stranger(const peer_hello& mine, const peer_hello& theirs) {
  if (theirs.fleet != mine.fleet)
    return "agent " + theirs.agent + " is of the fleet \"" + theirs.fleet + "\", this is \"" + mine.fleet
         + "\" (davit.fleet.name)";
  if (theirs.protocol != mine.protocol)
    return "agent " + theirs.agent + " (davit " + theirs.version + ") speaks version " + std::to_string(theirs.protocol)
         + " of the agents' protocol, this one (davit " + mine.version + ") " + std::to_string(mine.protocol)
         + "; upgrade the older one";
  if (theirs.agent == mine.agent)
    return "another agent named " + theirs.agent;
  return {};
}

// -- what peers may ask
// ------------------------------------------------------------------------------------------------

/// That wait for pages of logs, of all peers together.
constexpr std::size_t most_readers = 4096;
constexpr duration longest_wait = 60s;

struct peer_state {
  static inline const char* name = "peer";
  context_ptr context;
  fleet_handles handles;
  fleet_actor fleet;
  std::size_t readers = 0;
  std::string refused; ///< Why somebody was refused last: said once.
};

using peer_pointer = peer_actor::stateful_pointer<peer_state>;

caf::error turn_away(peer_pointer self, const std::string& why) {
  if (std::exchange(self->state.refused, why) != why)
    spdlog::error("refused a peer: {}", encoding::printable(why));
  return make_failure(fleet_errc::stranger, why);
}

/// Why the two are not agents of the fleet by what the store says; empty if they are.
std::string why_refused(const std::vector<agent_status>& agents, const agent_settings& mine, const peer_hello& theirs) {
  auto why = why_not_listed(agents, mine.name, mine.home);
  return why.empty() && !find_living(agents, theirs.agent) ? "agent " + theirs.agent + " has no lease in the store"
                                                           : why;
}

/// Who says hello is let in if the store knows it. The fleet finds out whether it is the one that it says it is.
caf::result<peer_hello> answer_hello(peer_pointer self, const peer_hello& theirs, const caf::strong_actor_ptr& there) {
  auto& state = self->state;
  auto mine = hello_of(state.context);
  if (auto why = why_stranger(mine, theirs); !why.empty())
    return turn_away(self, why);
  if (!state.handles.store)
    return make_failure(fleet_errc::unreachable, "agent " + mine.agent + " has no store to ask for its peers");
  auto promise = self->make_response_promise<peer_hello>();
  self->request(state.handles.store, 10s, agents_atom_v)
    .then(
      [=](const std::vector<agent_status>& agents) mutable {
        if (auto why = why_refused(agents, self->state.context->settings, theirs); !why.empty())
          return promise.deliver(turn_away(self, why));
        self->send(self->state.fleet, hello_atom_v, theirs, there);
        promise.deliver(std::move(mine));
      },
      [=](const caf::error& e) mutable {
        promise.deliver(
          make_failure(fleet_errc::unreachable, "agent " + mine.agent + " can't ask the store: " + text_of(e)));
      });
  return promise;
}

peer_actor::behavior_type peer(peer_pointer self, context_ptr context, fleet_handles handles, fleet_actor fleet) {
  self->state.fleet = std::move(fleet);
  self->state.context = context;
  self->state.handles = std::move(handles);
  return {
    [=](hello_atom, const peer_hello& theirs, const caf::strong_actor_ptr& there) {
      return answer_hello(self, theirs, there);
    },
    [=](news_atom) {
      if (self->state.handles.store)
        self->send(self->state.handles.store, news_atom_v);
    },
    [=](read_atom, const log_query& query) -> caf::result<log_page> {
      if (self->state.readers >= most_readers)
        return make_failure(fleet_errc::unreachable, "this agent's peers read too many logs at a time");
      ++self->state.readers;
      auto asked = query;
      asked.wait = std::clamp<duration>(query.wait, 0s, longest_wait);
      auto promise = self->make_response_promise<log_page>();
      self->request(self->state.handles.logs, caf::infinite, read_atom_v, asked)
        .then(
          [self, promise](log_page& page) mutable {
            --self->state.readers;
            promise.deliver(std::move(page));
          },
          [self, promise](const caf::error& e) mutable {
            --self->state.readers;
            promise.deliver(e);
          });
      return promise;
    },
    [=](drain_atom) -> caf::result<void> {
      spdlog::info("another agent has asked this one to drain");
      self->send(self->state.handles.supervisor, drain_atom_v);
      return caf::unit;
    },
    [=](wire_atom, const fleet_handles& now) { self->state.handles = now; },
  };
}

// -- the fleet
// ---------------------------------------------------------------------------------------------------------

struct fleet_state {
  static inline const char* name = "fleet";

  context_ptr context;
  fleet_handles handles;
  caf::actor port; ///< Speaks TLS with peers.
  peer_actor own;
  std::map<std::string, peer_actor> peers;             ///< By name, one for each node; said hello.
  std::set<std::string> proven;                        ///< Of those: found at the address that the store tells.
  std::set<std::string> connecting;                    ///< Addresses that are being tried.
  bool listed = false;                                 ///< This agent itself has a lease, as the store tells.
  std::map<std::string, std::string> known;            ///< Address by agent, as the store tells.
  std::map<std::string, std::set<std::string>> places; ///< Addresses by agent, where it was reached.
  std::set<std::string> own_places;                    ///< Addresses where this agent has found itself.
  std::map<std::string, std::string> complaints;       ///< By address: said once.
  bool closed = false;                                 ///< For good: its port is not safe.
};

using self_pointer = fleet_actor::stateful_pointer<fleet_state>;

void complain(self_pointer self, const std::string& address, const std::string& what) {
  auto& before = self->state.complaints[address];
  if (before != what)
    spdlog::warn("the agent at {} is not a peer: {}", address, encoding::printable(what));
  before = what;
}

void connect(self_pointer self, const std::string& address);

/// Anybody with a certificate may call itself by any name. So whoever answers at the address that the store tells is
/// the agent; somebody who came from elsewhere counts only as long as that one was not found.
void welcome(self_pointer self, const peer_hello& theirs, peer_actor there, const std::string& address) {
  auto& state = self->state;
  state.complaints.erase(address);
  const auto& told = state.known[theirs.agent];
  auto proves = !address.empty() && address == told;
  auto& entry = state.peers[theirs.agent];
  if (entry && entry != there && !proves)
    return connect(self, told);
  if (proves)
    state.proven.insert(theirs.agent);
  if (!address.empty())
    state.places[theirs.agent].insert(address);
  if (entry == there)
    return;
  entry = there;
  std::erase_if(state.peers, [&](const auto& one) {
    auto renamed = one.first != theirs.agent && one.second.node() == there.node(); // it calls itself otherwise now
    if (renamed)
      state.proven.erase(one.first);
    return renamed;
  });
  spdlog::info("agent {} (davit {}) is a peer now", encoding::printable(theirs.agent),
               encoding::printable(theirs.version));
  self->monitor(there);
  if (!proves)
    connect(self, told);
  if (state.handles.store) // what it has done while it was not heard
    self->send(state.handles.store, news_atom_v);
}

void say_hello(self_pointer self, const std::string& address, peer_actor there) {
  auto mine = hello_of(self->state.context);
  self->request(there, 10s, hello_atom_v, mine, caf::actor_cast<caf::strong_actor_ptr>(self->state.own))
    .then(
      [=](const peer_hello& theirs) {
        auto& state = self->state;
        state.connecting.erase(address);
        if (auto why = why_stranger(mine, theirs); !why.empty())
          return complain(self, address, why);
        if (!state.known.contains(theirs.agent))
          return complain(self, address, "agent " + theirs.agent + " has no lease in the store");
        welcome(self, theirs, there, address);
      },
      [=](const caf::error& e) {
        self->state.connecting.erase(address);
        complain(self, address, text_of(e));
      });
}

void connect(self_pointer self, const std::string& address) {
  auto& state = self->state;
  auto where = transport::parse_host_and_port(address);
  if (!where || !state.connecting.insert(address).second)
    return;
  self->request(state.port, 15s, caf::connect_atom_v, where->host, where->port)
    .then(
      [=](const caf::node_id& node, caf::strong_actor_ptr& there, const std::set<std::string>&) {
        if (!there || node == self->system().node()) { // this agent itself
          self->state.connecting.erase(address);
          self->state.own_places.insert(address);
          return;
        }
        say_hello(self, address, caf::actor_cast<peer_actor>(there));
      },
      [=](const caf::error& e) {
        self->state.connecting.erase(address);
        complain(self, address,
                 e == caf::sec::disconnect_during_handshake
                   ? "the TLS handshake failed: is its certificate, or this agent's, signed by the fleet's authority "
                     "(davit.fleet.tls-ca)?"
                   : text_of(e));
      });
}

std::string own_address(const fleet_state& state) {
  const auto& peers = state.context->settings.peers;
  return peers.advertise.empty() ? peers.listen : peers.advertise;
}

void connect_if_new(self_pointer self, const std::string& address) {
  auto& state = self->state;
  auto reached = std::any_of(state.places.begin(), state.places.end(), [&](const auto& one) {
    return one.second.contains(address) && state.peers.contains(one.first);
  });
  if (state.listed && address != own_address(state) && !reached && !state.own_places.contains(address))
    connect(self, address);
}

void look(self_pointer self) {
  auto& state = self->state;
  if (state.closed)
    return;
  auto own = own_address(state);
  // A name may stand for many: that of a headless service, for every agent.
  for (const auto& address : state.context->settings.peers.peers)
    if (auto where = transport::parse_host_and_port(address))
      transport::resolve_addresses(
        state.context->io, where->host,
        [address, self = caf::actor_cast<caf::weak_actor_ptr>(fleet_actor{self})](std::vector<std::string> found) {
          if (auto strong = self.lock())
            caf::anon_send(caf::actor_cast<fleet_actor>(strong), find_atom_v, address, std::move(found));
        });
  if (!state.handles.store)
    return;
  self->request(state.handles.store, 10s, agents_atom_v)
    .then(
      [self, own](const std::vector<agent_status>& agents) {
        auto& state = self->state;
        const auto& mine = state.context->settings;
        state.listed = why_not_listed(agents, mine.name, mine.home).empty();
        state.known = addresses_of(agents);
        if (!state.listed)
          return;
        for (const auto& [name, address] : state.known)
          if (address != own && name != mine.name && !state.proven.contains(name))
            connect(self, address);
      },
      [](const caf::error&) {});
}

/// Whoever speaks without TLS must not be heard. If they are, this agent stays without peers. It is not tried again:
/// each try would open the port for a moment.
void prove_closed(self_pointer self, const place& where) {
  auto host = where.host == "0.0.0.0" || where.host == "::" ? "127.0.0.1" : where.host;
  self->request(self->system().middleman().actor_handle(), 5s, caf::connect_atom_v, host, where.port)
    .then(
      [self](const caf::node_id&, caf::strong_actor_ptr&, const std::set<std::string>&) {
        spdlog::critical("the fleet's port accepts peers without certificates, which is not safe: davit closes it, and "
                         "this agent has no peers until it restarts");
        self->state.closed = true;
        self->unlink_from(self->state.port);
        self->send_exit(self->state.port, caf::exit_reason::user_shutdown);
        self->unlink_from(self->state.own);
        self->send_exit(self->state.own, caf::exit_reason::user_shutdown);
      },
      [self](const caf::error&) {
        spdlog::info("peers find this agent at {}", own_address(self->state));
        look(self);
      });
}

fleet_actor::behavior_type fleet(self_pointer self, context_ptr context, fleet_handles handles) {
  auto& state = self->state;
  state.context = context;
  state.handles = handles;
  state.own = self->spawn<caf::linked>(peer, context, std::move(handles), fleet_actor{self});
  self->set_down_handler([self](const caf::down_msg& down) {
    for (auto one = self->state.peers.begin(); one != self->state.peers.end(); ++one)
      if (one->second.address() == down.source) {
        spdlog::warn("agent {} is not a peer any more: {}", encoding::printable(one->first),
                     encoding::printable(caf::to_string(down.reason)));
        self->state.proven.erase(one->first);
        self->state.peers.erase(one);
        break;
      }
  });
  auto where = transport::parse_host_and_port(context->settings.peers.listen);
  if (!where) {
    self->quit(make_failure(fleet_errc::unreachable, "davit.fleet.listen: write host:port"));
    return fleet_actor::behavior_type::make_empty_behavior();
  }
  state.port = spawn_peer_port(self->system(), context);
  self->link_to(state.port);
  // The port is free when the fleet's next actor comes to it.
  self->attach_functor([port = state.port] { caf::anon_send_exit(port, caf::exit_reason::user_shutdown); });
  auto interfaces = self->system().message_types(state.own);
  self
    ->request(state.port, 15s, caf::publish_atom_v, where->host, where->port,
              caf::actor_cast<caf::strong_actor_ptr>(state.own), std::move(interfaces))
    .then([self, place = *where](std::uint16_t) { prove_closed(self, place); },
          [self, listen = context->settings.peers.listen](const caf::error& e) {
            self->quit(
              make_failure(fleet_errc::unreachable, "peers can't be listened to at " + listen + ": " + text_of(e)));
          });
  self->delayed_send(self, look_interval, tick_atom_v);
  auto peer_of = [self](const std::string& agent) -> peer_actor {
    auto found = self->state.peers.find(agent);
    return found == self->state.peers.end() ? peer_actor{} : found->second;
  };
  // Peers have its address, for answers: they may ask the actor that is theirs, and no other.
  auto is_from_here = [self] {
    const auto& sender = self->current_sender();
    return !sender || sender->node() == self->system().node();
  };
  return {
    [=](news_atom) {
      if (is_from_here())
        for (auto& [name, one] : self->state.peers)
          self->send(one, news_atom_v);
    },
    [=](read_atom, const std::string& agent, const log_query& query) -> caf::result<log_page> {
      auto there = peer_of(agent);
      if (!there)
        return make_failure(fleet_errc::unreachable, "agent " + agent + ", which keeps this log, can't be reached");
      auto promise = self->make_response_promise<log_page>();
      self->request(there, query.wait + 15s, read_atom_v, query)
        .then(
          [promise, agent](log_page& page) mutable {
            if (page.ends.size() == page.records.size())
              promise.deliver(std::move(page));
            else
              promise.deliver(
                make_failure(fleet_errc::unreachable, "agent " + agent + " sent a page that is not valid"));
          },
          [promise, agent](const caf::error&) mutable {
            promise.deliver(
              make_failure(fleet_errc::unreachable, "agent " + agent + ", which keeps this log, can't be reached"));
          });
      return promise;
    },
    [=](drain_atom, const std::string& agent) -> caf::result<void> {
      auto there = peer_of(agent);
      if (!there)
        return make_failure(fleet_errc::unreachable, "there is no agent " + agent + " that can be reached");
      auto promise = self->make_response_promise<void>();
      self->request(there, 15s, drain_atom_v)
        .then([promise]() mutable { promise.deliver(); },
              [promise](const caf::error& e) mutable { promise.deliver(e); });
      return promise;
    },
    [=](hello_atom, const peer_hello& theirs, const caf::strong_actor_ptr& there) {
      if (there && is_from_here())
        welcome(self, theirs, caf::actor_cast<peer_actor>(there), "");
    },
    [=](list_atom) {
      std::vector<std::string> names;
      for (const auto& [name, one] : self->state.peers)
        names.push_back(name);
      return names;
    },
    [=](find_atom, const std::string& peer, const std::vector<std::string>& addresses) {
      auto where = transport::parse_host_and_port(peer);
      if (addresses.empty())
        complain(self, peer, "its name can't be resolved");
      for (const auto& one : addresses)
        connect_if_new(self, (one.find(':') == std::string::npos ? one : '[' + one + ']') + ':'
                               + std::to_string(where->port));
    },
    [=](tick_atom) {
      self->delayed_send(self, look_interval, tick_atom_v);
      look(self);
    },
    [=](wire_atom, const fleet_handles& now) {
      auto& state = self->state;
      state.handles = now;
      // The peer's own actor uses the same.
      self->send(state.own, wire_atom_v, now);
    },
  };
}

} // namespace

fleet_actor spawn_fleet(caf::actor_system& system, context_ptr context, fleet_handles handles) {
  return system.spawn(fleet, std::move(context), std::move(handles));
}

} // namespace davit
