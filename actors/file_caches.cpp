#include "actors/file_caches.hpp"

#include "actors/crash_point.hpp"
#include "actors/metrics.hpp"
#include "blobs/ignore.hpp"
#include "encoding/printable.hpp"
#include "policy/cache_keys.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <map>

namespace davit {

namespace {

/// A digest, or where a link leads, by the path in the container without its first slash.
using hashed_files = std::map<std::string, std::string>;

hashed_files files_of(const std::vector<task_input>& inputs, const std::vector<blobs::tree>& trees) {
  hashed_files all;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    auto folder = std::filesystem::path{inputs[i].path}.lexically_normal().relative_path().string();
    while (folder.ends_with('/'))
      folder.pop_back();
    std::map<std::string, std::string> own;
    for (const auto& one : trees[i].entries) {
      if (one.kind == blobs::entry_kind::file)
        own[one.path] = to_text(one.content);
      else if (one.kind == blobs::entry_kind::hard_link)
        own[one.path] = own[one.target]; // the file stands before it
      else if (one.kind == blobs::entry_kind::symlink)
        own[one.path] = "link " + one.target;
    }
    for (auto& [path, what] : own)
      all[folder + '/' + path] = std::move(what);
  }
  return all;
}

blobs::result<std::string> hash_of(const std::string& pattern, const std::string& place, const hashed_files& files) {
  auto wanted = blobs::ignore_patterns::compile({place});
  if (!wanted)
    return wanted.error();
  std::string list;
  for (const auto& [path, what] : files)
    if (wanted->match(path).ignored)
      list += path + '\0' + what + '\n';
  if (list.empty())
    return blobs::error{blobs::errc::refused, "{hash:" + encoding::printable(pattern) + "}: no input has a file at /"
                                                + encoding::printable(place)};
  return to_text(blobs::digest_of(list)).substr(sizeof "sha256:" - 1);
}

blobs::result<std::string> expand(const std::string& key, const std::string& workdir,
                                  const std::vector<task_input>& inputs, const hashed_files& files) {
  std::string whole, wrong;
  for (const auto& part : read_cache_key(key, wrong)) {
    if (!part.is_hash) {
      whole += part.text;
      continue;
    }
    auto place = place_of_hashed(part.text, workdir, inputs);
    if (place.empty())
      return blobs::error{blobs::errc::refused, "{hash:" + part.text + "}: write an absolute path"};
    auto hash = hash_of(part.text, place, files);
    if (!hash)
      return hash.error();
    whole += *hash;
  }
  if (!wrong.empty())
    return blobs::error{blobs::errc::refused, "\"" + encoding::printable(key) + "\" " + wrong};
  return whole;
}

} // namespace

blobs::result<std::string> expand_cache_key(const std::string& key, const std::string& workdir,
                                            const std::vector<task_input>& inputs,
                                            const std::vector<blobs::tree>& trees) {
  return expand(key, workdir, inputs, files_of(inputs, trees));
}

caf::expected<std::vector<used_cache>> choose_caches(const transfer& with, const cache_order& order) {
  auto catalogue = catalogue_of(with.self, with.store);
  auto hashes = [](const std::string& text) { return text.find('{') != std::string::npos; };
  auto needs_files = std::any_of(order.caches.begin(), order.caches.end(), [&](const task_cache& one) {
    return hashes(one.key) || std::any_of(one.restore.begin(), one.restore.end(), hashes);
  });
  hashed_files files;
  if (needs_files) {
    const auto& settings = with.context->settings.files;
    owner_blobs owner{with.context->blobs, catalogue, order.owner};
    std::vector<blobs::tree> trees;
    for (const auto& one : order.inputs) {
      auto name = blobs::parse_digest(one.tree);
      auto tree = name ? owner.tree(*name, limits_for(settings, settings.most_input.bytes))
                       : blobs::result<blobs::tree>{blobs::error{blobs::errc::missing, "there is no tree " + one.tree}};
      if (!tree)
        return to_caf(tree.error());
      trees.push_back(std::move(*tree));
    }
    files = files_of(order.inputs, trees);
  }
  std::vector<used_cache> chosen;
  for (std::size_t i = 0; i < order.caches.size(); ++i) {
    const auto& cache = order.caches[i];
    auto in_words = [&](const std::string& field, const blobs::error& e) {
      return make_failure(files_errc::refused, "caches[" + std::to_string(i) + "]." + field + ": " + e.message);
    };
    used_cache one;
    one.path = cache.path;
    auto key = expand(cache.key, order.workdir, order.inputs, files);
    if (!key)
      return in_words("key", key.error());
    one.key = *key;
    std::vector<std::string> prefixes;
    for (const auto& text : cache.restore) {
      auto prefix = expand(text, order.workdir, order.inputs, files);
      if (!prefix)
        return in_words("restore", prefix.error());
      prefixes.push_back(*prefix);
    }
    auto found = std::make_shared<std::optional<kept_cache>>();
    auto asked = catalogue([=, owner = order.owner, scopes = cache_scopes(order.scope),
                            key = one.key](store::blob_catalogue& all) -> store::result<void> {
      auto there = all.find_cache(owner, scopes, key, prefixes);
      if (!there)
        return there.error();
      *found = std::move(*there);
      return {};
    });
    if (!asked)
      return to_caf(to_blob_error(asked.error()));
    if (*found) {
      one.restored = (*found)->key;
      one.scope = (*found)->scope;
      one.tree = (*found)->tree;
    }
    with.context->metrics->cache_asked(one.restored.empty() ? "miss" : one.restored == one.key ? "hit" : "partial");
    chosen.push_back(std::move(one));
  }
  return chosen;
}

void drop_cache(const transfer& with, const std::string& owner, const used_cache& lost) {
  spdlog::error("the cache {} of {} can't be read, and is dropped", lost.restored, owner);
  auto dropped = catalogue_of(with.self, with.store)([=](store::blob_catalogue& all) -> store::result<void> {
    auto done = all.drop_cache(owner, lost.scope, lost.restored, lost.tree);
    return done ? store::result<void>{} : store::result<void>{done.error()};
  });
  if (!dropped)
    spdlog::warn("the cache {} could not be dropped: {}", lost.restored, dropped.error().message);
}

caf::expected<std::vector<used_cache>>
keep_caches(const transfer& with, const collect_order& order, const folder_reader& read) {
  auto all = order.used;
  const auto& settings = with.context->settings.files;
  for (std::size_t i = 0; i < all.size() && i < order.caches.size(); ++i) {
    auto& one = all[i];
    if (one.key == one.restored || one.kept)
      continue;
    auto most
      = std::min({order.caches[i].max.value_or(settings.most_input), settings.most_input, settings.most_caches});
    auto folder = read(one.path, most);
    if (!folder)
      return folder.error();
    auto before = one.message.empty() ? std::string{} : one.message + "; ";
    one.message = before + folder->message;
    if (folder->state != output_state::kept)
      continue;
    kept_cache made;
    made.key = one.key;
    made.scope = order.scope;
    made.tree = folder->tree;
    made.files = folder->files;
    made.bytes = folder->bytes;
    made.task = to_string(order.attempt.task);
    auto kept = std::make_shared<bool>(false);
    auto full = std::make_shared<std::string>();
    auto asked = catalogue_of(with.self, with.store)(
      [=, owner = order.owner, limit = settings.most_caches.bytes](store::blob_catalogue& into) -> store::result<void> {
        auto done = into.keep_cache(owner, made, limit);
        if (!done && done.error().code != store::errc::over_quota)
          return done.error();
        *kept = done && *done;
        *full = done ? "" : done.error().message;
        return {};
      });
    if (!asked)
      return to_caf(to_blob_error(asked.error()));
    one.kept = *kept;
    one.bytes = folder->bytes;
    if (!*kept)
      one.message = before + (full->empty() ? "something else is kept under this key" : *full);
    with.context->metrics->cache_asked(*kept ? "kept" : "not_kept");
    crash_point("cache kept");
  }
  return all;
}

} // namespace davit
