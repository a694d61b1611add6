#include "blobs/manifest.hpp"

#include "blobs/bytes.hpp"
#include "encoding/printable.hpp"

#include <zstd.h>

#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>

namespace davit::blobs {

namespace {

constexpr std::string_view mark = "davit tree 1\n";
constexpr std::size_t least_entry = 1 + 2 + 8 + 4 + 4; // a folder without its path

void append_text(std::string& to, std::string_view text) {
  append_integer(to, static_cast<std::uint32_t>(text.size()));
  to += text;
}

void append_entry(std::string& to, const tree_entry& one) {
  append_integer(to, static_cast<std::uint8_t>(one.kind));
  append_integer(to, one.mode);
  append_integer(to, one.modified.seconds);
  append_integer(to, one.modified.nanoseconds);
  append_text(to, one.path);
  if (one.kind == entry_kind::file) {
    append_integer(to, one.size);
    to.append(reinterpret_cast<const char*>(one.content.bytes.data()), one.content.bytes.size());
    append_integer(to, static_cast<std::uint32_t>(one.holes.size()));
    for (const auto& each : one.holes) {
      append_integer(to, each.offset);
      append_integer(to, each.length);
    }
  } else if (one.kind != entry_kind::folder) {
    append_text(to, one.target);
  }
}

bool take_text(byte_cursor& from, std::string& text) {
  std::uint32_t size = 0;
  if (!from.take(size))
    return false;
  auto bytes = from.take_bytes(size);
  if (bytes)
    text = *bytes;
  return bytes.has_value();
}

bool take_holes(byte_cursor& from, std::vector<hole>& holes) {
  std::uint32_t count = 0;
  if (!from.take(count) || count > from.left() / (2 * sizeof(std::uint64_t)))
    return false;
  holes.resize(count);
  for (auto& one : holes)
    if (!from.take(one.offset) || !from.take(one.length))
      return false;
  return true;
}

bool take_entry(byte_cursor& from, tree_entry& one) {
  std::uint8_t kind = 0;
  if (!from.take(kind) || kind < 1 || kind > 4 || !from.take(one.mode) || !from.take(one.modified.seconds)
      || !from.take(one.modified.nanoseconds) || !take_text(from, one.path))
    return false;
  one.kind = static_cast<entry_kind>(kind);
  if (one.kind == entry_kind::folder)
    return true;
  if (one.kind != entry_kind::file)
    return take_text(from, one.target);
  if (!from.take(one.size))
    return false;
  auto content = from.take_bytes(one.content.bytes.size());
  if (!content)
    return false;
  std::memcpy(one.content.bytes.data(), content->data(), content->size());
  return take_holes(from, one.holes);
}

error damaged(const std::string& what) {
  return {errc::damaged, "this is not the manifest of a tree: " + what};
}

std::string mode_text(const tree_entry& one) {
  static constexpr char kinds[] = "?-dlh";
  std::string text{kinds[static_cast<int>(one.kind)]};
  for (int bit = 8; bit >= 0; --bit)
    text += (one.mode >> bit & 1) != 0 ? "xwr"[bit % 3] : '-';
  return text;
}

} // namespace

std::string write_manifest(const tree& value) {
  std::string bytes{mark};
  append_integer(bytes, static_cast<std::uint64_t>(value.entries.size()));
  for (const auto& one : value.entries)
    append_entry(bytes, one);
  return bytes;
}

result<tree> read_manifest(std::string_view bytes, const tree_limits& limits) {
  if (bytes.size() > limits.manifest_bytes)
    return error{errc::refused,
                 "the manifest of a tree has more than " + std::to_string(limits.manifest_bytes) + " bytes"};
  byte_cursor from{bytes};
  std::uint64_t count = 0;
  if (from.take_bytes(mark.size()) != mark || !from.take(count))
    return damaged("it begins with something else, or belongs to another version");
  if (count > limits.entries)
    return error{errc::refused,
                 "a tree has more than " + std::to_string(limits.entries) + " entries" + set_by(limits.entries_option)};
  if (count > from.left() / least_entry)
    return damaged("it is cut off");
  tree value;
  value.entries.reserve(static_cast<std::size_t>(count));
  tree_rules rules{limits};
  for (std::uint64_t i = 0; i < count; ++i) {
    tree_entry one;
    if (!take_entry(from, one))
      return damaged("entry " + std::to_string(i + 1) + " is cut off, or of an unknown kind");
    if (auto good = rules.check(value.entries, one); !good)
      return good.error();
    value.entries.push_back(std::move(one));
  }
  if (from.left() != 0)
    return damaged("something follows its last entry");
  return value;
}

digest tree_digest(const tree& value) {
  return digest_of(write_manifest(value));
}

std::string compress_manifest(std::string_view manifest) {
  std::string compressed(ZSTD_compressBound(manifest.size()), '\0');
  auto size = ZSTD_compress(compressed.data(), compressed.size(), manifest.data(), manifest.size(), 3);
  if (ZSTD_isError(size) != 0)
    throw std::runtime_error(std::string{"zstd can't compress a manifest: "} + ZSTD_getErrorName(size));
  compressed.resize(size);
  return compressed;
}

result<std::string> decompress_manifest(std::string_view compressed, const tree_limits& limits) {
  auto size = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)
    return damaged("it is not compressed with zstd, or does not say its length");
  if (size > limits.manifest_bytes)
    return error{errc::refused,
                 "the manifest of a tree has more than " + std::to_string(limits.manifest_bytes) + " bytes"};
  if (ZSTD_findFrameCompressedSize(compressed.data(), compressed.size()) != compressed.size())
    return damaged("its compressed form is cut off, or something follows it");
  std::string manifest(static_cast<std::size_t>(size), '\0');
  auto got = ZSTD_decompress(manifest.data(), manifest.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(got) != 0 || got != size)
    return damaged("its compressed form is damaged");
  return manifest;
}

std::string describe(const tree& value) {
  std::string text;
  for (const auto& one : value.entries) {
    text += mode_text(one) + ' ' + std::to_string(one.size) + ' ' + encoding::printable(one.path);
    if (!one.target.empty())
      text += " -> " + encoding::printable(one.target);
    text += '\n';
  }
  return text;
}

} // namespace davit::blobs
