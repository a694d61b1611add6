#include "policy/image_reference.hpp"

#include <re2/re2.h>

#include <algorithm>

namespace davit {

namespace {

constexpr std::size_t longest_reference = 512, longest_path = 255;

bool matches(std::string_view text, const RE2& pattern) {
  return RE2::FullMatch(re2::StringPiece{text.data(), text.size()}, pattern);
}

bool is_registry(std::string_view part) {
  return part == "localhost" || part.find_first_of(".:") != std::string_view::npos;
}

/// With the registry and the folder that are left out of names at Docker Hub.
std::string full_name(std::string name) {
  auto first = name.substr(0, name.find('/'));
  auto lower = first;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  // One registry has one name: DNS does not tell the cases of letters apart, nor may a policy's pattern. (Docker takes
  // `ME` for a registry, and `me` for a folder at Docker Hub. No name here means that registry.)
  if (first.size() == name.size() || !is_registry(lower))
    name = "docker.io/" + name;
  else
    name.replace(0, lower.size(), lower);
  constexpr std::string_view alias = "index.docker.io/";
  if (name.starts_with(alias))
    name.erase(0, alias.find('.') + 1);
  constexpr std::string_view hub = "docker.io/";
  if (name.starts_with(hub) && name.find('/', hub.size()) == std::string::npos)
    name.insert(hub.size(), "library/");
  return name;
}

} // namespace

bool is_image_id(std::string_view text) {
  static const RE2 id{"[0-9a-f]{64}|sha256:[0-9a-f]+"};
  return matches(text, id);
}

std::optional<std::string> whole_image_id(std::string_view text) {
  static const RE2 id{"(?:sha256:)?[0-9a-f]{64}"};
  if (!matches(text, id))
    return std::nullopt;
  return "sha256:" + std::string{text.substr(text.size() - 64)};
}

std::optional<image_reference> read_image(std::string_view text) {
  if (text.empty() || text.size() > longest_reference || is_image_id(text))
    return std::nullopt;
  // name[:tag][@digest]
  auto at = text.find('@');
  auto named = text.substr(0, at);
  auto slash = named.rfind('/');
  auto colon = named.rfind(':');
  auto tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  image_reference found;
  found.name = full_name(std::string{named.substr(0, tagged ? colon : named.size())});
  static const RE2 name{
    R"((?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?)"
    R"((?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+)"};
  static const RE2 tag{R"(\w[\w.-]{0,127})"};
  static const RE2 digest{"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"};
  if (!matches(found.name, name) || found.name.size() - found.name.find('/') - 1 > longest_path)
    return std::nullopt;
  if (tagged) {
    found.tag = named.substr(colon + 1);
    if (!matches(found.tag, tag))
      return std::nullopt;
  }
  if (at != std::string_view::npos) {
    found.digest = text.substr(at + 1);
    if (!matches(found.digest, digest))
      return std::nullopt;
  }
  if (!tagged && found.digest.empty())
    found.tag = "latest";
  // What it stands for is a reference too.
  if (found.exact().size() > longest_reference)
    return std::nullopt;
  return found;
}

std::optional<std::string> normalise_image(std::string_view text) {
  auto found = read_image(text);
  return found ? std::optional{found->exact()} : std::nullopt;
}

std::string repository_of(std::string_view exact) {
  auto found = read_image(exact);
  return found ? found->name : std::string{};
}

} // namespace davit
