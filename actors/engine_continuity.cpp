#include "actors/engine_continuity.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "store/private_files.hpp"

#include <algorithm>
#include <fstream>

namespace davit {

void engine_continuity::doubt() {
  in_doubt_ = true;
  ++doubts_;
}

std::optional<timestamp> engine_continuity::asks_since(const std::string& engine) const {
  if (!place_ || place_->engine != engine || place_->container.empty())
    return std::nullopt;
  return place_->at;
}

bool engine_continuity::prove(const std::string& engine, const std::string& reported,
                              const std::vector<engine_event>& remembered, timestamp now) {
  in_doubt_ = false;
  auto same = place_ && place_->engine == engine
           && std::any_of(remembered.begin(), remembered.end(), [this](const engine_event& one) {
                return one.at == place_->at && one.id == place_->container;
              });
  if (!same)
    place_ = engine_place{engine, reported, now, {}, {}};
  place_->reported = reported;
  return same;
}

void engine_continuity::saw(const engine_event& created) {
  if (!place_)
    return;
  place_->container = created.id;
  place_->at = created.at;
}

void engine_continuity::load(const std::filesystem::path& file) {
  std::ifstream in{file};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (auto kept = json::read<engine_place>(std::string_view{text}, json::unknown_fields::ignore); kept)
    place_ = std::move(*kept);
}

bool engine_continuity::save(const std::filesystem::path& file) const {
  if (!place_ || in_doubt_)
    return true;
  return !store::replace_private_file(file, json::write(*place_));
}

} // namespace davit
