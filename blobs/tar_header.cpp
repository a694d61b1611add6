#include "blobs/tar_header.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace davit::blobs {

namespace {

struct field {
  std::size_t offset, size;
};
constexpr field name_field{0, 100}, mode_field{100, 8}, user_field{108, 8}, group_field{116, 8}, size_field{124, 12},
  time_field{136, 12}, sum_field{148, 8}, target_field{157, 100};
constexpr std::size_t type_at = 156, magic_at = 257;
constexpr std::uint64_t most_id = (1ull << 21) - 1, most_size = (1ull << 33) - 1; // 7 and 11 octal digits

/// "LENGTH KEYWORD=VALUE\n", where the length counts its own digits.
void add_record(std::string& to, std::string_view keyword, std::string_view value) {
  auto rest = 3 + keyword.size() + value.size();
  auto length = rest + 1;
  while (length != rest + std::to_string(length).size())
    length = rest + std::to_string(length).size();
  to += std::to_string(length) + ' ';
  to += keyword;
  to += '=';
  to += value;
  to += '\n';
}

std::string time_text(const timestamp& time) {
  // Of a time before 1970, the fraction counts backward in text.
  auto negative = time.seconds < 0;
  auto seconds = time.seconds + (negative && time.nanoseconds != 0 ? 1 : 0);
  auto fraction = negative && time.nanoseconds != 0 ? 1'000'000'000u - time.nanoseconds : time.nanoseconds;
  auto whole = negative ? 0 - static_cast<std::uint64_t>(seconds) : static_cast<std::uint64_t>(seconds);
  auto text = (negative ? "-" : "") + std::to_string(whole);
  if (fraction != 0) {
    char digits[16];
    std::snprintf(digits, sizeof digits, ".%09u", fraction);
    text += digits;
    text.resize(text.find_last_not_of('0') + 1);
  }
  return text;
}

void put(char* block, const field& where, std::string_view text) {
  std::memcpy(block + where.offset, text.data(), std::min(text.size(), where.size));
}

void put_octal(char* block, const field& where, std::uint64_t value) {
  for (auto at = where.size - 1; at-- > 0; value >>= 3)
    block[where.offset + at] = static_cast<char>('0' + (value & 7));
}

std::string block_of(const tar_header& header, std::string_view name) {
  std::string bytes(tar_block, '\0');
  auto* block = bytes.data();
  put(block, name_field, name);
  put_octal(block, mode_field, header.mode);
  put_octal(block, user_field, header.user > most_id ? 0 : header.user);
  put_octal(block, group_field, header.group > most_id ? 0 : header.group);
  put_octal(block, size_field, header.size > most_size ? 0 : header.size);
  auto seconds = header.modified.seconds;
  put_octal(block, time_field,
            seconds < 0 || static_cast<std::uint64_t>(seconds) > most_size ? 0 : static_cast<std::uint64_t>(seconds));
  block[type_at] = header.type;
  put(block, target_field, header.target);
  std::memcpy(block + magic_at,
              "ustar\0"
              "00",
              8);
  std::memset(block + sum_field.offset, ' ', sum_field.size);
  unsigned sum = 0;
  for (unsigned char byte : bytes)
    sum += byte;
  put_octal(block, {sum_field.offset, sum_field.size - 1}, sum);
  block[sum_field.offset + 6] = '\0';
  return bytes;
}

std::string pax_records(const tar_header& header) {
  std::string records;
  if (header.sparse) {
    add_record(records, "GNU.sparse.major", "1");
    add_record(records, "GNU.sparse.minor", "0");
    add_record(records, "GNU.sparse.name", header.path);
    add_record(records, "GNU.sparse.realsize", std::to_string(header.apparent_size));
  } else if (header.path.size() > name_field.size) {
    add_record(records, "path", header.path);
  }
  if (header.target.size() > target_field.size)
    add_record(records, "linkpath", header.target);
  if (header.size > most_size)
    add_record(records, "size", std::to_string(header.size));
  if (header.user > most_id)
    add_record(records, "uid", std::to_string(header.user));
  if (header.group > most_id)
    add_record(records, "gid", std::to_string(header.group));
  if (header.modified.nanoseconds != 0 || header.modified.seconds < 0
      || static_cast<std::uint64_t>(header.modified.seconds) > most_size)
    add_record(records, "mtime", time_text(header.modified));
  return records;
}

} // namespace

std::string tar_blocks(const tar_header& header) {
  std::string blocks;
  if (auto records = pax_records(header); !records.empty()) {
    tar_header pax;
    pax.type = 'x';
    pax.mode = 0644;
    pax.size = records.size();
    blocks = block_of(pax, "PaxHeader");
    blocks += records;
    blocks.append(tar_padding(records.size()), '\0');
  }
  auto name = header.sparse ? "GNUSparseFile.0/" + header.path.substr(header.path.rfind('/') + 1) : header.path;
  return blocks + block_of(header, name);
}

std::vector<hole> data_between(const std::vector<hole>& holes, std::uint64_t size) {
  std::vector<hole> data;
  std::uint64_t at = 0;
  for (const auto& one : holes) {
    if (one.offset > at)
      data.push_back({at, one.offset - at});
    at = one.offset + one.length;
  }
  if (at < size)
    data.push_back({at, size - at});
  return data;
}

std::string sparse_map(const std::vector<hole>& data, std::uint64_t size) {
  // A file that ends in a hole has an empty piece of data at its end.
  bool ends_in_hole = data.empty() || data.back().offset + data.back().length != size;
  auto map = std::to_string(data.size() + (ends_in_hole ? 1 : 0)) + '\n';
  for (const auto& one : data)
    map += std::to_string(one.offset) + '\n' + std::to_string(one.length) + '\n';
  if (ends_in_hole)
    map += std::to_string(size) + "\n0\n";
  map.append(tar_padding(map.size()), '\0');
  return map;
}

} // namespace davit::blobs
