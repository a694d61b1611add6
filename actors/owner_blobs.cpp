#include "actors/owner_blobs.hpp"

#include "actors/crash_point.hpp"
#include "blobs/manifest.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

namespace davit {

namespace {

constexpr std::uint64_t pack_bytes = 256ull << 20;
constexpr std::size_t pack_blobs = 50'000;

template <class T, class Work>
store::result<T> ask(const catalogue_access& catalogue, Work work) {
  auto answer = std::make_shared<std::optional<T>>();
  auto done = catalogue([work = std::move(work), answer](store::blob_catalogue& all) -> store::result<void> {
    auto value = work(all);
    if (!value)
      return value.error();
    *answer = std::move(*value);
    return {};
  });
  if (!done)
    return done.error();
  return std::move(**answer);
}

} // namespace

blobs::error to_blob_error(const store::error& e) {
  switch (e.code) {
    case store::errc::over_quota:
      return {blobs::errc::full, e.message};
    case store::errc::not_found:
      return {blobs::errc::missing, e.message};
    default:
      return {blobs::errc::failed, e.message};
  }
}

// -- reading ---------------------------------------------------------------------------------------------------------

blobs::result<std::unique_ptr<blobs::packed_source>> owner_blobs::source(const std::vector<blobs::digest>& wanted) {
  auto places = ask<std::vector<blobs::blob_place>>(
    catalogue_, [owner = owner_, wanted](store::blob_catalogue& all) { return all.find(owner, wanted); });
  if (!places)
    return to_blob_error(places.error());
  auto lost = [catalogue = catalogue_, owner = owner_](const std::string& pack) {
    auto told = catalogue([pack](store::blob_catalogue& all) { return all.doubt_pack(pack); });
    if (told)
      spdlog::error("the pack {} of {} is lost or damaged; its files are to be sent again", pack, owner);
    else // whoever reads it next comes back to it
      spdlog::error("the pack {} of {} is lost or damaged, and the store does not take this down: {}", pack, owner,
                    told.error().message);
  };
  return std::make_unique<blobs::packed_source>(*medium_, *places, std::move(lost));
}

blobs::result<blobs::tree> owner_blobs::tree(const blobs::digest& name, const blobs::tree_limits& limits) {
  auto from = source({name});
  if (!from)
    return from.error();
  if (!(*from)->size(name))
    return blobs::error{blobs::errc::missing, "there is no tree " + to_text(name)};
  auto manifest = (*from)->read(name, limits.manifest_bytes);
  if (!manifest)
    return manifest.error();
  return blobs::read_manifest(*manifest, limits);
}

blobs::result<std::vector<blobs::digest>>
owner_blobs::keep(const blobs::digest& name, const blobs::tree& value, store::blob_purpose purpose) {
  auto lacking = ask<std::vector<blobs::digest>>(
    catalogue_, [owner = owner_, name, content = blobs::blobs_of(value), purpose](store::blob_catalogue& all) {
      return all.keep_tree(owner, name, content, purpose);
    });
  if (!lacking)
    return to_blob_error(lacking.error());
  crash_point("tree kept");
  return std::move(*lacking);
}

// -- writing ---------------------------------------------------------------------------------------------------------

blob_writer::~blob_writer() {
  abandon();
}

/// If the store can't be told, the sweeper finds out.
void blob_writer::abandon() noexcept {
  if (!pack_)
    return;
  try {
    pack_.reset();
    (void)catalogue_([key = key_](store::blob_catalogue& all) { return all.abandon_pack(key); });
  } catch (...) { // out of memory: as if nobody had come to tell
    key_.clear();
  }
}

blobs::result<void> blob_writer::begin_pack() {
  key_ = to_string(uuid::make_v7());
  auto begun = catalogue_([pack = store::new_pack{key_, how_.owner, how_.agent, how_.incarnation}](
                            store::blob_catalogue& all) { return all.begin_pack(pack); });
  if (!begun)
    return to_blob_error(begun.error());
  crash_point("pack begun");
  auto object = medium_->create(key_);
  if (!object)
    return object.error();
  pack_.emplace(std::move(*object));
  return {};
}

blobs::result<void> blob_writer::noted(blobs::result<void> done) {
  if (!done && !failure_)
    failure_ = done.error();
  return done;
}

blobs::result<void> blob_writer::write(std::string_view piece) {
  if (!pack_)
    if (auto begun = noted(begin_pack()); !begun)
      return begun;
  return noted(pack_->write(piece));
}

blobs::result<void> blob_writer::end(const blobs::digest&, std::uint64_t) {
  if (!pack_) // an empty blob is the first
    if (auto begun = noted(begin_pack()); !begun)
      return begun;
  if (auto ended = pack_->end_blob(); !ended)
    return noted(ended.error());
  return pack_->size() >= pack_bytes || pack_->entries().size() >= pack_blobs ? noted(end_pack())
                                                                              : blobs::result<void>{};
}

blobs::result<void> blob_writer::end_pack() {
  if (auto committed = pack_->commit(); !committed)
    return committed;
  crash_point("pack committed");
  std::vector<blobs::digest> all;
  all.reserve(pack_->entries().size());
  for (const auto& one : pack_->entries())
    all.push_back(one.content);
  std::sort(all.begin(), all.end());
  auto distinct = static_cast<std::size_t>(std::unique(all.begin(), all.end()) - all.begin());
  auto lacking = ask<std::vector<blobs::digest>>(
    catalogue_, [owner = how_.owner, all = std::move(all), purpose = how_.purpose](store::blob_catalogue& known) {
      return known.missing(owner, all, purpose);
    });
  if (!lacking)
    return to_blob_error(lacking.error());
  return lacking->size() == distinct && distinct == pack_->entries().size() ? tell_end() : end_without(*lacking);
}

/// Its blobs are there.
blobs::result<void> blob_writer::tell_end() {
  std::vector<blobs::blob_place> content;
  content.reserve(pack_->entries().size());
  for (const auto& one : pack_->entries())
    content.push_back({one.content, key_, one.offset, one.size});
  auto ended = catalogue_([key = key_, quota = how_.quota, content = std::move(content), purpose = how_.purpose](
                            store::blob_catalogue& all) { return all.end_pack(key, content, quota, purpose); });
  if (!ended)
    return to_blob_error(ended.error());
  pack_.reset();
  crash_point("pack ended");
  return {};
}

/// The owner has some of its blobs: those that are lacking come into another pack, and this one goes. What lies in a
/// pack and belongs to nothing would take room that no quota counts.
blobs::result<void> blob_writer::end_without(const std::vector<blobs::digest>& lacking) {
  auto full = std::exchange(key_, {});
  auto entries = pack_->entries();
  pack_.reset();
  blobs::result<void> done;
  if (!lacking.empty()) {
    auto opened = medium_->open(full);
    if (!opened)
      return opened.error();
    std::shared_ptr<blobs::object_reader> from = std::move(*opened);
    std::set<blobs::digest> left{lacking.begin(), lacking.end()};
    std::string buffer(256 << 10, '\0');
    done = begin_pack();
    for (auto one = entries.begin(); done && one != entries.end(); ++one) {
      if (left.erase(one->content) == 0)
        continue;
      auto bytes = blobs::read_packed(from, *one);
      while (done) {
        auto got = bytes->read(buffer);
        if (!got)
          done = got.error();
        else if (*got == 0)
          break;
        else
          done = pack_->write(std::string_view{buffer}.substr(0, *got));
      }
      if (done)
        if (auto ended = pack_->end_blob(); !ended)
          done = ended.error();
    }
    if (done)
      done = pack_->commit();
    if (done)
      done = tell_end();
  }
  // The sweeper would do this too, later.
  (void)catalogue_([full](store::blob_catalogue& all) { return all.abandon_pack(full); });
  if (auto removed = medium_->remove(full); removed)
    (void)catalogue_([full](store::blob_catalogue& all) { return all.pack_removed(full); });
  return done;
}

blobs::result<void> blob_writer::finish() {
  return pack_ ? noted(end_pack()) : blobs::result<void>{};
}

} // namespace davit
