#include "transport/log_file_decoder.hpp"

#include <protozero/pbf_reader.hpp>

#include <boost/endian/conversion.hpp>

#include <utility>

namespace davit::transport {

namespace {

constexpr std::size_t size_bytes = 4; ///< In front of each entry and behind it, big-endian.

std::size_t read_size(std::string_view at) {
  return boost::endian::load_big_u32(reinterpret_cast<const unsigned char*>(at.data()));
}

error distrusted(const std::string& why) {
  return {engine_errc::protocol, 0, "the engine's log file is not as expected: " + why};
}

using wire = protozero::pbf_wire_type;

/// Whether the line ends with this part of it.
bool is_last_part(protozero::pbf_reader metadata) {
  while (metadata.next())
    if (metadata.tag_and_type() == protozero::tag_and_type(1, wire::varint))
      return metadata.get_bool();
    else
      metadata.skip();
  return false;
}

std::string_view text(protozero::pbf_reader& field) {
  auto view = field.get_view();
  return {view.data(), view.size()};
}

/// Throws what protozero throws.
result<log_record> decode(std::string_view entry) {
  protozero::pbf_reader fields{entry.data(), entry.size()};
  std::string_view source, line;
  std::int64_t stamp = 0;
  bool ends = true;
  while (fields.next())
    switch (fields.tag_and_type()) {
      case protozero::tag_and_type(1, wire::length_delimited):
        source = text(fields);
        break;
      case protozero::tag_and_type(2, wire::varint):
        stamp = fields.get_int64();
        break;
      case protozero::tag_and_type(3, wire::length_delimited):
        line = text(fields);
        break;
      case protozero::tag_and_type(5, wire::length_delimited):
        ends = is_last_part(fields.get_message());
        break;
      default:
        fields.skip();
    }
  if ((source != "stdout" && source != "stderr") || stamp <= 0)
    return distrusted("an entry has no stream, or no time");
  log_record record{
    source == "stderr" ? log_stream::err : log_stream::out, timestamp{std::chrono::nanoseconds{stamp}}, {}};
  record.bytes.reserve(line.size() + 1);
  record.bytes = line;
  if (ends) // the engine takes it off each line
    record.bytes += '\n';
  return record;
}

} // namespace

result<void> log_file_decoder::feed(std::string_view bytes, const std::function<void(log_record)>& sink) {
  std::string joined;
  if (!held_.empty()) {
    joined = std::exchange(held_, {}).append(bytes);
    bytes = joined;
  }
  while (bytes.size() >= size_bytes) {
    auto size = read_size(bytes);
    if (size == 0 || size > max_entry_bytes)
      return distrusted("an entry claims to have " + std::to_string(size) + " bytes");
    if (bytes.size() < size + 2 * size_bytes)
      break;
    if (read_size(bytes.substr(size_bytes + size)) != size)
      return distrusted("an entry does not end where it should");
    try {
      auto record = decode(bytes.substr(size_bytes, size));
      if (!record)
        return record.error();
      sink(std::move(*record));
    } catch (const protozero::exception& e) {
      return distrusted(e.what());
    }
    bytes.remove_prefix(size + 2 * size_bytes);
  }
  held_ = bytes;
  return {};
}

} // namespace davit::transport
