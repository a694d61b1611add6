#include "cli/files/fake_agent.hpp"

#include "blobs/bytes.hpp"
#include "blobs/manifest.hpp"
#include "cli/print.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace davit::test {

using transport::server_request;
using transport::server_response;

namespace {

server_response answer(int status, std::string body) {
  return {status, "application/json", std::move(body), {}};
}

std::string listed(const std::vector<blobs::digest>& all) {
  std::string text = "{\"detail\":\"blobs are missing\",\"missing\":[";
  for (const auto& one : all)
    text += (text.back() == '[' ? "\"" : ",\"") + blobs::to_text(one) + '"';
  return text + "]}";
}

} // namespace

fake_agent::fake_agent(std::uint64_t seed, agent_trouble with) : random_(seed), trouble_(with) {
  auto made = transport::http_server::listen(io_, transport::endpoint{"", "127.0.0.1", 0, {}}, {},
                                             [this](transport::exchange_ptr one) { judge(std::move(one)); });
  if (!made)
    throw std::runtime_error(made.error().message);
  server_ = *made;
}

fake_agent::~fake_agent() {
  server_->stop();
  io_.stop();
}

void fake_agent::judge(transport::exchange_ptr one) {
  one->trust("tester");
  one->read_body([this, one] {
    std::lock_guard guard{mutex_};
    const auto& request = one->request();
    largest_body = std::max(largest_body, request.body.size());
    if (happens(trouble_.lost_before))
      return one->cut();
    if (happens(trouble_.restarts))
      uploads_.clear();
    if (happens(trouble_.busy))
      return one->respond(answer(happens(50) ? 429 : 503, R"({"detail":"later"})"));
    server_response made{0, {}, {}, {}};
    if (before)
      made = before(request);
    if (made.status == 0)
      made = handle(request);
    if (happens(trouble_.lost_after))
      return one->cut();
    one->respond(std::move(made));
  });
}

server_response fake_agent::handle(const server_request& request) {
  const auto& path = request.segments;
  auto name = request.method;
  for (std::size_t i = 1; i < path.size(); ++i)
    name += ' ' + (i == 2 && path[1] == "uploads" ? "ID" : path[i]);
  ++requests[name];
  if (name == "POST blobs missing")
    return missing_of(request.body);
  if (name == "POST trees")
    return make_tree(request.body);
  if (name == "POST blobs") {
    auto count = take_frames(request.body, trouble_.lost_after != 0);
    return count < 0 ? answer(422, R"({"detail":"cut frames"})")
                     : answer(201, "{\"blobs\":" + std::to_string(count) + "}");
  }
  if (name == "POST uploads") {
    auto id = "upload-" + std::to_string(++next_upload_);
    uploads_[id];
    return answer(201, "{\"id\":\"" + id + "\",\"offset\":0}");
  }
  if (path.size() < 3 || path[1] != "uploads")
    return answer(404, R"({"detail":"there is no such thing"})");
  auto found = uploads_.find(path[2]);
  if (found == uploads_.end())
    return answer(404, R"({"detail":"there is no such upload"})");
  auto& one = found->second;
  if (name == "GET uploads ID")
    return answer(200, "{\"offset\":" + std::to_string(one.bytes.size()) + "}");
  if (name == "PATCH uploads ID")
    return patch(one, request);
  auto bytes = std::move(one.bytes);
  uploads_.erase(found);
  if (name == "DELETE uploads ID")
    return answer(204, "");
  auto count = take_frames(bytes, false);
  if (count != 1)
    largest_upload = std::max<std::uint64_t>(largest_upload, bytes.size());
  return count < 0 ? answer(422, R"({"detail":"the last frame is cut"})") : answer(201, "{}");
}

server_response fake_agent::patch(upload& to, const server_request& request) {
  auto offset = std::stoull(request.parameter("offset"));
  if (offset != to.bytes.size())
    return answer(409, "{\"detail\":\"another offset\",\"offset\":" + std::to_string(to.bytes.size()) + "}");
  if (request.header("content-type") != "application/vnd.davit.blobs")
    broken.push_back("a piece of an upload has another type");
  auto count = happens(trouble_.partial) ? random_() % (request.body.size() + 1) : request.body.size();
  to.bytes.append(request.body, 0, count);
  return answer(200, "{\"offset\":" + std::to_string(to.bytes.size()) + "}");
}

int fake_agent::take_frames(std::string_view bytes, bool again) {
  std::map<blobs::digest, std::string> taken;
  blobs::byte_cursor from{bytes};
  while (from.left() != 0) {
    auto head = from.take_bytes(32);
    std::uint64_t size = 0;
    if (!head || !from.take(size))
      return -1;
    auto content = from.take_bytes(size);
    blobs::digest said;
    std::memcpy(said.bytes.data(), head->data(), 32);
    if (!content || blobs::digest_of(*content) != said)
      return -1;
    if (!again && stored.contains(said))
      broken.push_back("a blob is sent that is there");
    taken[said] = *content;
  }
  auto count = static_cast<int>(taken.size());
  stored.merge(taken);
  return count;
}

server_response fake_agent::missing_of(const std::string& body) {
  json::parser parser;
  std::vector<blobs::digest> missing;
  std::size_t asked = 0;
  for (auto one : list_at(parse(parser, body), "digests")) {
    ++asked;
    auto content = blobs::parse_digest(one.get_string().value());
    if (!content)
      return answer(422, "{}");
    if (!stored.contains(*content))
      missing.push_back(*content);
  }
  if (asked > 50'000)
    broken.push_back("more than 50 000 digests are asked for");
  return answer(200, listed(missing));
}

server_response fake_agent::make_tree(const std::string& body) {
  json::parser parser;
  auto content = blobs::parse_digest(parse(parser, body)["tree"].get_string().value()).value();
  if (!stored.empty() && happens(trouble_.forgets))
    stored.erase(std::next(stored.begin(), static_cast<std::ptrdiff_t>(random_() % stored.size())));
  auto manifest = stored.find(content);
  if (manifest == stored.end())
    return answer(409, listed({content}));
  auto tree = blobs::read_manifest(manifest->second);
  if (!tree)
    return answer(422, R"({"detail":"not a manifest"})");
  std::vector<blobs::digest> missing;
  for (const auto& one : tree->entries)
    if (one.kind == blobs::entry_kind::file && !stored.contains(one.content))
      missing.push_back(one.content);
  if (!missing.empty())
    return answer(409, listed(missing));
  trees.insert(content);
  return answer(201, "{\"tree\":\"" + blobs::to_text(content) + "\"}");
}

} // namespace davit::test
