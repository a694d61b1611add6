#include "shipping/s3_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace davit::shipping {

namespace {

constexpr std::size_t least_read = 128 * 1024;

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size() ? std::optional{number} : std::nullopt;
}

s3_request reading(std::string method, const std::string& key) {
  s3_request made;
  made.method = std::move(method);
  made.key = key;
  made.done = "read";
  made.max_body = 64 * 1024;
  return made;
}

} // namespace

s3_window::range s3_window::next(std::uint64_t offset, std::size_t wanted) {
  auto length = std::max({wanted, least_read, offset == end_ && last_ != 0 ? last_ * 2 : 0});
  length = static_cast<std::size_t>(std::min<std::uint64_t>(std::min(length, most_), size_ - offset));
  last_ = length;
  end_ = offset + length;
  return {offset, length};
}

s3_reader::s3_reader(std::shared_ptr<s3_client> client, std::string key, std::uint64_t size, std::string etag)
  : client_(std::move(client)), key_(std::move(key)), size_(size), etag_(std::move(etag)),
    window_(size, client_->settings().read_bytes) {}

blobs::result<std::unique_ptr<blobs::object_reader>>
s3_reader::open(std::shared_ptr<s3_client> client, std::string key) {
  auto head = client->call(reading("HEAD", key));
  if (!head && head.error().status == 404) {
    // The answer to HEAD does not say whether the object or the whole bucket is missing; the answer to GET does.
    auto get = reading("GET", key);
    get.headers = {{"Range", "bytes=0-0"}};
    auto got = client->call(get);
    return got ? head.error().error : got.error().error;
  }
  if (!head)
    return head.error().error;
  auto size = number_in(head->header("content-length"));
  if (!size)
    return blobs::error{blobs::errc::failed,
                        client->shown(key) + " can't be read: the server does not say how long it is"};
  auto etag = head->header("etag");
  return std::unique_ptr<blobs::object_reader>{
    new s3_reader(std::move(client), std::move(key), *size, std::move(etag))};
}

blobs::result<std::size_t> s3_reader::read(std::uint64_t offset, std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size() && offset < size_) {
    if (offset < begin_ || offset - begin_ >= buffer_.size())
      if (auto filled = fill(offset, into.size() - done); !filled)
        return filled.error();
    auto from = static_cast<std::size_t>(offset - begin_);
    auto count = std::min(buffer_.size() - from, into.size() - done);
    std::memcpy(into.data() + done, buffer_.data() + from, count);
    done += count;
    offset += count;
  }
  return done;
}

blobs::result<void> s3_reader::fill(std::uint64_t offset, std::size_t wanted) {
  auto [begin, length] = window_.next(offset, wanted);
  buffer_ = {}; // first, so that there are never two
  auto get = reading("GET", key_);
  get.max_body = std::max(length, get.max_body); // an error needs room too
  auto first = std::to_string(begin);
  get.headers = {{"Range", "bytes=" + first + '-' + std::to_string(begin + length - 1)}};
  if (!etag_.empty())
    get.headers.emplace_back("If-Match", etag_);
  auto answer = client_->call(get);
  if (!answer)
    return answer.error().error;
  // A server may send all of the object if all of it was asked for.
  bool ranged = answer->status == 206 && answer->header("content-range").starts_with("bytes " + first + '-');
  if (!(ranged || (answer->status == 200 && length == size_)) || answer->body.size() != length)
    return blobs::error{blobs::errc::failed,
                        client_->shown(key_) + " can't be read: the server has sent another part of it"};
  begin_ = begin;
  buffer_ = std::move(answer->body);
  return {};
}

} // namespace davit::shipping
