#include "blobs/packed_source.hpp"

#include "encoding/printable.hpp"

#include <algorithm>
#include <utility>

namespace davit::blobs {

namespace {

constexpr std::size_t most_open = 8;

/// Where objects lie may be away for a while, and then nothing is lost.
bool is_loss(const error& e) {
  return e.code == errc::missing || e.code == errc::damaged;
}

/// What is said of a pack's trouble to whoever reads `name` from it.
error told(const error& e, const std::string& name, const std::string& key, const lost_pack& lost) {
  if (!is_loss(e))
    return e;
  if (lost)
    lost(key);
  return {errc::missing, name + " is lost (" + e.message
                           + "). Run the command that sent it again (davit run --input), and it is sent once more. If "
                             "it is an output of a task, run that task again"};
}

class watched_reader final : public byte_reader {
public:
  watched_reader(std::unique_ptr<byte_reader> from, std::string name, std::string key, lost_pack lost)
    : from_(std::move(from)), name_(std::move(name)), key_(std::move(key)), lost_(std::move(lost)) {}

  result<std::size_t> read(std::span<char> into) override {
    auto got = from_->read(into);
    if (!got)
      return told(got.error(), name_, key_, lost_);
    return got;
  }

private:
  std::unique_ptr<byte_reader> from_;
  std::string name_, key_;
  lost_pack lost_;
};

std::string name_of(const digest& content) {
  return "blob " + to_text(content);
}

} // namespace

packed_source::packed_source(medium& from, const std::vector<blob_place>& places, lost_pack lost)
  : from_(from), lost_(std::move(lost)) {
  places_.reserve(places.size());
  for (const auto& one : places)
    places_.emplace(one.content, one);
}

result<std::shared_ptr<object_reader>> packed_source::pack(const std::string& key) {
  auto found = std::find_if(open_.begin(), open_.end(), [&](const auto& one) { return one.first == key; });
  if (found != open_.end()) {
    std::rotate(found, found + 1, open_.end());
    return open_.back().second;
  }
  auto opened = from_.open(key);
  if (!opened)
    return opened.error();
  if (open_.size() == most_open)
    open_.erase(open_.begin());
  open_.emplace_back(key, std::move(*opened));
  return open_.back().second;
}

result<blob_place> packed_source::place(const digest& content) const {
  auto found = places_.find(content);
  if (found == places_.end())
    return error{errc::missing, "there is no blob " + to_text(content)};
  return found->second;
}

result<std::unique_ptr<byte_reader>> packed_source::open(const digest& content, const std::string& name) {
  auto where = place(content);
  if (!where)
    return where.error();
  auto from = pack(where->pack);
  if (!from)
    return told(from.error(), name, where->pack, lost_);
  return std::unique_ptr<byte_reader>{std::make_unique<watched_reader>(
    read_packed(*from, {where->content, where->offset, where->size}), name, where->pack, lost_)};
}

result<std::unique_ptr<byte_reader>> packed_source::open(const digest& content) {
  return open(content, name_of(content));
}

result<std::unique_ptr<byte_reader>> packed_source::open(const tree_entry& file) {
  return open(file.content, encoding::printable(file.path));
}

result<std::uint64_t> packed_source::size(const digest& content) const {
  auto where = place(content);
  if (!where)
    return where.error();
  return where->size;
}

result<std::string> packed_source::read(const digest& content, std::uint64_t most) {
  auto where = place(content);
  if (!where)
    return where.error();
  if (where->size > most)
    return error{errc::refused, "blob " + to_text(content) + " has " + std::to_string(where->size)
                                  + " bytes, which are more than " + std::to_string(most)};
  auto from = open(content);
  if (!from)
    return from.error();
  std::string bytes(static_cast<std::size_t>(where->size), '\0');
  std::size_t done = 0;
  for (char past_end = 0;;) { // reads on past the last byte: only the end says that all are right
    auto into = done < bytes.size() ? std::span{bytes}.subspan(done) : std::span{&past_end, 1};
    auto got = (*from)->read(into);
    if (!got)
      return got.error();
    if (*got == 0)
      return bytes;
    done += *got;
  }
}

result<std::size_t> packed_source::read(const digest& content, std::uint64_t offset, std::span<char> into) {
  auto where = place(content);
  if (!where)
    return where.error();
  if (offset >= where->size)
    return std::size_t{0};
  auto from = pack(where->pack);
  if (!from)
    return told(from.error(), name_of(content), where->pack, lost_);
  auto count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), where->size - offset));
  auto got = (*from)->read(where->offset + offset, into.first(count));
  if (got && *got < count)
    got = error{errc::damaged, "it is cut off"};
  if (!got)
    return told(got.error(), name_of(content), where->pack, lost_);
  return got;
}

std::vector<digest> blobs_of(const tree& value) {
  std::vector<digest> all;
  for (const auto& one : value.entries)
    if (one.kind == entry_kind::file)
      all.push_back(one.content);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

} // namespace davit::blobs
