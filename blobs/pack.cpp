#include "blobs/pack.hpp"

#include "blobs/bytes.hpp"

#include <algorithm>
#include <cstring>

namespace davit::blobs {

namespace {

constexpr std::string_view head_mark = "davitpk1", tail_mark = "davitpx1";
constexpr std::size_t entry_bytes = 32 + 8 + 8, footer_bytes = 8 + 8 + 32 + 8;
constexpr std::size_t buffer_bytes = 256 << 10;

std::string_view bytes_of(const digest& value) {
  return {reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size()};
}

bool take(byte_cursor& from, digest& value) {
  auto bytes = from.take_bytes(value.bytes.size());
  if (bytes)
    std::memcpy(value.bytes.data(), bytes->data(), bytes->size());
  return bytes.has_value();
}

error damaged(const char* what) {
  return {errc::damaged, std::string{"this is not a pack of blobs: "} + what};
}

class packed_blob final : public byte_reader {
public:
  packed_blob(std::shared_ptr<object_reader> from, const pack_entry& entry) : from_(std::move(from)), entry_(entry) {}

  result<std::size_t> read(std::span<char> into) override {
    if (done_ == entry_.size)
      return end();
    auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), entry_.size - done_));
    auto got = from_->read(entry_.offset + done_, into.first(wanted));
    if (!got)
      return got.error();
    if (*got == 0)
      return error{errc::damaged, "blob " + to_text(entry_.content) + " is cut off"};
    hasher_.add({into.data(), *got});
    done_ += *got;
    return *got;
  }

private:
  result<std::size_t> end() {
    if (hasher_.finish() != entry_.content)
      return error{errc::damaged, "blob " + to_text(entry_.content) + " is damaged: it has another digest"};
    return std::size_t{0};
  }

  std::shared_ptr<object_reader> from_;
  pack_entry entry_;
  hasher hasher_;
  std::uint64_t done_ = 0;
};

} // namespace

pack_writer::pack_writer(std::unique_ptr<object_writer> to, const pack_limits& limits)
  : to_(std::move(to)), limits_(limits), buffer_(head_mark), begin_(head_mark.size()), offset_(head_mark.size()) {}

result<void> pack_writer::flush() {
  auto done = buffer_.empty() ? result<void>{} : to_->write(buffer_);
  buffer_.clear();
  return done;
}

result<void> pack_writer::append(std::string_view bytes) {
  if (buffer_.size() + bytes.size() > buffer_bytes)
    if (auto flushed = flush(); !flushed)
      return flushed;
  if (bytes.size() >= buffer_bytes)
    return to_->write(bytes);
  buffer_ += bytes;
  return {};
}

result<void> pack_writer::write(std::string_view piece) {
  hasher_.add(piece);
  offset_ += piece.size();
  return append(piece);
}

result<pack_entry> pack_writer::end_blob() {
  if (entries_.size() >= limits_.blobs)
    return error{errc::invalid, "a pack can't hold more than " + std::to_string(limits_.blobs) + " blobs"};
  entries_.push_back({hasher_.finish(), begin_, offset_ - begin_});
  begin_ = offset_;
  return entries_.back();
}

result<pack_entry> pack_writer::add(std::string_view blob) {
  if (auto written = write(blob); !written)
    return written.error();
  return end_blob();
}

result<void> pack_writer::commit() {
  if (begin_ != offset_)
    return error{errc::invalid, "a pack can't be committed within a blob"};
  std::string index;
  index.reserve(entries_.size() * entry_bytes + footer_bytes);
  for (const auto& one : entries_) {
    index += bytes_of(one.content);
    append_integer(index, one.offset);
    append_integer(index, one.size);
  }
  auto check = digest_of(index);
  append_integer(index, offset_);
  append_integer(index, static_cast<std::uint64_t>(entries_.size()));
  index += bytes_of(check);
  index += tail_mark;
  if (auto written = append(index); !written)
    return written;
  if (auto flushed = flush(); !flushed)
    return flushed;
  return to_->commit();
}

result<std::vector<pack_entry>> read_pack_index(object_reader& from, const pack_limits& limits) {
  const auto size = from.size();
  if (size < head_mark.size() + footer_bytes)
    return damaged("it is too short");
  char head[head_mark.size()], footer[footer_bytes];
  auto got = from.read(0, head);
  if (!got)
    return got.error();
  if (*got != sizeof head || std::string_view{head, sizeof head} != head_mark)
    return damaged("it begins with something else");
  got = from.read(size - footer_bytes, footer);
  if (!got)
    return got.error();
  std::uint64_t at = 0, count = 0;
  digest check;
  byte_cursor tail{{footer, sizeof footer}};
  if (*got != sizeof footer || !tail.take(at) || !tail.take(count) || !take(tail, check)
      || tail.take_bytes(tail_mark.size()) != tail_mark)
    return damaged("it ends with something else");
  if (count > limits.blobs)
    return damaged("it has too many blobs");
  if (at < head_mark.size() || at > size || size - at != count * entry_bytes + footer_bytes)
    return damaged("its index is not where it should be");
  std::string index(static_cast<std::size_t>(count) * entry_bytes, '\0');
  if (!index.empty()) {
    got = from.read(at, index);
    if (!got)
      return got.error();
    if (*got != index.size())
      return damaged("its index is cut off");
  }
  if (digest_of(index) != check)
    return damaged("its index has another digest");
  std::vector<pack_entry> entries(static_cast<std::size_t>(count));
  byte_cursor rest{index};
  std::uint64_t expected = head_mark.size();
  for (auto& one : entries) {
    if (!take(rest, one.content) || !rest.take(one.offset) || !rest.take(one.size) || one.offset != expected
        || one.size > at - expected)
      return damaged("its blobs do not lie side by side");
    expected += one.size;
  }
  if (expected != at)
    return damaged("its blobs do not lie side by side");
  return entries;
}

std::unique_ptr<byte_reader> read_packed(std::shared_ptr<object_reader> from, const pack_entry& entry) {
  return std::make_unique<packed_blob>(std::move(from), entry);
}

} // namespace davit::blobs
