#include "transport/derived_image.hpp"

#include "json/read.hpp"
#include "json/write.hpp"

namespace davit::transport {

namespace {

struct raw_rootfs {
  std::vector<std::string> Layers;
};
template <class Inspector>
bool inspect(Inspector& f, raw_rootfs& x) {
  return f.object(x).fields(f.field("Layers", x.Layers));
}

struct raw_origin {
  std::string Architecture, Variant, Os, Created;
  raw_rootfs RootFS;
};
template <class Inspector>
bool inspect(Inspector& f, raw_origin& x) {
  return f.object(x).fields(f.field("Architecture", x.Architecture), f.field("Variant", x.Variant), f.field("Os", x.Os),
                            f.field("Created", x.Created), f.field("RootFS", x.RootFS));
}

json::array strings(const std::vector<std::string>& all) {
  json::array list;
  for (const auto& one : all)
    list.emplace_back(one);
  return list;
}

} // namespace

result<image_origin> read_origin(std::string_view body) {
  json::parser parser;
  auto root = parser.parse(body);
  if (!root)
    return error{engine_errc::protocol, 0, "the engine's answer is malformed: " + root.error().text()};
  auto raw = json::read<raw_origin>(*root, json::unknown_fields::ignore);
  if (!raw)
    return error{engine_errc::protocol, 0, "the engine's answer is malformed: " + raw.error().text()};
  image_origin origin;
  origin.architecture = std::move(raw->Architecture);
  origin.variant = std::move(raw->Variant);
  origin.os = std::move(raw->Os);
  origin.created = std::move(raw->Created);
  origin.layers = std::move(raw->RootFS.Layers);
  json::element config, volumes;
  if ((*root)["Config"].get(config) != simdjson::SUCCESS || !config.is_object() || origin.layers.empty()
      || origin.architecture.empty() || origin.os.empty())
    return error{engine_errc::protocol, 0, "the engine's answer is malformed: an image without Config or RootFS"};
  origin.config = simdjson::minify(config);
  simdjson::dom::object paths;
  if (config["Volumes"].get(paths) == simdjson::SUCCESS)
    for (auto [path, nothing] : paths)
      origin.volumes.emplace(path);
  return origin;
}

std::string derived_config(const image_origin& origin, const std::string& layer_digest) {
  auto layers = strings(origin.layers);
  layers.emplace_back(layer_digest);
  json::object config{{"architecture", origin.architecture}, {"os", origin.os}};
  if (!origin.variant.empty())
    config["variant"] = origin.variant;
  json::object event{{"comment", "davit: the inputs of a task"}};
  if (!origin.created.empty()) {
    config["created"] = origin.created;
    event["created"] = origin.created;
  }
  config["rootfs"] = json::object{{"type", "layers"}, {"diff_ids", std::move(layers)}};
  config["history"] = json::array{std::move(event)};
  auto text = json::write(json::value(std::move(config)));
  text.pop_back();
  return text + R"(,"config":)" + origin.config + '}';
}

std::string derived_manifest(const image_origin& origin, const std::string& name, const std::string& config_file,
                             const std::string& layer_file) {
  json::array layers;
  for (std::size_t i = 0; i < origin.layers.size(); ++i)
    layers.emplace_back("not-here-" + std::to_string(i) + "/layer.tar");
  layers.emplace_back(layer_file);
  json::object image{
    {"Config", config_file}, {"RepoTags", json::array{json::value(name)}}, {"Layers", std::move(layers)}};
  return json::write(json::value(json::array{std::move(image)}));
}

} // namespace davit::transport
