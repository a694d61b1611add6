#include "api/file_download.hpp"

#include "blobs/tar_writer.hpp"

#include <charconv>
#include <map>

namespace davit::api {

namespace {

constexpr std::size_t piece_bytes = 256 << 10;

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

/// Writes what a reader gives.
template <class Read>
blobs::result<void> send(Read read, waiting_writer& to) {
  while (true) {
    std::string piece(piece_bytes, '\0');
    auto got = read(std::span{piece});
    if (!got)
      return got.error();
    if (*got == 0)
      return {};
    piece.resize(*got);
    if (!to.write(std::move(piece)))
      return {}; // nobody reads it any more
  }
}

} // namespace

std::optional<byte_range> range_of(std::string_view header, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  auto dash = header.find('-');
  if (!header.starts_with(unit) || dash == std::string_view::npos || header.find(',') != std::string_view::npos)
    return std::nullopt;
  auto first = header.substr(unit.size(), dash - unit.size()), last = header.substr(dash + 1);
  if (first.empty()) {
    auto count = number_in(last);
    if (!count)
      return std::nullopt;
    return byte_range{size - std::min(*count, size), size};
  }
  auto begin = number_in(first);
  auto end = last.empty() ? std::optional{size} : number_in(last);
  if (!begin || !end || (!last.empty() && *end < *begin))
    return std::nullopt;
  if (*begin >= size)
    return byte_range{};
  return byte_range{*begin, last.empty() ? size : std::min(size - 1, *end) + 1};
}

std::optional<blobs::tree> subtree(const blobs::tree& all, const std::string& path) {
  blobs::tree part;
  std::map<std::string, std::string> files; // of hard links whose file is not in the part: the first of them
  std::map<std::string, const blobs::tree_entry*> outside;
  for (const auto& one : all.entries)
    if (one.kind == blobs::entry_kind::file)
      outside.emplace(one.path, &one);
  auto add = [&](blobs::tree_entry entry, const std::string& cut) {
    entry.path.erase(0, cut.size());
    if (entry.kind == blobs::entry_kind::hard_link && entry.target.starts_with(cut)) {
      entry.target.erase(0, cut.size());
    } else if (entry.kind == blobs::entry_kind::hard_link) {
      auto [first, is_new] = files.try_emplace(entry.target, entry.path);
      if (is_new) {
        auto name = entry.path;
        entry = *outside.at(entry.target);
        entry.path = std::move(name);
      } else {
        entry.target = first->second;
      }
    }
    part.entries.push_back(std::move(entry));
  };
  auto prefix = path + '/';
  bool found = false;
  for (const auto& one : all.entries) {
    if (one.path == path && one.kind != blobs::entry_kind::folder) {
      auto slash = path.rfind('/');
      // The file alone, whatever it is another name of.
      add(one, slash == std::string::npos ? std::string{} : path.substr(0, slash + 1));
      auto& only = part.entries.front();
      if (only.kind == blobs::entry_kind::hard_link) {
        auto name = only.path;
        only = *outside.at(one.target);
        only.path = std::move(name);
      }
      return part;
    }
    found |= one.path == path;
    if (one.path.starts_with(prefix))
      add(one, prefix);
  }
  return found ? std::optional{std::move(part)} : std::nullopt;
}

bool waiting_writer::write(std::string piece) {
  if (*ending_)
    return false;
  auto now = std::make_shared<state>();
  bytes_ += piece.size();
  client_->write(std::move(piece), [now](bool good) {
    std::lock_guard guard{now->mutex};
    now->written = good;
    now->changed.notify_all();
  });
  std::unique_lock lock{now->mutex};
  while (!now->changed.wait_for(lock, std::chrono::milliseconds{250}, [&] { return now->written.has_value(); }))
    if (*ending_)
      return false;
  return *now->written;
}

blobs::result<void>
send_part(blobs::packed_source& from, const blobs::digest& content, byte_range part, waiting_writer& to) {
  return send(
    [&](std::span<char> into) -> blobs::result<std::size_t> {
      auto count = std::min<std::uint64_t>(into.size(), part.end - part.first);
      if (count == 0)
        return std::size_t{0};
      auto got = from.read(content, part.first, into.first(static_cast<std::size_t>(count)));
      if (got)
        part.first += *got;
      return got;
    },
    to);
}

blobs::result<void> send_blob(blobs::packed_source& from, const blobs::digest& content, waiting_writer& to) {
  auto bytes = from.open(content);
  if (!bytes)
    return bytes.error();
  return send([&](std::span<char> into) { return (*bytes)->read(into); }, to);
}

blobs::result<void> send_tar(blobs::packed_source& from, const blobs::tree& all, waiting_writer& to) {
  blobs::tar_writer tar{all, from};
  return send([&](std::span<char> into) { return tar.read(into); }, to);
}

} // namespace davit::api
