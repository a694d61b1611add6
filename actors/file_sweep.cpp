#include "actors/file_sweep.hpp"

#include "actors/crash_point.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

namespace {

constexpr std::uint32_t packs_at_once = 100;

class sweeper {
public:
  sweeper(const std::shared_ptr<blobs::medium>& medium, const catalogue_access& catalogue)
    : medium_(medium), catalogue_(catalogue) {}

  /// Throws blobs::error.
  sweep_result
  run(const std::string& agent, uuid incarnation, duration unused, duration caches_unused, duration grace) {
    look_at_medium();
    auto now = ask<timestamp>([](auto& all) { return all.unused_since(duration{0}); });
    store::sweep_bounds before{now - unused, now - std::min(unused, grace)};
    ask<std::uint64_t>([=](auto& all) -> store::result<std::uint64_t> {
      auto moment = all.unused_since(caches_unused);
      return moment ? all.drop_caches(*moment) : store::result<std::uint64_t>{moment.error()};
    });
    tell([=](auto& all) { return all.abandon_packs_of(agent, incarnation, before.task); });
    done_.trees = ask<std::uint64_t>([=](auto& all) { return all.drop_trees(before); });
    std::optional<blobs::error> trouble;
    for (const auto& one : ask<std::vector<store::owner_usage>>([](auto& all) { return all.usage(); }))
      try {
        sweep_owner(one.owner, before);
      } catch (const blobs::error& e) { // of one owner's: the others' go all the same
        trouble = e;
      }
    remove_packs();
    if (trouble)
      throw *trouble;
    if (auto ended = medium_->abort_uploads(std::chrono::hours{24}); !ended)
      throw ended.error();
    for (const auto& one : ask<std::vector<store::owner_usage>>([](auto& all) { return all.usage(); })) {
      done_.kept_blobs += one.blobs;
      done_.kept_bytes += one.bytes;
    }
    return done_;
  }

private:
  /// A place that has nothing of what it should have was rather not mounted than lost: then every tree would seem to be
  /// lost, and all that is kept would be forgotten.
  void look_at_medium() {
    auto usage = ask<std::vector<store::owner_usage>>([](auto& all) { return all.usage(); });
    auto first = usage.empty() ? blobs::result<blobs::object_page>{blobs::object_page{}} : medium_->list({}, 1);
    if (!first)
      throw first.error();
    if (!usage.empty() && first->objects.empty())
      throw blobs::error{blobs::errc::failed,
                         "the place where files lie is empty, and should not be; is its disk mounted? If the files are "
                         "lost, send some again"};
  }

  template <class T, class Work>
  T ask(Work work) {
    auto answer = std::make_shared<std::optional<T>>();
    tell([work, answer](store::blob_catalogue& all) -> store::result<void> {
      auto value = work(all);
      if (!value)
        return value.error();
      *answer = std::move(*value);
      return {};
    });
    return std::move(**answer);
  }

  template <class Work>
  void tell(Work work) {
    if (auto done = catalogue_([work](store::blob_catalogue& all) -> store::result<void> { return work(all); }); !done)
      throw to_blob_error(done.error());
  }

  /// What the owner's trees name, in order.
  std::vector<blobs::digest> live(const std::string& owner) {
    std::vector<blobs::digest> all;
    owner_blobs mine{medium_, catalogue_, owner};
    blobs::tree_limits any;
    any.entries = any.bytes = any.file_bytes = any.holes = ~0ull; // they were lower or higher when it was kept
    any.set_id = true;
    for (const auto& name : ask<std::vector<blobs::digest>>([owner](auto& all) { return all.trees(owner); })) {
      auto tree = mine.tree(name, any);
      // Whatever a tree names that nobody can read, nobody can use by it; and others are to be swept all the same.
      if (!tree && tree.error().code != blobs::errc::failed) {
        if (ask<bool>([owner, name](auto& all) { return all.lose_tree(owner, name); }))
          spdlog::error("the tree {} of {} is lost: {}", to_text(name), owner, tree.error().message);
        continue;
      }
      if (!tree)
        throw tree.error();
      all.push_back(name);
      auto files = blobs::blobs_of(*tree);
      all.insert(all.end(), files.begin(), files.end());
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  void sweep_owner(const std::string& owner, const store::sweep_bounds& before) {
    auto needed = std::make_shared<const std::vector<blobs::digest>>(live(owner));
    std::optional<blobs::digest> from;
    do {
      auto page = ask<store::sweep_page>([=](auto& all) {
        return all.sweep(owner, from, before, [needed](const blobs::digest& one) {
          return std::binary_search(needed->begin(), needed->end(), one);
        });
      });
      done_.blobs += page.removed;
      done_.bytes += page.bytes;
      from = page.next;
      crash_point("blobs swept");
    } while (from);
  }

  void remove_packs() {
    while (true) {
      auto keys = ask<std::vector<std::string>>([](auto& all) { return all.packs_to_remove(packs_at_once); });
      for (const auto& key : keys) {
        if (auto removed = medium_->remove(key); !removed)
          throw removed.error();
        crash_point("pack removed");
        tell([key](auto& all) { return all.pack_removed(key); });
        ++done_.packs;
      }
      if (keys.size() < packs_at_once)
        return;
    }
  }

  const std::shared_ptr<blobs::medium>& medium_;
  const catalogue_access& catalogue_;
  sweep_result done_;
};

} // namespace

blobs::result<sweep_result> sweep_blobs(const std::shared_ptr<blobs::medium>& medium, const catalogue_access& catalogue,
                                        const std::string& agent, uuid incarnation, duration unused,
                                        duration caches_unused, duration grace) {
  try {
    return sweeper{medium, catalogue}.run(agent, incarnation, unused, caches_unused, grace);
  } catch (const blobs::error& e) {
    return e;
  }
}

} // namespace davit
