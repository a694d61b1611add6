#include "shipping/s3_writer.hpp"

#include <algorithm>
#include <charconv>

namespace davit::shipping {

using namespace std::chrono_literals;

namespace {

// Amazon S3 User Guide, "Multipart upload limits".
constexpr std::size_t most_parts = 10'000;
constexpr std::uint64_t share_of_object = 1350;
/// CompleteMultipartUpload: "Processing of a CompleteMultipartUpload request could take several minutes to finalize."
constexpr duration complete_within = 2min; // it is safe to ask again
constexpr duration abort_within = 5s;
constexpr std::size_t grown_quickly = 1024 * 1024; ///< Below this, the buffer grows as strings do.

const blobs::error used_up{blobs::errc::invalid, "a writer of an object is used after an error or its end"};

} // namespace

std::uint64_t s3_part_size(std::uint64_t least, std::uint64_t sent) {
  return (std::max<std::uint64_t>(sent / share_of_object, 1) + least - 1) / least * least;
}

s3_writer::s3_writer(std::shared_ptr<s3_client> client, std::string key)
  : client_(std::move(client)), key_(std::move(key)) {}

s3_writer::~s3_writer() {
  if (!open_)
    return;
  auto abort = request("DELETE");
  abort.query = {{"uploadId", upload_}};
  abort.answer_within = abort_within;
  abort.once = true;
  try {
    // Best effort: who can't be reached for this is asked by abort_uploads() some day.
    if (client_->call(abort))
      open_ = false;
  } catch (const std::exception&) { // no memory, or no socket
    open_ = false;
  }
}

s3_request s3_writer::request(std::string method, std::string_view body) const {
  s3_request made;
  made.method = std::move(method);
  made.key = key_;
  made.body = body;
  made.done = "written";
  made.max_body = 64 * 1024;
  return made;
}

blobs::result<void> s3_writer::write(std::string_view piece) {
  if (!usable_)
    return used_up;
  while (!piece.empty()) {
    auto size = s3_part_size(client_->settings().part_bytes, sent_);
    if (buffer_.size() == size) { // and more comes: what is no longer than a part is sent by commit()
      if (auto sent = send_part(); !sent) {
        usable_ = false;
        return sent.error();
      }
      continue;
    }
    auto count = std::min<std::uint64_t>(piece.size(), size - buffer_.size());
    if (buffer_.size() + count > grown_quickly)
      buffer_.reserve(size);
    buffer_.append(piece.substr(0, count));
    piece.remove_prefix(count);
  }
  return {};
}

blobs::result<void> s3_writer::begin() {
  auto begun = request("POST");
  begun.query = {{"uploads", ""}};
  begun.is_valid = [](std::string_view body) { return read_s3_upload_id(body).has_value(); };
  // If the answer is lost, an upload is left that nobody knows: abort_uploads() ends it.
  auto answer = client_->call(begun);
  if (!answer)
    return answer.error().error;
  upload_ = *read_s3_upload_id(answer->body);
  open_ = true;
  return {};
}

blobs::result<void> s3_writer::send_part() {
  if (!open_)
    if (auto begun = begin(); !begun)
      return begun;
  if (etags_.size() == most_parts)
    return blobs::error{blobs::errc::full,
                        client_->shown(key_) + " can't be written: it is larger than an object may be"};
  auto part = request("PUT", buffer_);
  part.query = {{"partNumber", std::to_string(etags_.size() + 1)}, {"uploadId", upload_}};
  auto answer = client_->call(part);
  if (!answer)
    return answer.error().error;
  etags_.push_back(answer->header("etag"));
  sent_ += buffer_.size();
  buffer_.clear();
  return {};
}

blobs::result<void> s3_writer::commit() {
  if (!usable_)
    return used_up;
  usable_ = false;
  if (open_) {
    if (!buffer_.empty())
      if (auto sent = send_part(); !sent)
        return sent;
    return complete();
  }
  auto put = request("PUT", buffer_);
  auto answer = client_->call(put);
  buffer_ = {};
  if (!answer)
    return answer.error().error;
  return {};
}

blobs::result<void> s3_writer::complete() {
  auto body = s3_completion(etags_);
  auto done = request("POST", body);
  done.query = {{"uploadId", upload_}};
  done.answer_within = complete_within;
  done.is_valid = is_s3_completion;
  auto answer = client_->call(done);
  // If the answer was lost to a request that has done its work, the next one finds no upload.
  if (!answer && !(answer.error().said == "NoSuchUpload" && is_there()))
    return answer.error().error;
  open_ = false;
  return {};
}

/// The key is nobody else's, so an object of this size is this one.
bool s3_writer::is_there() const {
  auto answer = client_->call(request("HEAD"));
  if (!answer)
    return false;
  auto text = answer->header("content-length");
  std::uint64_t size = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), size);
  return code == std::errc{} && end == text.data() + text.size() && size == sent_;
}

} // namespace davit::shipping
