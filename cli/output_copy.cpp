// `davit cp` of what a task has left behind.
#include "blobs/ignore.hpp"
#include "blobs/tar_writer.hpp"
#include "cli/file_failure.hpp"
#include "cli/http_body.hpp"
#include "cli/interrupts.hpp"
#include "cli/outputs.hpp"
#include "cli/progress_line.hpp"
#include "cli/unpack.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <sys/stat.h>
#include <sys/types.h>

namespace davit {

namespace {

/// One entry of an output, as the agent lists it.
struct listed_entry {
  std::string path, kind, mode, modified, digest, target;
  std::uint64_t size = 0;
};

template <class Inspector>
bool inspect(Inspector& f, listed_entry& x) {
  return f.object(x).fields(f.field("path", x.path), f.field("kind", x.kind), f.field("mode", x.mode),
                            f.field("size", x.size), f.field("modified", x.modified), f.field("digest", x.digest),
                            f.field("target", x.target));
}

struct entry_list {
  std::vector<listed_entry> entries;
};

template <class Inspector>
bool inspect(Inspector& f, entry_list& x) {
  return f.object(x).fields(f.field("entries", x.entries));
}

[[noreturn]] void malformed(const std::string& what) {
  throw command_failure{"the agent's answer is malformed: " + what};
}

blobs::tree_entry entry_of(const listed_entry& one) {
  blobs::tree_entry entry;
  entry.path = one.path;
  entry.size = one.size;
  entry.target = one.target;
  entry.kind = one.kind == "folder"  ? blobs::entry_kind::folder
             : one.kind == "symlink" ? blobs::entry_kind::symlink
                                     : blobs::entry_kind::file;
  entry.mode = static_cast<std::uint16_t>(std::strtoul(one.mode.c_str(), nullptr, 8) & 01777);
  if (auto at = parse_timestamp(one.modified)) {
    auto whole = std::chrono::floor<std::chrono::seconds>(at->time_since_epoch());
    entry.modified = {whole.count(), static_cast<std::uint32_t>((at->time_since_epoch() - whole).count())};
  }
  if (entry.kind != blobs::entry_kind::file)
    return entry;
  auto content = blobs::parse_digest(one.digest);
  if (!content)
    malformed("a file without a digest");
  entry.content = *content;
  return entry;
}

class output_copy {
public:
  output_copy(api_client& client, const std::string& task, const std::string& name, const std::string& path,
              const std::string& to)
    : client_(client), shown_(task + ':' + name + path),
      target_("/v1/tasks/" + transport::url_encode(task) + "/outputs/" + transport::url_encode(name)), to_(to),
      name_(name) {
    content_only_ = path.ends_with("/.");
    is_folder_ = path.ends_with('/') || content_only_;
    for (auto rest = std::string_view{path}; !rest.empty();) {
      auto slash = rest.find('/');
      auto part = rest.substr(0, slash);
      rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
      if (part == "..")
        usage("cp: \"" + shown_ + "\" has \"..\" in its path");
      if (part.empty() || part == ".")
        continue;
      path_ += (path_.empty() ? "" : "/") + std::string{part};
      name_ = part;
    }
  }

  void copy() {
    if (path_.empty())
      return to_ == "-" ? write_tar() : copy_folder({});
    auto entry = find();
    for (auto rest = std::string_view{path_}; !rest.empty();) {
      auto slash = rest.find('/');
      target_ += '/' + transport::url_encode(rest.substr(0, slash));
      rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    }
    if (entry.kind == blobs::entry_kind::folder)
      return to_ == "-" ? write_tar() : copy_folder(entry);
    if (is_folder_)
      throw command_failure{shown_ + " is not a folder"};
    return to_ == "-" ? write_tar_of(std::move(entry)) : copy_file(entry);
  }

private:
  transport::http_request ask_for(const std::string& target) const { return client_.request("GET", target); }

  /// The entry at the path; of a hard link, the file.
  blobs::tree_entry find() {
    auto request = ask_for(target_);
    request.headers.emplace_back("Accept", "application/json");
    transport::call_options options;
    options.max_body = 1 << 30;
    auto answer = client_.ask(std::move(request), std::move(options));
    if (!answer)
      throw command_failure{answer.error().message};
    if (answer->status != 200)
      throw failure_of(answer->status, answer->body);
    auto read = json::read<entry_list>(std::string_view{answer->body}, json::unknown_fields::ignore);
    if (!read)
      malformed(read.error().text());
    for (int hops = 0; hops < 2; ++hops) {
      auto found = std::find_if(read->entries.begin(), read->entries.end(),
                                [this](const listed_entry& one) { return one.path == path_; });
      if (found == read->entries.end())
        break;
      if (found->kind != "hard_link")
        return entry_of(*found);
      path_ = found->target;
    }
    throw command_failure{shown_ + ": there is no such file or folder in the output"};
  }

  [[noreturn]] static void fail(const http_body& body, const blobs::error& why) {
    throw body.interrupted() ? command_failure{"interrupted; nothing was changed", 130} : failure_of(why);
  }

  void copy_folder(const std::optional<blobs::tree_entry>& entry) {
    struct stat status {};
    auto there = ::stat(to_.c_str(), &status) == 0;
    if (there && !S_ISDIR(status.st_mode))
      throw command_failure{to_ + " is a file: a folder can't be copied to it"};
    auto place = there && !content_only_ ? to_ + '/' + name_ : to_;
    auto made = false;
    if (!there || !content_only_) {
      made = ::mkdir(place.c_str(), 0777) == 0;
      if (!made && errno != EEXIST)
        throw failure_of(blobs::system_error(printable(place), "made", errno));
      if (!made && (::lstat(place.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)))
        throw command_failure{place + " is there, and is not a folder: a symbolic link is not followed"};
    }
    try {
      interrupts stop;
      http_body body{client_, ask_for(target_), &stop};
      auto done = unpack_tar(body, place);
      if (!done)
        fail(body, done.error());
      if (made && entry) {
        struct timespec times[2] = {{0, UTIME_OMIT}, {entry->modified.seconds, entry->modified.nanoseconds}};
        if (::utimensat(AT_FDCWD, place.c_str(), times, 0) != 0 || ::chmod(place.c_str(), entry->mode) != 0)
          throw failure_of(blobs::system_error("the mode of " + printable(place), "set", errno));
      }
      std::cerr << files_text(done->files, done->bytes) << '\n';
    } catch (const command_failure&) {
      if (made)
        ::rmdir(place.c_str()); // if nothing is in it
      throw;
    }
  }

  void copy_file(const blobs::tree_entry& entry) {
    struct stat status {};
    auto there = ::stat(to_.c_str(), &status) == 0;
    auto place = there && S_ISDIR(status.st_mode) ? to_ + '/' + name_ : to_;
    if (place.ends_with('/'))
      throw command_failure{to_ + (there ? " is not a folder" : " is not there: make the folder first")};
    if (entry.kind == blobs::entry_kind::symlink) {
      if (auto done = place_link(entry, place); !done)
        throw failure_of(done.error());
      return;
    }
    interrupts stop;
    http_body body{client_, ask_for(target_), &stop};
    if (auto done = place_file(body, entry, place); !done)
      fail(body, done.error());
    std::cerr << files_text(1, entry.size) << '\n';
  }

  void write_out(blobs::byte_reader& from) {
    std::vector<char> buffer(64 << 10);
    while (true) {
      auto got = from.read(buffer);
      if (!got)
        throw failure_of(got.error());
      if (*got == 0)
        return;
      if (!write_to(STDOUT_FILENO, {buffer.data(), *got})) {
        auto number = errno;
        throw command_failure{std::string{"standard output: "} + std::strerror(number),
                              number == EPIPE ? 128 + SIGPIPE : 125};
      }
    }
  }

  static void refuse_terminal() {
    if (::isatty(STDOUT_FILENO) != 0)
      usage("cp: a tar is not for a terminal; write it to a file or a pipe");
  }

  void write_tar() {
    refuse_terminal();
    http_body body{client_, ask_for(target_), nullptr};
    write_out(body);
  }

  /// A tar with the one entry.
  void write_tar_of(blobs::tree_entry entry) {
    refuse_terminal();
    struct one_body final : blobs::blob_source {
      std::function<std::unique_ptr<blobs::byte_reader>()> make;
      blobs::result<std::unique_ptr<blobs::byte_reader>> open(const blobs::tree_entry&) override { return make(); }
    };
    entry.path = name_;
    one_body source;
    source.make = [&] { return std::make_unique<http_body>(client_, ask_for(target_), nullptr); };
    blobs::tree all{{entry}};
    blobs::tar_writer tar{all, source};
    write_out(tar);
  }

  api_client& client_;
  std::string shown_, target_, to_, name_, path_;
  bool content_only_ = false, is_folder_ = false;
};

} // namespace

void copy_output(api_client& client, const std::string& task, const std::string& name, const std::string& path,
                 const std::string& to) {
  output_copy{client, task, name, path, to}.copy();
}

} // namespace davit
