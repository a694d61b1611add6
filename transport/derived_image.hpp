// An image that is another one with a layer more, for `POST /images/load`. No I/O in here.
// Source: OCI image specification 1.0, config.md; `docker save`'s manifest.json (moby, image/tarexport).
#pragma once

#include "transport/error.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace davit::transport {

/// What `GET /images/{name}/json` tells of an image that another one is made from.
struct image_origin {
  std::string architecture, variant, os, created;
  std::string config;              ///< JSON, as the engine wrote it: command, environment, labels and so on.
  std::vector<std::string> layers; ///< Digests of its layers' tars.
  std::set<std::string> volumes;   ///< The paths that it wants volumes for.
};

result<image_origin> read_origin(std::string_view body);

/// The configuration of the derived image: the origin's, with one layer more. The same at each time, so that an image
/// that is made twice is one image.
std::string derived_config(const image_origin& origin, const std::string& layer_digest);

/// The archive's manifest.json. The engine has the origin's layers, so the archive has none of these.
std::string derived_manifest(const image_origin& origin, const std::string& name, const std::string& config_file,
                             const std::string& layer_file);

} // namespace davit::transport
