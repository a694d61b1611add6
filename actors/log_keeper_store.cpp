// Logs on their way to the store and back.
#include "actors/log_keeper_state.hpp"

#include "encoding/base64.hpp"

#include <spdlog/spdlog.h>

namespace davit::log_keeping {

namespace {

constexpr std::uint32_t most_shipped = 256; // blocks of 1 MiB, compressed

void ship_block(self_pointer self, attempt_key key, std::uint32_t index) {
  auto path = self->state.path_of(key);
  auto count = store::packed_blocks(path);
  auto small = count == 0 && store::log_exists(path); // it is not compressed here
  if (small)
    count = 1;
  auto next = [self] {
    self->state.shipping = false;
    self->state.to_ship.pop_front();
    ship(self);
  };
  if (index >= count || count > most_shipped) {
    if (count > most_shipped)
      spdlog::warn("the log of task {} is too large for the store: it is kept here alone", to_string(key.task));
    return next();
  }
  auto bytes = small ? store::pack_small(path) : store::read_packed(path, index);
  if (!bytes) {
    spdlog::warn("a log was not put into the store: {}", bytes.error().message);
    return next();
  }
  self->request(self->state.store, caf::infinite, log_atom_v, key, index, count, encoding::base64_encode(*bytes))
    .then([=] { ship_block(self, key, index + 1); },
          [=](const caf::error& e) {
            spdlog::warn("a log was not put into the store yet: {}", text_of(e));
            self->run_delayed(std::chrono::seconds{2}, [=] { ship_block(self, key, index); });
          });
}

/// Answers those who wait for a log: out of `packed`, or with what is here by now. `failure`: why the store gave
/// nothing.
void end_fetch(self_pointer self, const attempt_key& key, std::string_view packed, const caf::error& failure) {
  auto waiting = std::exchange(self->state.fetching[key], {});
  self->state.fetching.erase(key);
  for (auto& one : waiting) {
    if (packed.empty() && !one.sink.empty() && !self->state.is_here(key)) {
      one.promise.deliver(failure);
    } else if (packed.empty()) {
      give_or_wait(self, std::move(one));
    } else if (auto page = store::read_packed_log(packed, one.query.offset, one.query.max_bytes); !page) {
      one.promise.deliver(to_caf(page.error()));
    } else if (!one.sink.empty() && page->records.empty() && !page->finished) { // it would wait for ever
      one.promise.deliver(make_failure(log_errc::damaged, "no record begins there in the log that the store has"));
    } else {
      one.promise.deliver(std::move(*page));
    }
  }
}

void fetch_block(self_pointer self, attempt_key key, std::shared_ptr<store::packed_writer> to, std::uint32_t index) {
  auto missing = [] { return make_failure(log_errc::missing, "nothing of the log is kept"); };
  self->request(self->state.store, caf::infinite, log_atom_v, key, index)
    .then(
      [=](const log_block& block) {
        auto bytes = block.count == 0 ? std::nullopt : encoding::base64_decode(block.bytes);
        if (bytes && block.count == 1)
          return end_fetch(self, key, *bytes, {});
        if (!bytes)
          return end_fetch(self, key, {}, missing());
        if (auto added = to->add(*bytes); !added)
          return end_fetch(self, key, {}, to_caf(added.error()));
        if (index + 1 < block.count)
          return fetch_block(self, key, to, index + 1);
        if (auto done = to->finish(); !done)
          spdlog::warn("a log from the store was not kept: {}", done.error().message);
        end_fetch(self, key, {}, missing());
      },
      [=](const caf::error& e) { end_fetch(self, key, {}, e); });
}

} // namespace

void ship(self_pointer self) {
  auto& state = self->state;
  if (state.shipping || state.to_ship.empty() || !state.store)
    return;
  state.shipping = true;
  ship_block(self, state.to_ship.front(), 0);
}

void fetch(self_pointer self, reader who) {
  auto key = who.query.key;
  auto& waiting = self->state.fetching[key];
  waiting.push_back(std::move(who));
  if (waiting.size() == 1)
    fetch_block(self, key, std::make_shared<store::packed_writer>(self->state.path_of(key)), 0);
}

} // namespace davit::log_keeping
