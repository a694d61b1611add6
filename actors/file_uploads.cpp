#include "actors/file_uploads.hpp"

#include "actors/metrics.hpp"

#include <algorithm>
#include <utility>

namespace davit {

namespace {

/// An upload that is open holds a file and a buffer.
constexpr std::ptrdiff_t most_per_owner = 16;
constexpr std::size_t most_uploads = 256;

caf::error no_upload(const uuid& id) {
  return make_failure(files_errc::missing,
                      "there is no upload " + to_string(id) + " (any more); begin again with what is missing");
}

} // namespace

// -- one upload ------------------------------------------------------------------------------------------------------

class file_upload::borrowed_thread {
public:
  borrowed_thread(file_upload& upload, const transfer& with) : upload_(upload) { upload_.with_ = &with; }
  ~borrowed_thread() { upload_.with_ = nullptr; }
  borrowed_thread(const borrowed_thread&) = delete;
  borrowed_thread& operator=(const borrowed_thread&) = delete;

private:
  file_upload& upload_;
};

file_upload::file_upload(context_ptr context, std::string owner, uuid incarnation,
                         std::shared_ptr<std::atomic<std::uint64_t>> under_way)
  : context_(std::move(context)), owner_(std::move(owner)),
    under_way_(under_way ? std::move(under_way) : std::make_shared<std::atomic<std::uint64_t>>(0)) {
  auto ask = [this](std::function<store::result<void>(store::blob_catalogue&)> work) -> store::result<void> {
    if (!with_) // it is destroyed: the sweeper finds its pack
      return store::error{store::errc::unavailable, "nobody asks"};
    return catalogue_of(with_->self, with_->store)(std::move(work));
  };
  blob_writing how{owner_, context_->settings.name, incarnation, context_->settings.files.quota.bytes};
  writer_ = std::make_unique<blob_writer>(context_->blobs, std::move(ask), std::move(how));
}

file_upload::~file_upload() {
  release();
}

void file_upload::release() {
  *under_way_ -= std::exchange(counted_, 0);
}

/// What is not committed takes room too.
caf::expected<void> file_upload::keep_quota(std::size_t more) {
  constexpr std::uint64_t often_enough = 64 << 20;
  if (asked_at_ == ~0ull || offset_ - asked_at_ >= often_enough) {
    auto kept = std::make_shared<std::uint64_t>(0);
    auto asked = catalogue_of(with_->self,
                              with_->store)([kept, owner = owner_](store::blob_catalogue& all) -> store::result<void> {
      auto usage = all.usage();
      if (!usage)
        return usage.error();
      for (const auto& one : *usage)
        if (one.owner == owner)
          *kept = one.bytes - one.lost_bytes; // which may be what is sent here
      return {};
    });
    if (!asked)
      return make_failure(files_errc::failed, asked.error().message);
    kept_ = *kept;
    asked_at_ = offset_;
  }
  auto quota = context_->settings.files.quota.bytes;
  if (auto all = kept_ + *under_way_ + more; all > quota)
    return make_failure(files_errc::full, "with these files " + owner_ + " would have " + std::to_string(all)
                                            + " bytes of " + std::to_string(quota) + " that it may have");
  return caf::unit;
}

caf::expected<std::uint64_t> file_upload::append(const transfer& with, std::uint64_t offset, std::string_view bytes) {
  if (failed_)
    return *failed_;
  if (offset > offset_)
    return make_failure(files_errc::conflict, "the next bytes begin at " + std::to_string(offset_));
  auto known = std::min<std::uint64_t>(offset_ - offset, bytes.size());
  bytes.remove_prefix(static_cast<std::size_t>(known));
  borrowed_thread guard{*this, with};
  if (auto room = keep_quota(bytes.size()); !room)
    return room.error();
  if (auto fed = frames_.feed(bytes, *writer_); !fed) {
    failed_ = to_caf(fed.error());
    return *failed_;
  }
  offset_ += bytes.size();
  *under_way_ += bytes.size();
  counted_ += bytes.size();
  context_->metrics->files_moved("upload", bytes.size());
  return offset_;
}

caf::expected<upload_summary> file_upload::commit(const transfer& with) {
  if (failed_)
    return *failed_;
  if (!frames_.whole())
    return make_failure(files_errc::refused,
                        "the last blob is not whole: its upload has ended after " + std::to_string(offset_) + " bytes");
  borrowed_thread guard{*this, with};
  if (auto done = writer_->finish(); !done) {
    failed_ = to_caf(done.error());
    return *failed_;
  }
  release();
  return upload_summary{frames_.blobs(), frames_.bytes()};
}

void file_upload::abandon(const transfer& with) {
  borrowed_thread guard{*this, with};
  writer_.reset();
  release();
  failed_ = make_failure(files_errc::missing, "the upload was given up");
}

// -- all uploads -----------------------------------------------------------------------------------------------------

caf::expected<uuid> upload_table::add(std::shared_ptr<file_upload> upload, clock::time_point now) {
  auto is_owners = [&](const auto& one) { return one.second.upload->owner() == upload->owner(); };
  auto of_owner = std::count_if(all_.begin(), all_.end(), is_owners);
  if (of_owner >= most_per_owner) { // its client may be dead: one that is not begins again
    auto oldest = all_.end();
    for (auto one = all_.begin(); one != all_.end(); ++one)
      if (is_owners(*one) && !one->second.busy && now - one->second.used >= stale_after
          && (oldest == all_.end() || one->second.used < oldest->second.used))
        oldest = one;
    if (oldest != all_.end()) {
      stale_.push_back(std::move(oldest->second.upload));
      all_.erase(oldest);
      --of_owner;
    }
  }
  if (of_owner >= most_per_owner || all_.size() >= most_uploads)
    return make_failure(files_errc::busy,
                        "there are " + std::to_string(of_owner) + " uploads under way; end some, or try again later");
  auto id = uuid::make_v4();
  all_[id] = {std::move(upload), false, now};
  return id;
}

caf::expected<const upload_table::entry*> upload_table::find(const std::string& owner, const uuid& id) const {
  auto found = all_.find(id);
  if (found == all_.end() || found->second.upload->owner() != owner)
    return no_upload(id);
  return &found->second;
}

caf::expected<std::shared_ptr<file_upload>> upload_table::take(const std::string& owner, const uuid& id) {
  auto found = all_.find(id);
  if (found == all_.end() || found->second.upload->owner() != owner)
    return no_upload(id);
  if (std::exchange(found->second.busy, true)) {
    return make_failure(files_errc::busy, "another request of this upload is under way");
  }
  return found->second.upload;
}

void upload_table::give_back(const uuid& id, clock::time_point now) {
  if (auto found = all_.find(id); found != all_.end()) {
    found->second.busy = false;
    found->second.used = now;
  }
}

std::shared_ptr<std::atomic<std::uint64_t>> upload_table::under_way(const std::string& owner) {
  std::erase_if(under_way_, [](const auto& one) { return one.second.expired(); });
  auto& known = under_way_[owner];
  auto shared = known.lock();
  if (!shared)
    known = shared = std::make_shared<std::atomic<std::uint64_t>>(0);
  return shared;
}

std::vector<std::shared_ptr<file_upload>> upload_table::lapse(clock::time_point since) {
  auto lapsed = std::exchange(stale_, {});
  for (auto one = all_.begin(); one != all_.end();)
    if (!one->second.busy && one->second.used < since) {
      lapsed.push_back(std::move(one->second.upload));
      one = all_.erase(one);
    } else {
      ++one;
    }
  return lapsed;
}

} // namespace davit
