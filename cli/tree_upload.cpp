#include "cli/tree_upload.hpp"

#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"
#include "cli/file_failure.hpp"
#include "cli/http_body.hpp"
#include "cli/no_answer.hpp"
#include "cli/progress_line.hpp"
#include "cli/upload_frames.hpp"

#include <algorithm>
#include <thread>
#include <unordered_set>

namespace davit {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_asked = 50'000; // digests in one question
/// A request that fails after so long was not brought by the line.
constexpr std::chrono::seconds slow_after{10};
constexpr std::uint64_t most_at_once = 4 << 20, least_at_once = 64 << 10, most_in_upload = 64 << 20;
constexpr duration request_limit = 300s;
constexpr int most_rounds = 20;

class sender {
public:
  sender(api_client& client, const local_tree& what, const upload_options& options)
    : client_(client), options_(options), what_(what), manifest_(blobs::write_manifest(what.entries)) {
    auto source = blobs::folder_source::open_folder(what.folder);
    if (!source)
      throw failure_of(source.error());
    files_.emplace(std::move(*source));
    std::unordered_set<blobs::digest> seen;
    for (const auto& one : what.entries.entries)
      if (one.kind == blobs::entry_kind::file && seen.insert(one.content).second)
        all_.push_back({one.content, one.size, &one});
    tree_ = blobs::digest_of(manifest_);
    all_.push_back({tree_, manifest_.size(), nullptr});
  }

  sent_tree send() {
    std::unordered_set<blobs::digest> missing; // what the agent has said so about, beyond its answers to the question
    for (int round = 0; round < most_rounds; ++round) {
      auto answer = ask("POST", "/v1/trees", [this] { return "{\"tree\":\"" + blobs::to_text(tree_) + "\"}"; });
      if (answer.status / 100 == 2) {
        sent_.tree = blobs::to_text(tree_);
        return sent_;
      }
      if (answer.status != 409)
        refused(answer);
      add_missing(answer.body, missing);
      while (!send_missing(missing)) {
        const command_failure why{"the agent forgets again and again what it was sent"};
        if (++forgotten_ > options_.most_failures)
          throw why;
        failed(why);
      }
    }
    throw command_failure{"the agent says again and again that files are missing which it was sent"};
  }

private:
  using body_maker = std::function<std::string()>;

  [[noreturn]] static void refused(const transport::http_response& answer) {
    auto failure = failure_of(answer.status, answer.body);
    if (answer.status == 404 || answer.status == 405)
      failure.message += " (does this agent take files? it may be older than this command)";
    failure.exit_code = 125;
    throw failure;
  }

  /// Something that may pass has failed: waits, or gives up.
  void failed(const command_failure& why) {
    if (++failures_ > options_.most_failures)
      throw why;
    std::this_thread::sleep_for(options_.pause);
  }

  transport::result<transport::http_response>
  ask_once(const std::string& method, const std::string& target, std::string body, const char* type) {
    auto request = client_.request(method, target, std::move(body));
    request.content_type = type;
    transport::call_options call;
    call.until = transport::within(request_limit);
    return client_.ask(std::move(request), std::move(call));
  }

  /// Asks until there is an answer. Only for what may be asked twice.
  transport::http_response ask(
    const std::string& method, const std::string& target, const body_maker& body = [] { return std::string{}; },
    const char* type = "application/json") {
    while (true) {
      auto answer = ask_once(method, target, body(), type);
      if (!answer && !heard_) // it is not there: nothing that passes
        throw no_answer(answer.error());
      heard_ = true;
      if (answer && !may_pass(answer->status))
        return std::move(*answer);
      failed(answer ? failure_of(answer->status, answer->body) : no_answer(answer.error()));
    }
  }

  static json::element parsed(json::parser& parser, const std::string& body) {
    auto root = parser.parse(body);
    if (!root)
      throw command_failure{"the agent's answer is malformed: " + root.error().text()};
    return *root;
  }

  /// The blobs that the agent names as missing.
  static void add_missing(const std::string& body, std::unordered_set<blobs::digest>& to) {
    json::parser parser;
    simdjson::dom::array list;
    if (parsed(parser, body)["missing"].get(list) != simdjson::SUCCESS)
      return;
    for (auto one : list) {
      std::string_view text;
      auto content = one.get(text) == simdjson::SUCCESS ? blobs::parse_digest(text) : std::nullopt;
      if (!content)
        throw command_failure{"the agent's answer is malformed: it names a blob that has no digest"};
      to.insert(*content);
    }
  }

  void ask_missing(std::unordered_set<blobs::digest>& to) {
    for (std::size_t from = 0; from < all_.size(); from += most_asked) {
      auto answer = ask("POST", "/v1/blobs/missing", [&] {
        std::string body = "{\"digests\":[";
        for (auto i = from; i < std::min(from + most_asked, all_.size()); ++i)
          body.append(i == from ? "\"" : ",\"").append(blobs::to_text(all_[i].content)).append("\"");
        return body + "]}";
      });
      if (answer.status != 200)
        refused(answer);
      add_missing(answer.body, to);
    }
  }

  /// Sends what is missing. False: the agent has forgotten something meanwhile.
  bool send_missing(std::unordered_set<blobs::digest>& named) {
    auto missing = std::move(named);
    named.clear();
    ask_missing(missing);
    std::vector<wanted_blob> wanted;
    for (const auto& one : all_)
      if (missing.contains(one.content))
        wanted.push_back(one);
    left_ = size_of(wanted);
    total_ = left_;
    show_progress(0);
    if (left_ <= piece_)
      return wanted.empty() || send_at_once(wanted);
    for (std::size_t from = 0; from < wanted.size();) {
      auto until = from + 1;
      for (auto sum = frame_head + wanted[from].size; until < wanted.size(); ++until)
        if (sum += frame_head + wanted[until].size; sum > most_in_upload)
          break;
      auto group = std::span{wanted}.subspan(from, until - from);
      if (!send_upload(group))
        return false;
      arrived(group);
      from = until;
    }
    return true;
  }

  static std::uint64_t size_of(std::span<const wanted_blob> blobs) {
    std::uint64_t sum = 0;
    for (const auto& one : blobs)
      sum += frame_head + one.size;
    return sum;
  }

  /// They are there, and stay there.
  void arrived(std::span<const wanted_blob> blobs) {
    failures_ = forgotten_ = 0;
    sent_.blobs += blobs.size();
    for (const auto& one : blobs)
      sent_.bytes += one.size;
    left_ -= std::min(left_, size_of(blobs));
    show_progress(0);
  }

  void show_progress(std::uint64_t of_upload) {
    options_.progress("sending " + what_.folder + ": " + mebibytes(total_ - left_ + of_upload) + " of "
                      + mebibytes(total_));
  }

  /// A request has failed. A line that is slow brings less in the time that the agent waits for a body.
  void
  failed_piece(const transport::result<transport::http_response>& answer, std::chrono::steady_clock::time_point begun) {
    constexpr int too_slow = 408;
    auto slow = answer ? answer->status == too_slow : std::chrono::steady_clock::now() - begun >= slow_after;
    if (slow)
      piece_ = std::max(piece_ / 4, least_at_once);
    failed(answer ? failure_of(answer->status, answer->body) : no_answer(answer.error()));
  }

  bool send_at_once(std::span<const wanted_blob> wanted) {
    while (size_of(wanted) <= piece_) {
      frame_stream frames{wanted, *files_, manifest_};
      auto bytes = frames.take(most_at_once);
      if (!bytes)
        throw failure_of(bytes.error());
      auto begun = std::chrono::steady_clock::now();
      auto answer = ask_once("POST", "/v1/blobs", std::move(*bytes), frames_type);
      if (!answer || may_pass(answer->status)) {
        failed_piece(answer, begun);
        continue;
      }
      if (answer->status / 100 != 2)
        refused(*answer);
      arrived(wanted);
      return true;
    }
    if (!send_upload(wanted))
      return false;
    arrived(wanted);
    return true;
  }

  /// A field of an answer that is a number.
  static std::uint64_t offset_in(const std::string& body) {
    json::parser parser;
    std::uint64_t offset = 0;
    if (parsed(parser, body)["offset"].get(offset) != simdjson::SUCCESS)
      throw command_failure{"the agent's answer is malformed: it has no offset"};
    return offset;
  }

  /// Goes to the agent's offset. It has what it was sent, and nothing else.
  static void follow(frame_stream& frames, std::uint64_t offset) {
    if (offset > frames.size())
      throw command_failure{"the agent's answer is malformed: it has more of an upload than it was sent"};
    if (auto done = frames.seek(offset); !done)
      throw failure_of(done.error());
  }

  /// False: the agent has no such upload any more.
  bool send_upload(std::span<const wanted_blob> group) {
    auto begun = ask("POST", "/v1/uploads");
    if (begun.status / 100 != 2)
      refused(begun);
    json::parser parser;
    std::string_view id;
    if (parsed(parser, begun.body)["id"].get(id) != simdjson::SUCCESS)
      throw command_failure{"the agent's answer is malformed: it has no id"};
    auto target = "/v1/uploads/" + transport::url_encode(id);
    frame_stream frames{group, *files_, manifest_};
    try {
      return send_frames(target, frames) && commit(target);
    } catch (const command_failure&) { // the agent would forget it by itself, after some time
      static_cast<void>(ask_once("DELETE", target, {}, "application/json"));
      throw;
    }
  }

  bool send_frames(const std::string& target, frame_stream& frames) {
    std::uint64_t furthest = 0;
    while (frames.at() < frames.size()) {
      auto from = frames.at();
      auto bytes = frames.take(piece_);
      if (!bytes)
        throw failure_of(bytes.error());
      auto begun = std::chrono::steady_clock::now();
      auto answer = ask_once("PATCH", target + "?offset=" + std::to_string(from), std::move(*bytes), frames_type);
      if (answer && answer->status == 404)
        return false;
      if (!answer || may_pass(answer->status)) {
        failed_piece(answer, begun);
        auto where = ask("GET", target);
        if (where.status == 404)
          return false;
        if (where.status != 200)
          refused(where);
        follow(frames, offset_in(where.body));
      } else if (answer->status == 409) {
        failed(failure_of(answer->status, answer->body));
        follow(frames, offset_in(answer->body));
      } else if (answer->status == 200) {
        follow(frames, offset_in(answer->body));
      } else {
        refused(*answer);
      }
      if (frames.at() > furthest)
        failures_ = 0;
      else if (answer && answer->status == 200)
        failed({"the agent takes nothing of an upload"});
      furthest = std::max(furthest, frames.at());
      show_progress(frames.at());
    }
    return true;
  }

  /// An answer that was lost may have been a good one: then the upload is gone, and its blobs are there.
  bool commit(const std::string& target) {
    auto answer = ask("POST", target + "/commit");
    if (answer.status == 404 || answer.status == 409)
      return false;
    if (answer.status / 100 != 2)
      refused(answer);
    return true;
  }

  static constexpr const char* frames_type = "application/vnd.davit.blobs";

  api_client& client_;
  const upload_options& options_;
  const local_tree& what_;
  std::string manifest_;
  blobs::digest tree_;
  std::optional<blobs::folder_source> files_;
  std::vector<wanted_blob> all_; ///< Each once: the files in the tree's order, then the manifest.
  std::uint64_t left_ = 0, total_ = 0;
  bool heard_ = false;                 ///< The agent has answered something.
  std::uint64_t piece_ = most_at_once; ///< What goes in one request.
  int failures_ = 0, forgotten_ = 0;   ///< Since something arrived.
  sent_tree sent_;
};

} // namespace

sent_tree send_tree(api_client& client, const local_tree& what, const upload_options& options) {
  return sender{client, what, options}.send();
}

} // namespace davit
