#include "blobs/tar_reader.hpp"

#include "blobs/tar_stream.hpp"
#include "blobs/tree_builder.hpp"
#include "encoding/printable.hpp"

#include <archive_entry.h>

#include <limits>
#include <memory>
#include <unordered_set>

namespace davit::blobs {

namespace {

constexpr std::size_t most_remarks = 100;
constexpr std::uint64_t header_allowance = 2 << 20, unlimited = ~0ull;
constexpr std::string_view not_a_file = "is a device, a fifo or a socket";

/// Whole: what is a secret in it, a reader that knows it replaces, and cuts then.
std::string shown(std::string_view name) {
  return '"' + encoding::printable(name) + '"';
}

error refuse(std::string_view name, std::string_view what) {
  return {errc::refused, "the archive's entry " + shown(name) + ' ' + std::string{what}};
}

tree_limits limits_of(const untar_options& options) {
  auto limits = options.limits;
  if (!options.above.empty()) {
    limits.entries += 1;
    limits.depth += 1;
    limits.path_bytes += static_cast<std::uint32_t>(options.above.size()) + 1;
  }
  return limits;
}

class untar {
public:
  untar(byte_reader& from, blob_sink& to, const untar_options& options)
    : stream_(from), to_(to), options_(options), most_(limits_of(options)), builder_(most_) {}

  result<untarred> run() {
    archive_read_support_format_tar(reader_.get());
    stream_.allow(header_allowance);
    if (archive_read_open(reader_.get(), &stream_, nullptr, &tar_stream::read, nullptr) != ARCHIVE_OK)
      return broken("this is not a tar archive");
    archive_entry* first = nullptr; // the stream's own
    if (archive_read_next_header(reader_.get(), &first) != ARCHIVE_OK)
      return broken("this is not a tar archive");
    while (true) {
      archive_entry* entry = nullptr;
      stream_.allow(header_allowance);
      auto got = archive_read_next_header(reader_.get(), &entry);
      if (got == ARCHIVE_EOF)
        break;
      if (got != ARCHIVE_OK && !is_about_character_sets(got))
        return broken("the archive is damaged after " + std::to_string(entries_) + " entries");
      ++entries_;
      stream_.allow(unlimited);
      if (auto taken = take(entry); !taken)
        return stream_.failure() ? *stream_.failure() : taken.error();
    }
    if (!stream_.has_end_mark())
      return error{errc::damaged, "the archive is cut off after " + std::to_string(entries_) + " entries"};
    auto built = builder_.finish();
    if (!built)
      return built.error();
    done_.entries = std::move(*built);
    return std::move(done_);
  }

private:
  /// Of names that are not ASCII, libarchive warns, and gives their bytes, which is what we want. Each other warning
  /// means that something in the header was not understood.
  bool is_about_character_sets(int got) {
    auto text = archive_error_string(reader_.get());
    return got == ARCHIVE_WARN && text && std::string_view{text}.find("can't be converted") != std::string_view::npos;
  }

  error broken(std::string what) {
    if (stream_.failure())
      return *stream_.failure();
    if (stream_.overdrawn())
      return {errc::refused, what + ": a header has more than 2 MiB"};
    if (auto text = archive_error_string(reader_.get()))
      what += std::string{": "} + encoding::printable(text);
    return {errc::damaged, std::move(what)};
  }

  /// A path as trees have it. Empty: the root, or a folder that is stripped away.
  result<std::string> cleaned(std::string_view name) const {
    if (name.starts_with('/'))
      return refuse(name, "has an absolute path");
    std::string path;
    std::uint32_t depth = 0, strip = options_.strip;
    for (auto rest = name; !rest.empty();) {
      auto slash = rest.find('/');
      auto part = rest.substr(0, slash);
      rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
      if (part == "..")
        return refuse(name, "has \"..\" in its path");
      if (part.empty() || part == ".")
        continue;
      if (strip > 0) {
        --strip;
        continue;
      }
      if (++depth > most_.depth)
        return refuse(name, "is more than " + std::to_string(options_.limits.depth) + " levels deep");
      path += path.empty() ? "" : "/";
      path += part;
      if (path.size() > most_.path_bytes)
        return refuse(name, "has a path of more than " + std::to_string(options_.limits.path_bytes) + " bytes");
    }
    return path;
  }

  result<void> take(archive_entry* entry) {
    auto name = archive_entry_pathname(entry);
    if (!name)
      return error{errc::damaged, "an entry of the archive has no name"};
    auto path = cleaned(name);
    if (!path)
      return path.error();
    auto type = archive_entry_filetype(entry);
    auto link = archive_entry_hardlink(entry);
    if (!link && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
      return skip_special(entry, name);
    if (path->empty())
      return !link && type == AE_IFDIR ? builder_.count(name) : refuse(name, "has no name of its own");
    if (options_.wanted && (type == AE_IFDIR || !options_.wanted(*path)))
      return leave_out(entry, name, *path);
    if (link)
      return take_hard_link(entry, name, *path, link);
    tree_entry one;
    one.path = std::move(*path);
    one.mode = static_cast<std::uint16_t>(archive_entry_perm(entry) & (options_.limits.set_id ? 07777 : 01777));
    auto nanoseconds = archive_entry_mtime_nsec(entry);
    if (nanoseconds < 0 || nanoseconds > 999'999'999)
      return refuse(name, "has a time that is not valid");
    one.modified = {archive_entry_mtime(entry), static_cast<std::uint32_t>(nanoseconds)};
    // Of "-1.25", libarchive makes -1 and +0.25. (Of "-0.25" it makes 0.25: what that was is not known.)
    if (one.modified.seconds < 0 && nanoseconds != 0
        && one.modified.seconds != std::numeric_limits<std::int64_t>::min()) {
      --one.modified.seconds;
      one.modified.nanoseconds = 1'000'000'000 - one.modified.nanoseconds;
    }
    if (type == AE_IFREG) {
      if (auto taken = take_file(entry, one); !taken)
        return taken;
    } else if (type == AE_IFLNK) {
      auto target = archive_entry_symlink(entry);
      one.kind = entry_kind::symlink;
      one.mode = 0777;
      one.target = target ? target : "";
      if (one.target.empty() || one.target.size() > options_.limits.target_bytes)
        return refuse(name, "is a link without a target, or with one that is too long");
    } else {
      one.kind = entry_kind::folder;
    }
    return builder_.add(std::move(one));
  }

  result<void> skip_data(archive_entry* entry, const char* name) {
    auto size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    if (size < 0)
      return refuse(name, "has a size that is not valid");
    if (auto good = builder_.expect(name, static_cast<std::uint64_t>(size)); !good)
      return good;
    return archive_read_data_skip(reader_.get()) == ARCHIVE_OK ? result<void>{} : broken(shown(name) + " is cut off");
  }

  result<void> skip_special(archive_entry* entry, const char* name) {
    if (!options_.skip_special)
      return refuse(name, not_a_file);
    if (done_.skipped_count++ < most_remarks)
      done_.skipped.push_back(shown(name) + " was left out: it " + std::string{not_a_file});
    if (auto path = cleaned(name); path)
      left_out_.insert(*path);
    if (auto good = builder_.count(name); !good)
      return good;
    return skip_data(entry, name);
  }

  /// Nobody wants it. What it costs to read over it counts.
  result<void> leave_out(archive_entry* entry, const char* name, const std::string& path) {
    if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry) && left_out_.insert(path).second)
      left_out_bytes_ += path.size() + 64;
    if (++passed_ > options_.limits.entries * 10 || left_out_bytes_ > options_.limits.manifest_bytes)
      return refuse(name, "is one of too many that are read over");
    return archive_read_data_skip(reader_.get()) == ARCHIVE_OK ? result<void>{} : broken(shown(name) + " is cut off");
  }

  result<void> take_hard_link(archive_entry* entry, const char* name, const std::string& path, const char* link) {
    auto target = cleaned(link);
    if (!target)
      return target.error();
    if (auto skipped = skip_data(entry, name); !skipped)
      return skipped;
    if (left_out_.contains(*target)) {
      if (done_.skipped_count++ < most_remarks)
        done_.skipped.push_back(shown(name) + " was left out: it is another name of " + shown(*target)
                                + ", which was left out");
      return {};
    }
    return builder_.add_name(path, *target);
  }

  /// What lies between the data of a sparse file is a hole.
  result<void> reach(tree_entry& one, std::uint64_t offset) {
    if (offset == at_)
      return {};
    if (!one.holes.empty() && one.holes.back().offset + one.holes.back().length == at_)
      one.holes.back().length += offset - at_;
    else
      one.holes.push_back({at_, offset - at_});
    if (++holes_ > options_.limits.holes)
      return refuse(one.path, "takes the archive over " + std::to_string(options_.limits.holes) + " holes in files");
    auto size = offset - at_;
    at_ = offset;
    auto skipped = to_.skip(size);
    hasher_.add_zeros(skipped ? size : 0);
    return skipped;
  }

  result<void> take_file(archive_entry* entry, tree_entry& one) {
    auto size = archive_entry_size(entry);
    if (size < 0)
      return refuse(one.path, "has a size that is not valid");
    one.size = static_cast<std::uint64_t>(size);
    if (auto good = builder_.expect(one.path, one.size); !good)
      return good;
    at_ = 0;
    const void* block = nullptr;
    std::size_t count = 0;
    la_int64_t begin = 0;
    while (true) {
      auto got = archive_read_data_block(reader_.get(), &block, &count, &begin);
      if (got == ARCHIVE_EOF)
        break;
      if (got != ARCHIVE_OK)
        return broken("the archive's entry " + shown(one.path) + " is cut off");
      auto offset = static_cast<std::uint64_t>(begin);
      if (begin < 0 || offset < at_ || offset > one.size || count > one.size - offset)
        return refuse(one.path, "is a sparse file whose parts are not in order");
      if (auto done = reach(one, offset); !done)
        return done;
      std::string_view piece{static_cast<const char*>(block), count};
      if (auto given = to_.write(piece); !given)
        return given;
      hasher_.add(piece);
      at_ += count;
    }
    if (auto done = reach(one, one.size); !done)
      return done;
    one.content = hasher_.finish();
    return to_.end(one.content, one.size);
  }

  plain_locale locale_;
  tar_stream stream_;
  std::unique_ptr<archive, int (*)(archive*)> reader_{archive_read_new(), &archive_read_free};
  blob_sink& to_;
  const untar_options& options_;
  const tree_limits most_; ///< With what is above.
  tree_builder builder_;
  untarred done_;
  hasher hasher_;
  std::uint64_t entries_ = 0, passed_ = 0, holes_ = 0, at_ = 0;
  std::unordered_set<std::string> left_out_; ///< Files that nobody wanted.
  std::uint64_t left_out_bytes_ = 0;
};

} // namespace

result<void> blob_sink::skip(std::uint64_t zeros) {
  static constexpr char piece[1 << 16] = {};
  while (zeros != 0) {
    auto count = static_cast<std::size_t>(std::min<std::uint64_t>(zeros, sizeof piece));
    if (auto given = write({piece, count}); !given)
      return given;
    zeros -= count;
  }
  return {};
}

result<untarred> read_tar(byte_reader& from, blob_sink& to, const untar_options& options) {
  return untar{from, to, options}.run();
}

} // namespace davit::blobs
