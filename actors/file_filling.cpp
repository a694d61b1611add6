// What goes into a container before its command runs.
#include "actors/crash_point.hpp"
#include "actors/file_caches.hpp"
#include "actors/file_transfer_parts.hpp"
#include "actors/metrics.hpp"
#include "actors/prepared_making.hpp"
#include "actors/prepared_trees.hpp"
#include "actors/prepared_using.hpp"
#include "actors/sandbox_plan.hpp"
#include "blobs/manifest.hpp"
#include "blobs/tar_writer.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

namespace davit {

namespace {

using namespace moving;

/// Of a folder that can be renamed in an overlay: the kernel notes where it comes from, in 256 bytes.
constexpr std::size_t most_path = 250;

/// Sends the tree as a tar through the engine into a container's folder.
caf::expected<void> send(const transfer& with, const attempt_key& key, const std::string& container,
                         const std::string& folder, const blobs::tree& tree, blobs::blob_source& files,
                         blobs::tar_options how) {
  stream to{with};
  blobs::error trouble;
  auto failed = false;
  auto move = [&] {
    blobs::tar_writer tar{tree, files, std::move(how)};
    while (true) {
      std::string piece(piece_bytes, '\0');
      auto got = tar.read(piece);
      if (!got) {
        trouble = got.error();
        failed = true;
        to.channel().fail({engine_errc::cancelled, 0, trouble.message});
        return;
      }
      piece.resize(*got);
      auto last = piece.size() < piece_bytes;
      with.context->metrics->files_moved("input", piece.size());
      if (!piece.empty() && !to.channel().push(std::move(piece)))
        return; // the engine's answer says why
      if (last)
        return to.channel().end();
    }
  };
  auto answer = to.run(move, files_atom_v, fill_atom_v, key, container, folder);
  if (failed)
    return to_caf(trouble);
  return answer;
}

/// A volume that nobody but its task's container has, in one of which the root file system can be written: there the
/// volume's own folder can be given to the task's user too.
caf::expected<void> send_through_helper(const transfer& with, const attempt_key& key, const container_status& of_task,
                                        const std::string& volume, const blobs::tree& tree, blobs::blob_source& files,
                                        blobs::tar_options how) {
  auto plan = never_started(with.context->settings, of_task.image_id);
  mount place;
  place.source = volume;
  place.target = "/davit-input";
  plan.mounts.push_back(place);
  auto helper = ask<std::string>(with, with.engine, create_atom_v, plan);
  if (!helper)
    return helper.error();
  how.prefix = "davit-input";
  how.with_prefix = true;
  auto sent = send(with, key, *helper, "/", tree, files, std::move(how));
  caf::expected<void> removed = caf::unit;
  with.self->request(with.engine, caf::infinite, remove_atom_v, *helper)
    .receive([] {}, [&](caf::error& e) { removed = std::move(e); });
  return sent ? removed : sent;
}

/// Whether an overlay of it could be told from it: a file that is written to would lose its other names, and a folder
/// with a long path could not be renamed.
bool is_odd_for_overlays(const blobs::tree& tree) {
  return std::any_of(tree.entries.begin(), tree.entries.end(), [](const auto& one) {
    return one.kind == blobs::entry_kind::hard_link
        || (one.kind == blobs::entry_kind::folder && one.path.size() > most_path);
  });
}

/// Whether nothing of the tree is where something else is mounted, or in the way to there.
bool keeps_clear_of(const blobs::tree& tree, const std::vector<std::string>& nested) {
  return std::none_of(nested.begin(), nested.end(), [&](const std::string& place) {
    return std::any_of(tree.entries.begin(), tree.entries.end(), [&](const blobs::tree_entry& one) {
      return is_below(one.path, place) || (one.kind != blobs::entry_kind::folder && is_below(place, one.path));
    });
  });
}

} // namespace

caf::expected<void> fill_place(const transfer& with, const fill_order& order, const task_input& input,
                               const container_status& container, const container_user& who, owner_blobs& owner,
                               unpacked_tree& done) {
  blobs::result<blobs::tree> tree = blobs::tree{};
  if (!input.tree.empty()) {
    auto name = blobs::parse_digest(input.tree);
    if (!name)
      return make_failure(files_errc::refused, "\"" + input.tree + "\" is not the name of a tree");
    const auto& settings = with.context->settings.files;
    tree = owner.tree(*name, limits_for(settings, settings.most_input.bytes));
  }
  if (!tree)
    return to_caf(tree.error());
  done.entries += tree->entries.size();
  done.bytes += blobs::total_bytes(*tree);
  done.plain = done.plain && keeps_clear_of(*tree, done.place.nested) && !is_odd_for_overlays(*tree);
  auto files = owner.source(blobs::blobs_of(*tree));
  if (!files)
    return to_caf(files.error());
  blobs::tar_options how;
  how.user = who.user;
  how.group = who.group;
  auto path = std::filesystem::path{input.path}.lexically_normal();
  if (path.filename().empty()) // of `/src/`
    path = path.parent_path();
  auto volume = container.volumes.find(path.string());
  if (container.read_only && volume != container.volumes.end())
    return send_through_helper(with, order.attempt, container, volume->second, *tree, **files, how);
  // From the root: the engine takes no link that leads out of the folder that it unpacks into.
  auto from_root = how;
  from_root.prefix = path.relative_path().string();
  from_root.with_prefix = who != container_user{}; // then the folder itself becomes the user's too
  auto sent = send(with, order.attempt, order.container, "/", *tree, **files, std::move(from_root));
  // It takes no folder in place of a link either: where the image has one, the volume is behind it.
  done.plain = done.plain && static_cast<bool>(sent);
  if (!sent && text_of(sent.error()).find("non-directory") != std::string::npos)
    sent = send(with, order.attempt, order.container, path.string(), *tree, **files, how);
  return sent;
}

namespace {

/// Neither the engine's connection, nor where the files lie: what is unpacked does not fit.
bool is_of_content(const caf::error& e) {
  if (e.category() == caf::type_id_v<files_errc>)
    return e != files_errc::failed;
  auto code = engine_code(e);
  return code == engine_errc::refused || code == engine_errc::failed;
}

bool is_full_disk(const caf::error& e) {
  auto text = text_of(e);
  return e.category() == caf::type_id_v<engine_errc>
      && (text.find("no space left on device") != text.npos || text.find("disk quota exceeded") != text.npos);
}

/// An engine that ends takes a container's files away before it closes the connections: what it then says of a tree is
/// no word on that tree. Its word counts if it knows the container afterwards.
caf::error confirmed(const transfer& with, const fill_order& order, caf::error said) {
  if (said.category() == caf::type_id_v<engine_errc> && is_of_content(said))
    if (auto still = ask<container_status>(with, with.engine, inspect_atom_v, order.container); !still)
      return still.error();
  return said;
}

/// A cache that can't be read is dropped; one that does not fit into this container may fit into others.
caf::error lost(const transfer& with, const fill_order& order, const used_cache& cache, const caf::error& why) {
  auto unreadable = why.category() == caf::type_id_v<files_errc>;
  if (unreadable)
    drop_cache(with, order.owner, cache);
  return make_failure(files_errc::lost, "the cache " + cache.restored
                                          + (unreadable ? " can't be read any more: " : " can't be unpacked: ")
                                          + text_of(why));
}

} // namespace

/// The caches first: where an input has a file at the same place, that is the one to be seen.
caf::expected<filled_files> fill(const transfer& with, const fill_order& order) {
  filled_files done;
  auto container = ask<container_status>(with, with.engine, inspect_atom_v, order.container);
  if (!container)
    return container.error();
  done.image_id = container->image_id;
  auto ready = take_prepared(with, order, *container);
  if (!ready)
    return ready.error();
  for (std::size_t i = 0; i < ready->size(); ++i)
    with.context->metrics->prepared("hit");
  auto who = user_of(with, *container);
  owner_blobs owner{with.context->blobs, catalogue_of(with.self, with.store), order.owner};
  std::vector<task_input> all;
  for (const auto& cache : order.caches)
    all.push_back({cache.tree, cache.path});
  all.insert(all.end(), order.inputs.begin(), order.inputs.end());
  auto has_cache = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto path = plain_path(all[i].path);
    auto is_cache = i < order.caches.size();
    has_cache |= is_cache && !all[i].tree.empty();
    if (std::find(ready->begin(), ready->end(), path) != ready->end()
        || (all[i].tree.empty() && who == container_user{}))
      continue; // what a cache that begins empty has is root's
    if (with.stop->stopped())
      return make_failure(engine_errc::cancelled, "the attempt was withdrawn");
    auto place
      = std::find_if(order.places.begin(), order.places.end(), [&](const auto& one) { return one.path == path; });
    unpacked_tree one;
    auto fill_it = [&] {
      one = {};
      if (place != order.places.end())
        one.place = *place;
      return fill_place(with, order, all[i], *container, who, owner, one);
    };
    auto filled = fill_it();
    if (!filled && is_full_disk(filled.error()) && make_room(with)) {
      spdlog::info("the disk of engine {} is full: removed the trees that it had ready", order.engine);
      filled = fill_it();
    }
    if (!filled)
      filled = confirmed(with, order, filled.error());
    if (!filled && is_of_content(filled.error()) && is_cache && !all[i].tree.empty())
      return lost(with, order, order.caches[i], filled.error());
    if (!filled && is_of_content(filled.error()) && !is_cache && has_cache)
      return make_failure(files_errc::lost,
                          "an input can't be unpacked over what a cache has: " + text_of(filled.error()));
    if (!filled)
      return filled.error();
    if (place != order.places.end()) {
      if (tree_size{one.entries, one.bytes}.is_large())
        with.context->metrics->prepared("miss");
      done.trees.push_back(std::move(one));
    }
    crash_point(is_cache ? "cache unpacked" : "input unpacked");
  }
  return done;
}

} // namespace davit
