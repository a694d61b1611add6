#include "actors/sandbox_stock.hpp"

#include "actors/sandbox_plan.hpp"

#include <algorithm>
#include <tuple>

namespace davit {

namespace {

/// That wait or are being made, of sandboxes or of networks.
std::size_t kept(const std::vector<stock_kind>& kinds, bool networks) {
  std::size_t count = 0;
  for (const auto& kind : kinds)
    count += kind.network == networks ? kind.ready.size() + kind.making : 0;
  return count;
}

} // namespace

std::vector<stock_order>
plan_stock(std::vector<stock_kind> kinds, std::uint32_t making, std::uint32_t most, stock_kind::time_point now) {
  std::vector<stock_order> orders;
  auto give_up = [&](stock_kind& kind) {
    kind.ready.pop_front();
    orders.push_back({stock_action::give_up, kind.name});
  };
  auto make = [&](stock_kind& kind) {
    ++kind.making;
    ++making;
    orders.push_back({stock_action::make, kind.name});
  };
  for (auto& kind : kinds)
    while (kind.ready.size() > kind.wanted || (!kind.ready.empty() && now - kind.ready.front() > sandbox_patience / 2))
      give_up(kind);
  std::erase_if(kinds, [&](const stock_kind& kind) {
    auto forgotten = kind.wanted == 0 && kind.making == 0 && kind.waiting == 0;
    if (forgotten)
      orders.push_back({stock_action::forget, kind.name});
    return forgotten;
  });
  std::sort(kinds.begin(), kinds.end(),
            [](const auto& a, const auto& b) { return std::tie(b.asked, b.name) < std::tie(a.asked, a.name); });
  for (auto& kind : kinds) {
    if (now < kind.not_before)
      continue;
    while (kind.making < kind.waiting)
      make(kind);
    while (kind.ready.size() + kind.making < kind.wanted && making < made_at_once) {
      if (kept(kinds, kind.network) >= most) {
        auto victim = std::find_if(kinds.rbegin(), kinds.rend(), [&](const auto& other) {
          return other.network == kind.network && !other.ready.empty();
        });
        if (victim == kinds.rend() || victim->asked >= kind.asked)
          break;
        give_up(*victim);
      }
      make(kind);
    }
  }
  return orders;
}

} // namespace davit
