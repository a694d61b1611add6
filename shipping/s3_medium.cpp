#include "shipping/s3_medium.hpp"

#include "shipping/s3_client.hpp"
#include "shipping/s3_reader.hpp"
#include "shipping/s3_writer.hpp"

#include <algorithm>

namespace davit::shipping {

namespace {

constexpr std::size_t most_listed = 1000; ///< By one request: Amazon S3 API Reference, ListObjectsV2.

blobs::error not_a_key(std::string_view key) {
  return {blobs::errc::invalid, "\"" + std::string{key.substr(0, 100)} + "\" is not the key of an object"};
}

} // namespace

blobs::result<std::unique_ptr<s3_medium>>
s3_medium::open_bucket(const s3_settings& settings, std::function<const char*(const char*)> get) {
  auto place = find_s3_place(settings, get);
  if (!place)
    return place.error();
  return std::unique_ptr<s3_medium>{
    new s3_medium(std::make_shared<s3_client>(settings, std::move(*place), std::move(get)))};
}

std::string s3_medium::name_of(std::string_view key) const {
  const auto& prefix = client_->settings().prefix;
  return (prefix.empty() ? "" : prefix + '/').append(key);
}

std::string_view s3_medium::key_of(std::string_view name) const {
  auto begin = name_of({});
  auto key = name.starts_with(begin) ? name.substr(begin.size()) : std::string_view{};
  return blobs::is_object_key(key) ? key : std::string_view{};
}

blobs::result<std::unique_ptr<blobs::object_writer>> s3_medium::create(std::string_view key) {
  if (!blobs::is_object_key(key))
    return not_a_key(key);
  return std::make_unique<s3_writer>(client_, name_of(key));
}

blobs::result<std::unique_ptr<blobs::object_reader>> s3_medium::open(std::string_view key) {
  if (!blobs::is_object_key(key))
    return not_a_key(key);
  return s3_reader::open(client_, name_of(key));
}

blobs::result<void> s3_medium::remove(std::string_view key) {
  if (!blobs::is_object_key(key))
    return not_a_key(key);
  s3_request request;
  request.method = "DELETE";
  request.key = name_of(key);
  request.done = "removed";
  request.max_body = 64 * 1024;
  auto answer = client_->call(request);
  if (!answer && answer.error().error.code != blobs::errc::missing)
    return answer.error().error;
  return {};
}

blobs::result<blobs::object_page> s3_medium::list(std::string_view from, std::size_t limit) {
  if (limit == 0 || (!from.empty() && !blobs::is_object_key(from)))
    return blobs::error{blobs::errc::invalid, "this is not the beginning of a page of objects"};
  blobs::object_page page;
  std::string next;
  do {
    s3_request request;
    request.done = "listed";
    // One more than is asked for tells whether there is another page.
    request.query = {{"list-type", "2"},
                     {"prefix", name_of({})},
                     {"delimiter", "/"}, // not what lies under another prefix below this one
                     {"max-keys", std::to_string(std::min(limit - page.objects.size() + 1, most_listed))}};
    if (!next.empty())
      request.query.emplace_back("continuation-token", next);
    else if (!from.empty())
      request.query.emplace_back("start-after", name_of(from));
    request.is_valid = [](std::string_view body) { return read_s3_listing(body).has_value(); };
    auto answer = client_->call(request);
    if (!answer)
      return answer.error().error;
    auto listing = *read_s3_listing(answer->body);
    for (const auto& one : listing.objects) {
      auto key = key_of(one.key);
      if (key.empty())
        continue;
      if (page.objects.size() == limit) {
        page.next = page.objects.back().key;
        return page;
      }
      page.objects.push_back(
        {std::string{key}, one.size, std::chrono::time_point_cast<std::chrono::system_clock::duration>(one.modified)});
    }
    next = std::move(listing.next);
  } while (!next.empty());
  return page;
}

blobs::result<std::size_t> s3_medium::abort_uploads(std::chrono::seconds older_than) {
  std::size_t count = 0;
  std::string next_key, next_id;
  do {
    s3_request request;
    request.done = "searched for old uploads";
    request.query = {{"uploads", ""}, {"prefix", name_of({})}};
    if (!next_key.empty())
      request.query.emplace_back("key-marker", next_key);
    if (!next_id.empty())
      request.query.emplace_back("upload-id-marker", next_id);
    request.is_valid = [](std::string_view body) { return read_s3_uploads(body).has_value(); };
    auto answer = client_->call(request);
    if (!answer)
      return answer.error().error;
    auto list = *read_s3_uploads(answer->body);
    for (const auto& one : list.uploads) {
      if (key_of(one.key).empty() || one.begun + older_than > client_->now())
        continue;
      s3_request abort;
      abort.method = "DELETE";
      abort.key = one.key;
      abort.query = {{"uploadId", one.id}};
      abort.done = "relieved of an old upload";
      abort.max_body = 64 * 1024;
      auto aborted = client_->call(abort);
      if (!aborted && aborted.error().status != 404)
        return aborted.error().error;
      count += aborted.has_value() ? 1 : 0;
    }
    next_key = std::move(list.next_key);
    next_id = std::move(list.next_id);
  } while (!next_key.empty());
  return count;
}

} // namespace davit::shipping
