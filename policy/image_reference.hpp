// What a task's `image` names. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace davit {

/// An image reference in its parts. Source: distribution/reference, grammar and normalisation.
struct image_reference {
  std::string name;   ///< The registry and the repository: `docker.io/library/alpine`.
  std::string tag;    ///< `latest`, if the reference has neither tag nor digest.
  std::string digest; ///< `sha256:...`; empty: none.

  /// What an engine resolves, in full: next to a digest it does not look at the tag.
  std::string exact() const { return name + (digest.empty() ? ":" + tag : "@" + digest); }
  /// With the tag that the engine does not look at.
  std::string whole() const { return name + (tag.empty() ? "" : ":" + tag) + (digest.empty() ? "" : "@" + digest); }
};

/// No value: the text is not an image reference, or it is an image's id.
std::optional<image_reference> read_image(std::string_view text);

/// The exact name that a reference stands for: `alpine` is `docker.io/library/alpine:latest`. An engine can't take it
/// for an image's id, nor for the beginning of one, as it may take `7ee2`. No value: see read_image.
std::optional<std::string> normalise_image(std::string_view text);

/// Whether the text is an image's id (with `sha256:` or without), or the beginning of one behind `sha256:`.
bool is_image_id(std::string_view text);

/// `sha256:` and the 64 digits of an image's whole id. No value: the text is not one.
std::optional<std::string> whole_image_id(std::string_view text);

/// The registry of the images that davit makes on engines, of tasks' images and inputs. No such registry can exist
/// (RFC 2606), and no task can name one of them.
inline constexpr std::string_view reserved_registry = "davit.invalid/";

/// Whether an exact name is one of these.
inline bool is_reserved(std::string_view exact) {
  return exact.starts_with(reserved_registry);
}

/// The registry and the repository of an exact name: `docker.io/library/alpine`. Empty for an image's id.
std::string repository_of(std::string_view exact);

} // namespace davit
