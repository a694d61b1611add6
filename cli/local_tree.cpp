#include "blobs/file_reader.hpp"
#include "blobs/scan.hpp"
#include "cli/file_failure.hpp"
#include "cli/tree_upload.hpp"
#include "messages/regular_file.hpp"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <sys/stat.h>

namespace davit {

namespace {

constexpr std::uint64_t most_patterns = 1 << 20; // bytes of a .dockerignore

blobs::ignore_patterns patterns_of(const std::string& folder) {
  auto file = folder + "/.dockerignore";
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0 && errno == ENOENT)
    return {};
  regular_file opened{file, most_patterns};
  auto text = opened.read();
  if (!text)
    throw command_failure{file + ' ' + opened.wrong(), 125};
  auto patterns = blobs::read_ignore_file(*text);
  if (!patterns)
    throw command_failure{file + ": " + patterns.error().message, 125};
  auto compiled = blobs::ignore_patterns::compile(*patterns);
  if (!compiled)
    throw command_failure{file + ": " + compiled.error().message, 125};
  return std::move(*compiled);
}

/// Where the digests of a folder are kept; empty: nowhere.
std::string cache_file(const std::string& cache_folder, const std::string& folder) {
  std::error_code ec;
  if (cache_folder.empty())
    return {};
  std::filesystem::create_directories(cache_folder, ec);
  return ec ? std::string{} : cache_folder + '/' + blobs::to_text(blobs::digest_of(folder)).substr(7);
}

local_tree look_at_file(const std::string& path, const struct stat& seen) {
  auto slash = path.rfind('/');
  local_tree found;
  found.folder = path.substr(0, slash == 0 ? 1 : slash);
  blobs::tree_entry entry;
  entry.path = path.substr(slash + 1);
  blobs::tree_limits limits;
  if (static_cast<std::uint64_t>(seen.st_size) > limits.file_bytes)
    throw command_failure{path + " has more than " + std::to_string(limits.file_bytes) + " bytes", 125};
  blobs::descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (!file)
    throw failure_of(blobs::system_error(path, "read", errno));
  std::vector<char> buffer(256 << 10);
  auto read = blobs::hash_file(file.get(), path, buffer, static_cast<std::size_t>(limits.holes));
  if (!read)
    throw failure_of(read.error());
  entry.mode = static_cast<std::uint16_t>(read->status.st_mode & 01777);
  entry.modified = read->stamp.modified;
  entry.size = read->stamp.size;
  entry.content = read->content;
  entry.holes = std::move(read->holes);
  found.entries.entries.push_back(std::move(entry));
  found.read_files = 1;
  if (auto good = blobs::check_tree(found.entries); !good)
    throw failure_of(good.error());
  return found;
}

} // namespace

std::string tree_cache_folder() {
  auto usable = [](const char* path) { return path && *path == '/'; }; // a relative one is not to be taken
  if (auto cache = std::getenv("XDG_CACHE_HOME"); usable(cache))
    return std::string{cache} + "/davit/trees";
  if (auto home = std::getenv("HOME"); usable(home))
    return std::string{home} + "/.cache/davit/trees";
  return {};
}

local_tree look_at(const std::string& path, const upload_options& options) {
  std::unique_ptr<char, void (*)(void*)> real{::realpath(path.c_str(), nullptr), &std::free};
  struct stat status {};
  if (!real || ::stat(real.get(), &status) != 0)
    throw failure_of(blobs::system_error(path, "read", errno));
  if (S_ISREG(status.st_mode))
    return look_at_file(real.get(), status);
  if (!S_ISDIR(status.st_mode))
    throw command_failure{path + " is neither a folder nor a file", 125};
  local_tree found;
  found.folder = real.get();
  options.progress("reading " + path);
  auto ignored = patterns_of(found.folder);
  auto kept = cache_file(options.cache_folder, found.folder);
  auto cache = kept.empty() ? blobs::digest_cache{} : blobs::digest_cache::load(kept);
  blobs::scan_options scan;
  scan.ignored = &ignored;
  scan.cache = &cache;
  scan.skip_special = true;
  auto scanned = blobs::scan_folder(found.folder, scan);
  if (!scanned)
    throw failure_of(scanned.error());
  // Without it, the next time is slower, and no more than that.
  if (!kept.empty() && scanned->read_files != 0)
    static_cast<void>(cache.save(kept));
  found.entries = std::move(scanned->entries);
  found.remarks = std::move(scanned->skipped);
  if (scanned->skipped_count > found.remarks.size())
    found.remarks.push_back(std::to_string(scanned->skipped_count - found.remarks.size()) + " more were left out");
  found.read_files = scanned->read_files;
  return found;
}

} // namespace davit
