#include "actors/file_transfer.hpp"

#include "actors/crash_point.hpp"
#include "actors/file_caches.hpp"
#include "actors/file_transfer_parts.hpp"
#include "actors/metrics.hpp"
#include "actors/output_tests.hpp"
#include "blobs/ignore.hpp"
#include "blobs/manifest.hpp"
#include "blobs/tar_reader.hpp"
#include "encoding/archive.hpp"
#include "encoding/printable.hpp"
#include "transport/io_runtime.hpp"

#include <caf/typed_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

namespace davit {

namespace {

using namespace moving;
using namespace std::chrono_literals;

// -- out -------------------------------------------------------------------------------------------------------------

class channel_reader final : public blobs::byte_reader {
public:
  explicit channel_reader(transport::byte_channel& from, transport::deadline until) : from_(from), until_(until) {}

  blobs::result<std::size_t> read(std::span<char> into) override {
    if (given_ == piece_.size()) {
      auto next = from_.pop(until_);
      if (!next)
        return blobs::error{blobs::errc::failed, next.error().message};
      piece_ = std::move(*next);
      given_ = 0;
    }
    auto count = std::min(into.size(), piece_.size() - given_);
    std::copy_n(piece_.data() + given_, count, into.data());
    given_ += count;
    return count;
  }

private:
  transport::byte_channel& from_;
  transport::deadline until_;
  std::string piece_;
  std::size_t given_ = 0;
};

/// What came of an output; trouble with the engine's connection is an error.
using outcome_of_output = caf::expected<collected_output>;

/// A tree whose first folder (or only file) has the name of the path that it was asked for by.
void strip_first(blobs::tree& all) {
  if (all.entries.empty() || all.entries[0].kind != blobs::entry_kind::folder)
    return;
  auto prefix = all.entries[0].path + '/';
  all.entries.erase(all.entries.begin());
  for (auto& one : all.entries) {
    if (one.path.starts_with(prefix))
      one.path.erase(0, prefix.size());
    if (one.kind == blobs::entry_kind::hard_link && one.target.starts_with(prefix))
      one.target.erase(0, prefix.size());
  }
}

bool is_connection_error(const caf::error& e) {
  if (e.category() != caf::type_id_v<engine_errc>)
    return e.category() != caf::type_id_v<files_errc>; // an actor was restarted
  auto code = static_cast<engine_errc>(e.code());
  // `cancelled`: the engine is said to be down, and its calls are ended.
  return is_connection_trouble(code) || code == engine_errc::protocol || code == engine_errc::cancelled;
}

class collector {
public:
  collector(const transfer& with, const collect_order& order)
    : with_(with), order_(order), catalogue_(catalogue_of(with.self, with.store)),
      until_(transport::within(order.limit)) {}

  outcome_of_output collect(const std::string& name, const task_output& wanted) {
    auto most = with_.context->settings.files.most_output;
    return collect(name, wanted, std::min(wanted.max.value_or(most), most));
  }

  outcome_of_output collect(const std::string& name, const task_output& wanted, byte_size most) {
    done_ = {};
    done_.name = name;
    if (!is_in_time(wanted.when, order_.succeeded))
      return told(output_state::skipped, order_.succeeded ? "the task succeeded" : "the task did not succeed");
    auto [folder, pattern] = split_pattern(wanted.path);
    blobs::untar_options how;
    how.limits = limits_for(with_.context->settings.files, most, purpose());
    how.skip_special = true;
    auto wants = blobs::ignore_patterns::compile(pattern.empty() ? std::vector<std::string>{}
                                                                 : std::vector<std::string>{pattern});
    if (!wants)
      return told(output_state::failed, wants.error().message);
    if (!pattern.empty())
      how.wanted = [&](const std::string& path) {
        auto slash = path.find('/');
        // Without a slash: what is there is no folder. It may be a link to one.
        return slash == std::string::npos || wants->match(path.substr(slash + 1)).ignored;
      };
    return read(folder, how);
  }

private:
  /// A cache has no name.
  store::blob_purpose purpose() const {
    return done_.name.empty() ? store::blob_purpose::cache : store::blob_purpose::task;
  }

  outcome_of_output told(output_state state, std::string message) {
    done_.state = state;
    done_.message = std::move(message);
    return done_;
  }

  outcome_of_output read(const std::string& path, blobs::untar_options how, int followed = 0) {
    const auto& settings = with_.context->settings;
    how.above = std::filesystem::path{path}.filename().string(); // the archive begins with it
    blob_writer writer{with_.context->blobs,
                       catalogue_,
                       {order_.owner, settings.name, with_.incarnation, settings.files.quota.bytes, purpose()}};
    blobs::result<blobs::untarred> got = blobs::error{};
    stream from{with_};
    auto move = [&] {
      channel_reader bytes{from.channel(), until_};
      got = blobs::read_tar(bytes, writer, how);
      if (!got)
        from.channel().fail({engine_errc::cancelled, 0, got.error().message});
      while (got) { // the end of what the engine sends, behind the archive's own
        auto rest = from.channel().pop(until_);
        if (!rest || rest->empty())
          break;
      }
    };
    auto answer = from.run(move, files_atom_v, collect_atom_v, order_.attempt, order_.container, path);
    if (with_.stop->stopped())
      return told(output_state::failed, "it was not collected: the attempt was withdrawn");
    if (writer.failure() && writer.failure()->code == blobs::errc::failed)
      return to_caf(*writer.failure());
    auto cut_by_us = !got && got.error().code != blobs::errc::failed; // the engine's error is that we have hung up
    if (!answer && !cut_by_us) {
      if (engine_code(answer.error()) == engine_errc::not_found
          && answer.error().category() == caf::type_id_v<engine_errc>)
        return told(output_state::missing, "there is nothing at " + encoding::printable(path));
      if (transport::within(duration{0}) >= until_)
        return told(output_state::failed, "it was not collected within " + format_duration(order_.limit));
      if (is_connection_error(answer.error()))
        return answer.error();
      // Its own words name places on its host.
      spdlog::warn("engine {} can't give {} of {}: {}", order_.engine, path, order_.container, text_of(answer.error()));
      return told(output_state::failed,
                  "the engine can't give " + encoding::printable(path) + "; the agent's log says why");
    }
    if (!got)
      return told(output_state::failed, got.error().message);
    auto& all = got->entries;
    if (all.entries.size() == 1 && all.entries[0].kind == blobs::entry_kind::symlink) {
      constexpr int most_links = 20;
      auto target = std::filesystem::path{path}.parent_path() / all.entries[0].target;
      if (followed == most_links)
        return told(output_state::missing, encoding::printable(path) + " is a link that leads in a circle");
      return read(target.lexically_normal().string(), std::move(how), followed + 1);
    }
    auto no_folder = all.entries.size() == 1 && all.entries[0].kind != blobs::entry_kind::folder;
    strip_first(all);
    if (how.wanted && (all.entries.empty() || no_folder))
      return told(output_state::missing, "nothing in " + encoding::printable(path) + " fits the pattern");
    return keep(writer, *got);
  }

  outcome_of_output keep(blob_writer& writer, const blobs::untarred& got) {
    const auto& tree = got.entries;
    for (std::size_t i = 1; i < tree.entries.size(); ++i) // else nobody could read it
      if (!blobs::path_less(tree.entries[i - 1].path, tree.entries[i].path))
        return told(output_state::failed, "the engine gives its files in no order");
    auto manifest = blobs::write_manifest(tree);
    auto name = blobs::digest_of(manifest);
    auto kept = writer.write(manifest);
    if (kept)
      kept = writer.end(name, manifest.size());
    if (kept)
      kept = writer.finish();
    if (!kept && kept.error().code == blobs::errc::failed)
      return to_caf(kept.error());
    if (!kept) {
      spdlog::warn("an output of {} can't be kept: {}", order_.owner, kept.error().message);
      return told(output_state::failed, kept.error().message);
    }
    owner_blobs owner{with_.context->blobs, catalogue_, order_.owner};
    auto lacking = owner.keep(name, tree, purpose());
    if (!lacking)
      return to_caf(lacking.error());
    if (!lacking->empty())
      return told(output_state::failed, "its files are not there any more: " + to_text(lacking->front()));
    done_.tree = to_text(name);
    done_.bytes = blobs::total_bytes(tree);
    with_.context->metrics->files_moved("output", done_.bytes);
    done_.files = static_cast<std::uint64_t>(std::count_if(
      tree.entries.begin(), tree.entries.end(), [](const auto& one) { return one.kind != blobs::entry_kind::folder; }));
    std::string remark;
    if (got.skipped_count > 0)
      remark = std::to_string(got.skipped_count) + " left out: " + got.skipped.front();
    if (purpose() != store::blob_purpose::cache) // which has no reports
      count(tree, owner, remark);
    return told(output_state::kept, std::move(remark));
  }

  /// The output is kept, whatever its reports say.
  void count(const blobs::tree& tree, owner_blobs& owner, std::string& remark) {
    auto stopped = [this] { return with_.stop->stopped() || transport::within(duration{0}) >= until_; };
    auto tests = count_tests(tree, owner, stopped);
    if (tests)
      done_.tests = std::move(*tests);
    else
      remark += (remark.empty() ? "" : "; ") + ("its tests are not counted: " + tests.error().message);
  }

  const transfer& with_;
  const collect_order& order_;
  catalogue_access catalogue_;
  transport::deadline until_;
  collected_output done_;
};

} // namespace

// -- transfer_stop ---------------------------------------------------------------------------------------------------

void transfer_stop::stop() {
  stopped_ = true;
  std::lock_guard guard{mutex_};
  if (channel_)
    channel_->fail({engine_errc::cancelled, 0, "the transfer was withdrawn"});
}

void transfer_stop::watch(std::shared_ptr<transport::byte_channel> channel) {
  std::lock_guard guard{mutex_};
  channel_ = std::move(channel);
  if (stopped_ && channel_)
    channel_->fail({engine_errc::cancelled, 0, "the transfer was withdrawn"});
}

// -- what is asked from outside --------------------------------------------------------------------------------------

catalogue_access catalogue_of(caf::blocking_actor* self, store_actor store) {
  return [self, store](std::function<store::result<void>(store::blob_catalogue&)> work) -> store::result<void> {
    auto outcome
      = std::make_shared<store::result<void>>(store::error{store::errc::unavailable, "the store is being restarted"});
    if (!store)
      return *outcome;
    self
      ->request(store, 120s,
                catalogue_work{[work = std::move(work), outcome](store::blob_catalogue& all) { *outcome = work(all); }})
      .receive([] {}, [&](caf::error& e) { // the batch as a whole, or nobody answers
        outcome = std::make_shared<store::result<void>>(store::error{store::errc::unavailable, text_of(e)});
      });
    return *outcome;
  };
}

caf::error to_caf(const blobs::error& e) {
  switch (e.code) {
    case blobs::errc::missing:
      return make_failure(files_errc::missing, e.message);
    case blobs::errc::full:
      return make_failure(files_errc::full, e.message);
    case blobs::errc::failed:
      return make_failure(files_errc::failed, e.message);
    default:
      return make_failure(files_errc::refused, e.message);
  }
}

std::pair<std::string, std::string> split_pattern(const std::string& path) {
  auto special = path.find_first_of("*?[\\");
  if (special == std::string::npos)
    return {path, {}};
  auto slash = path.rfind('/', special);
  return {slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

std::string wrong_pattern(const std::string& path) {
  auto pattern = split_pattern(path).second;
  if (pattern.empty())
    return {};
  auto compiled = blobs::ignore_patterns::compile({pattern});
  return compiled ? std::string{} : compiled.error().message;
}

caf::expected<collected_files> collect(const transfer& with, const collect_order& order) {
  collected_files all;
  collector one{with, order};
  auto lacks_required = false;
  for (const auto& [name, wanted] : order.outputs) {
    auto done = one.collect(name, wanted);
    if (!done)
      return done.error();
    with.context->metrics->output_collected(to_string(done->state));
    lacks_required |= wanted.required && done->state != output_state::kept;
    all.outputs.push_back(std::move(*done));
    crash_point("output collected");
  }
  if (!order.succeeded || lacks_required)
    return all;
  auto kept = keep_caches(with, order, [&](const std::string& path, byte_size most) {
    task_output folder;
    folder.path = path;
    return one.collect({}, folder, most);
  });
  if (!kept)
    return kept.error();
  all.caches = std::move(*kept);
  return all;
}

} // namespace davit
