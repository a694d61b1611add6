#include "actors/peer_guard.hpp"

#include "messages/actors.hpp"

#include <caf/exit_reason.hpp>
#include <caf/io/basp/header.hpp>
#include <caf/message_id.hpp>
#include <caf/sec.hpp>

#include <algorithm>
#include <vector>

namespace davit {

namespace {

using caf::io::basp::header;
using caf::io::basp::header_size;
using operation = caf::io::basp::message_type;

constexpr std::size_t longest_head = 64 << 10; ///< What is judged as a whole is shorter. The longest are errors' texts.
constexpr std::size_t longest_text = 1024;     ///< Of names.
constexpr std::size_t most_names = 256;        ///< Of an actor's interface, in a handshake.
constexpr std::size_t most_types = 8;          ///< Of the values in a message, or in an error.

/// Reads what CAF's binary_serializer has written.
class value_reader {
public:
  explicit value_reader(std::string_view bytes) : left_(bytes) {}

  /// False: something was not there, or not what it should be. All that is read then is empty.
  bool good() const { return good_; }
  bool at_end() const { return good_ && left_.empty(); }

  std::string_view bytes(std::size_t count) {
    if (!good_ || left_.size() < count) {
      good_ = false;
      return {};
    }
    auto taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }

  /// Big-endian, of as many bytes.
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (auto one : bytes(size))
      value = value << 8 | static_cast<unsigned char>(one);
    return value;
  }

  /// Seven bits in each byte, the lowest first.
  std::size_t length(std::size_t most) {
    std::size_t value = 0;
    for (unsigned shift = 0; good_; shift += 7) {
      auto part = number(1);
      value |= (part & 0x7f) << shift;
      good_ = good_ && shift < 28 && value <= most;
      if ((part & 0x80) == 0)
        break;
    }
    return good_ ? value : 0;
  }

  void text(std::size_t most = longest_text) { bytes(length(most)); }

  /// Each agent has one of this form: a process and a host. CAF knows others, which it parses.
  std::string_view node() {
    constexpr std::size_t size = 1 + 4 + 20;
    auto whole = bytes(size);
    good_ = good_ && whole.front() == 1;
    return good_ ? whole : std::string_view{};
  }

  /// The id of an actor of this node; 0: none.
  std::uint64_t actor_of(std::string_view node_bytes) {
    auto id = number(8);
    if (good_ && left_.starts_with('\xff')) { // no node
      require(id == 0);
      bytes(1);
    } else {
      require(node() == node_bytes);
    }
    return good_ ? id : 0;
  }

  std::vector<caf::type_id_t> types() {
    std::vector<caf::type_id_t> all(length(most_types));
    for (auto& one : all)
      one = static_cast<caf::type_id_t>(number(2));
    return all;
  }

  void require(bool holds) { good_ = good_ && holds; }

private:
  std::string_view left_;
  bool good_ = true;
};

template <class... Ts>
std::vector<caf::type_id_t> types_of() {
  return {caf::type_id_v<Ts>...};
}

/// CAF prints a code as what its category says, whatever that is.
bool can_be_printed(caf::type_id_t category, std::size_t code) {
  if (category == caf::type_id_v<caf::sec> || category == caf::type_id_v<caf::exit_reason>)
    return true;
  if (category == caf::type_id_v<store_errc>)
    return code < store_errc_names.names.size();
  if (category == caf::type_id_v<engine_errc>)
    return code < engine_errc_names.names.size();
  if (category == caf::type_id_v<log_errc>)
    return code < log_errc_names.names.size();
  return category == caf::type_id_v<fleet_errc> && code < fleet_errc_names.names.size();
}

/// With texts alone: an error may hold any message, and that other errors.
void read_error(value_reader& from) {
  if (from.number(1) == 0)
    return;
  auto code = from.number(1);
  auto category = static_cast<caf::type_id_t>(from.number(2));
  from.require(can_be_printed(category, code));
  for (auto type : from.types()) {
    from.require(type == caf::type_id_v<std::string>);
    from.text(longest_head);
  }
}

void read_hello(value_reader& from) {
  from.number(4);
  for (int i = 0; i < 3; ++i) // fleet, agent, version
    from.text();
}

} // namespace

bool peer_guard::good(std::string_view bytes) {
  while (!bytes.empty()) {
    if (header_.size() < header_size) {
      auto count = std::min(header_size - header_.size(), bytes.size());
      header_ += bytes.substr(0, count);
      bytes.remove_prefix(count);
      if (header_.size() < header_size)
        return true;
      if (!begin_message())
        return false;
    } else {
      auto count = std::min(left_, bytes.size());
      head_ += bytes.substr(0, std::min(count, longest_head - head_.size()));
      bytes.remove_prefix(count);
      left_ -= count;
    }
    if (!judged_ && (left_ == 0 || head_.size() == longest_head)) {
      if (!judge())
        return false;
      judged_ = true;
    }
    if (left_ == 0)
      header_.clear();
  }
  return true;
}

bool peer_guard::refuse(std::string_view why) {
  why_ = why;
  return false;
}

bool peer_guard::begin_message() {
  value_reader from{header_};
  operation_ = static_cast<std::uint8_t>(from.number(1));
  from.bytes(2); // padding
  flags_ = static_cast<std::uint8_t>(from.number(1));
  left_ = from.number(4);
  data_ = from.number(8);
  source_ = from.number(8);
  destination_ = from.number(8);
  head_.clear();
  judged_ = false;
  return left_ <= most_.message || refuse("it announces a message that is too long");
}

/// When the payload is complete; or, if it is long, when enough of it has come to know what it is.
bool peer_guard::judge() {
  auto what = static_cast<operation>(operation_);
  auto is_handshake = what == operation::server_handshake || what == operation::client_handshake;
  if (is_handshake || peer_.empty())
    return judge_handshake();
  if (what == operation::heartbeat)
    return head_.empty() || refuse("a heartbeat has a payload");
  if (peer_ == own_) // it goes as soon as it has found out
    return refuse("");
  if (what == operation::direct_message)
    return judge_message();
  if ((what != operation::monitor_message && what != operation::down_message) || left_ != 0)
    return refuse("this is not a message between agents");
  value_reader from{head_};
  from.require(from.node() == peer_ && from.node() == own_);
  if (what == operation::down_message)
    read_error(from);
  return from.at_end() || refuse("it speaks of an actor's end as no agent does");
}

/// The first message, and no other: each one more would stand for another node.
bool peer_guard::judge_handshake() {
  if (!peer_.empty() || left_ != 0
      || static_cast<operation>(operation_) != (came_ ? operation::client_handshake : operation::server_handshake))
    return refuse("it does not begin with the handshake, once");
  value_reader from{head_};
  auto node = from.node();
  if (!came_) {
    for (auto count = from.length(most_names); count > 0; --count) // applications
      from.text();
    from.require(knows(from.number(8)));
    for (auto count = from.length(most_names); count > 0; --count) // the actor's interface
      from.text();
  }
  peer_ = node;
  return from.at_end() || refuse("its handshake is not that of an agent");
}

/// CAF makes something for each actor that is named, until the connection ends.
bool peer_guard::knows(std::uint64_t actor) {
  if (actor != 0)
    actors_.insert(actor);
  return actors_.size() <= most_.actors;
}

bool peer_guard::judge_message() {
  caf::message_id id{data_};
  if (id.is_stream_message() || !knows(source_) || (source_ == 0 && !id.is_response()))
    return refuse("it names too many actors, none, or a stream");
  value_reader from{head_};
  from.require(from.number(1) == 0); // through how many other actors
  auto types = from.types();
  auto read_actor = [&] { from.require(knows(from.actor_of(peer_))); }; // none of ours
  auto named = flags_ != 0;
  if (id.is_response()) {
    if (types == types_of<log_page>() && !named && from.good())
      return true; // as long as it is
    if (types == types_of<peer_hello>())
      read_hello(from);
    else if (types == types_of<caf::error>())
      read_error(from);
    else
      from.require(types.empty() || types == types_of<caf::unit_t>());
  } else if (types == types_of<hello_atom, peer_hello, caf::strong_actor_ptr>()) {
    read_hello(from);
    read_actor();
    from.require(id.is_request());
  } else if (types == types_of<read_atom, log_query>()) {
    return (from.good() && left_ == 0 && !named && id.is_request() && head_.size() <= longest_text)
        || refuse("its question for a log is none");
  } else if (types == types_of<caf::sys_atom, caf::get_atom, std::string>()) {
    // CAF's middleman asks each new node where it spawns actors.
    from.text();
    named = flags_ != header::named_receiver_flag || destination_ != header::spawn_server_id;
  } else if (types == types_of<caf::ok_atom, std::string, caf::strong_actor_ptr, std::string>()) {
    from.text();
    read_actor();
    from.text();
  } else {
    from.require(types == types_of<news_atom>() || (types == types_of<drain_atom>() && id.is_request()));
  }
  return (from.at_end() && left_ == 0 && !named) || refuse("this is not a message between agents");
}

} // namespace davit
