#include "actors/prepared_making.hpp"

#include "actors/crash_point.hpp"
#include "actors/file_transfer_parts.hpp"
#include "actors/prepared_plan.hpp"
#include "actors/sandbox_plan.hpp"
#include "blobs/tar_header.hpp"
#include "blobs/tar_writer.hpp"
#include "transport/derived_image.hpp"

#include <algorithm>
#include <map>

namespace davit {

namespace {

using namespace moving;

/// What a look at a folder needs of its archive: the first entry, whose name may be long.
constexpr std::size_t entry_bytes = 64 << 10;

const char* const config_file = "config.json";
const char* const layer_file = "layer.tar";

caf::error refused(std::string why) {
  return make_failure(files_errc::refused, std::move(why));
}

/// A container of the base that is never started, as long as it is looked at.
class helper_container {
public:
  helper_container(const transfer& with, const std::string& image) : with_(with) {
    auto made = ask<std::string>(with, with.engine, create_atom_v, never_started(with.context->settings, image));
    if (made)
      id_ = std::move(*made);
    else
      trouble_ = std::move(made.error());
  }
  ~helper_container() {
    if (!id_.empty() && with_.engine) // what is left, the sandbox keeper removes
      with_.self->request(with_.engine, caf::infinite, remove_atom_v, id_).receive([] {}, [](const caf::error&) {});
  }
  helper_container(const helper_container&) = delete;
  helper_container& operator=(const helper_container&) = delete;

  const std::string& id() const { return id_; }
  const caf::error& trouble() const { return trouble_; }

private:
  const transfer& with_;
  std::string id_;
  caf::error trouble_;
};

/// The folder that a container has at a path; none if there is nothing. A link or a file is refused.
caf::expected<std::optional<encoding::archive_folder>>
folder_at(const transfer& with, const std::string& container, const std::string& path) {
  std::string beginning;
  auto enough = false;
  stream from{with};
  auto move = [&] {
    while (!enough) {
      auto piece = from.channel().pop();
      if (!piece || piece->empty())
        return;
      beginning += *piece;
      enough = beginning.size() >= entry_bytes;
    }
    from.channel().fail({engine_errc::cancelled, 0, "only its beginning is of interest"});
  };
  auto answer = from.run(move, files_atom_v, collect_atom_v, attempt_key{}, container, path);
  if (!answer && !enough) {
    if (answer.error() == engine_errc::not_found)
      return std::optional<encoding::archive_folder>{};
    return answer.error();
  }
  auto folder = encoding::first_folder(beginning);
  if (!folder)
    return refused(path + " of the image is not a folder");
  return folder;
}

/// The bytes of files do not matter: how long a tar is does not depend on them.
class no_source final : public blobs::blob_source {
  class zeros final : public blobs::byte_reader {
  public:
    explicit zeros(std::uint64_t left) : left_(left) {}
    blobs::result<std::size_t> read(std::span<char> into) override {
      auto count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), left_));
      std::fill_n(into.begin(), count, '\0');
      left_ -= count;
      return count;
    }

  private:
    std::uint64_t left_;
  };

public:
  blobs::result<std::unique_ptr<blobs::byte_reader>> open(const blobs::tree_entry& file) override {
    return std::unique_ptr<blobs::byte_reader>{std::make_unique<zeros>(file.size)};
  }
};

/// The layer: the folders above the inputs, and the inputs.
class layer {
public:
  /// Errors: see make_prepared.
  static caf::expected<layer> plan(const transfer& with, const making_order& order, owner_blobs& owner);

  std::uint64_t bytes() const { return bytes_; }

  /// Gives its tar to `out`, piece by piece, until that returns false.
  blobs::result<void> write(const std::function<blobs::blob_source&(std::size_t)>& files,
                            const std::function<bool(std::string)>& out) const {
    if (!out(folders_))
      return {};
    for (std::size_t i = 0; i < trees_.size(); ++i) {
      blobs::tar_writer tar{trees_[i], files(i), how_[i]};
      std::string held; // its end is not the layer's
      while (true) {
        std::string piece(piece_bytes, '\0');
        auto got = tar.read(piece);
        if (!got)
          return got.error();
        piece.resize(*got);
        auto last = piece.size() < piece_bytes;
        held += piece;
        auto rest = held.substr(held.size() - std::min<std::size_t>(held.size(), end_bytes));
        held.resize(held.size() - rest.size());
        if (!held.empty() && !out(std::move(held)))
          return {};
        held = std::move(rest);
        if (last)
          break;
      }
    }
    out(std::string(end_bytes, '\0'));
    return {};
  }

  const std::vector<blobs::tree>& trees() const { return trees_; }

private:
  static constexpr std::size_t end_bytes = 2 * blobs::tar_block;

  std::string folders_; ///< Their headers.
  std::vector<blobs::tree> trees_;
  std::vector<blobs::tar_options> how_;
  std::uint64_t bytes_ = 0;
};

std::string header_of(const std::string& path, const encoding::archive_folder& folder) {
  blobs::tar_header header;
  header.path = path.substr(1) + '/';
  header.type = '5';
  header.mode = static_cast<std::uint16_t>(folder.mode);
  header.user = folder.user;
  header.group = folder.group;
  header.modified.seconds = folder.modified;
  return blobs::tar_blocks(header);
}

caf::expected<layer> layer::plan(const transfer& with, const making_order& order, owner_blobs& owner) {
  layer made;
  helper_container helper{with, order.base};
  if (helper.id().empty())
    return helper.trouble();
  crash_point("layer looked at");
  auto status = ask<container_status>(with, with.engine, inspect_atom_v, helper.id());
  if (!status)
    return status.error();
  if (!order.inputs.user.empty())
    status->user = order.inputs.user;
  auto who = user_of(with, *status);
  const auto& settings = with.context->settings.files;
  std::map<std::string, encoding::archive_folder> folders; // each stands before what is in it
  for (const auto& input : order.inputs.inputs) {
    auto name = blobs::parse_digest(input.tree);
    if (!name)
      return refused("\"" + input.tree + "\" is not the name of a tree");
    auto tree = owner.tree(*name, limits_for(settings, settings.most_input.bytes));
    if (!tree)
      return to_caf(tree.error());
    std::int64_t newest = 0;
    for (auto& one : tree->entries) {
      newest = std::max(newest, one.modified.seconds);
      one.holes.clear(); // the engine writes zeros there anyway
    }
    auto path = plain_path(input.path);
    for (auto slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
      auto above = path.substr(0, slash);
      if (!folders.contains(above)) {
        auto there = folder_at(with, helper.id(), above);
        if (!there)
          return there.error();
        folders[above] = there->value_or(encoding::archive_folder{0755, 0, 0, newest});
      }
      if (slash == std::string::npos)
        break;
    }
    if (who != container_user{})
      folders[path] = {0755, who.user, who.group, newest};
    blobs::tar_options how;
    how.user = who.user;
    how.group = who.group;
    how.prefix = path.substr(1);
    made.bytes_ += blobs::total_bytes(*tree);
    made.how_.push_back(std::move(how));
    made.trees_.push_back(std::move(*tree));
  }
  // "Not found" was said of a path only if the helper itself is there still.
  if (auto there = ask<container_status>(with, with.engine, inspect_atom_v, helper.id()); !there)
    return there.error();
  for (const auto& [path, folder] : folders)
    made.folders_ += header_of(path, folder);
  return made;
}

/// Whether such an image can be made on the engine, and has room.
caf::expected<void> look_at_engine(const transfer& with, const making_order& order) {
  auto status = ask<engine_status>(with, with.engine, ping_atom_v);
  if (!status)
    return status.error();
  // Others copy all of an image for each container, or are not known to take an archive without the base's layers.
  if (status->info.storage_driver != "overlay2")
    return refused("its storage driver is " + status->info.storage_driver);
  const auto& all = with.context->settings.engines;
  auto settings
    = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == order.inputs.engine; });
  auto spared = settings == all.end() ? 0 : settings->min_free_disk.bytes;
  constexpr std::uint64_t copies = 3; // the engine unpacks the archive, and then the layer
  if (status->disk_free && *status->disk_free < spared + copies * order.disk)
    return make_failure(engine_errc::failed, "the engine's disk has not enough room");
  return caf::unit;
}

std::string file_of(const std::string& path, const std::string& bytes) {
  blobs::tar_header header;
  header.path = path;
  header.mode = 0644;
  header.size = bytes.size();
  return blobs::tar_blocks(header) + bytes + std::string(blobs::tar_padding(bytes.size()), '\0');
}

caf::expected<void> load(const transfer& with, const making_order& order, const layer& made,
                         const transport::image_origin& origin, owner_blobs& owner) {
  std::vector<std::unique_ptr<blobs::packed_source>> sources;
  for (const auto& tree : made.trees()) {
    auto files = owner.source(blobs::blobs_of(tree));
    if (!files)
      return to_caf(files.error());
    sources.push_back(std::move(*files));
  }
  std::uint64_t size = 0;
  no_source nothing;
  auto counted = made.write([&](std::size_t) -> blobs::blob_source& { return nothing; },
                            [&](const std::string& piece) {
                              size += piece.size();
                              return !with.stop->stopped();
                            });
  if (!counted)
    return to_caf(counted.error());
  stream to{with};
  blobs::result<void> written;
  auto move = [&] {
    crash_point("layer asked");
    blobs::tar_header header;
    header.path = layer_file;
    header.mode = 0644;
    header.size = size;
    if (!to.channel().push(blobs::tar_blocks(header)))
      return;
    blobs::hasher hash;
    auto taken = true;
    written = made.write([&](std::size_t i) -> blobs::blob_source& { return *sources[i]; },
                         [&](std::string piece) {
                           hash.add(piece);
                           return taken = to.channel().push(std::move(piece));
                         });
    if (!written)
      to.channel().fail({engine_errc::cancelled, 0, written.error().message});
    if (!written || !taken)
      return;
    auto rest = std::string(blobs::tar_padding(size), '\0')
              + file_of(config_file, transport::derived_config(origin, blobs::to_text(hash.finish())))
              + file_of("manifest.json", transport::derived_manifest(origin, order.name, config_file, layer_file))
              + std::string(2 * blobs::tar_block, '\0');
    if (to.channel().push(std::move(rest)))
      to.channel().end();
  };
  auto answer = to.run(move, images_atom_v, fill_atom_v);
  if (!written)
    return to_caf(written.error());
  return answer;
}

} // namespace

caf::expected<std::uint64_t> make_prepared(const transfer& with, const making_order& order) {
  for (const auto& one : order.instead)
    if (auto removed = ask<bool>(with, with.engine, images_atom_v, remove_atom_v, one); !removed)
      return removed.error();
  if (auto well = look_at_engine(with, order); !well)
    return well.error();
  auto body = ask<std::string>(with, with.engine, images_atom_v, inspect_atom_v, order.base);
  if (!body)
    return body.error();
  auto origin = transport::read_origin(*body);
  if (!origin)
    return make_failure(origin.error().code, origin.error().message);
  if (!keeps_clear_of(origin->volumes, order.inputs.inputs))
    return refused("the image has a volume there");
  owner_blobs owner{with.context->blobs, catalogue_of(with.self, with.store), order.inputs.owner};
  auto made = layer::plan(with, order, owner);
  if (!made)
    return made.error();
  if (auto loaded = load(with, order, *made, *origin, owner); !loaded)
    return loaded.error();
  crash_point("layer loaded");
  return made->bytes();
}

} // namespace davit
