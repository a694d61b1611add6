#include "store/log_packing.hpp"

#include <cstring>
#include <memory>
#include <zstd.h>

namespace davit::store {

namespace {

constexpr std::uint32_t skippable_magic = 0x184D2A5E;
constexpr std::uint32_t seekable_magic = 0x8F92EAB1;
constexpr std::size_t footer_bytes = 9;

} // namespace

std::optional<std::vector<packed_frame>> read_seek_table(const stored_reader& stored, std::uint64_t size) {
  char footer[footer_bytes];
  if (size < 17 || stored(footer, footer_bytes, size - footer_bytes) != footer_bytes)
    return std::nullopt;
  std::uint32_t count = 0, magic = 0;
  std::memcpy(&count, footer, 4);
  std::memcpy(&magic, footer + 5, 4);
  if (magic != seekable_magic || std::uint64_t{count} * 8 + 17 > size)
    return std::nullopt;
  std::vector<std::uint32_t> entries(std::size_t{count} * 2);
  auto bytes = entries.size() * 4;
  if (stored(reinterpret_cast<char*>(entries.data()), bytes, size - footer_bytes - bytes)
      != static_cast<std::int64_t>(bytes))
    return std::nullopt;
  std::vector<packed_frame> frames;
  std::uint64_t at = 0, raw = 0;
  for (std::size_t i = 0; i < count; ++i) {
    frames.push_back({at, entries[2 * i], raw, entries[2 * i + 1]});
    at += entries[2 * i];
    raw += entries[2 * i + 1];
    if (at > size || entries[2 * i + 1] > 2 * block_bytes)
      return std::nullopt;
  }
  return frames;
}

std::string seek_table(const std::vector<std::uint32_t>& sizes) {
  std::string table;
  auto put = [&](std::uint32_t word) { table.append(reinterpret_cast<const char*>(&word), 4); };
  put(skippable_magic);
  put(static_cast<std::uint32_t>(sizes.size() * 4 + footer_bytes));
  for (auto word : sizes)
    put(word);
  put(static_cast<std::uint32_t>(sizes.size() / 2));
  table += '\0';
  put(seekable_magic);
  return table;
}

std::optional<std::size_t> pack_block(std::string_view plain, std::vector<char>& packed, std::string& error) {
  static thread_local std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context{ZSTD_createCCtx(), &ZSTD_freeCCtx};
  packed.resize(ZSTD_compressBound(plain.size()));
  auto count = ZSTD_compressCCtx(context.get(), packed.data(), packed.size(), plain.data(), plain.size(), 3);
  if (!ZSTD_isError(count))
    return count;
  error = std::string{"a log can't be packed: "} + ZSTD_getErrorName(count);
  return std::nullopt;
}

bool unpack_block(std::string_view packed, std::vector<char>& raw) {
  auto count = ZSTD_decompress(raw.data(), raw.size(), packed.data(), packed.size());
  return !ZSTD_isError(count) && count == raw.size();
}

} // namespace davit::store
