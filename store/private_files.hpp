// Files and folders that are the agent's alone: mode 0600 and 0700, whatever the process's umask is.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <system_error>
#include <vector>

namespace davit::store {

inline constexpr mode_t private_file_mode = 0600;

/// Makes the folder, and those above it that are missing, with mode 0700. A folder that is there stays as it is.
std::error_code make_private_folder(const std::filesystem::path& folder);

/// Makes an empty file with mode 0600 if there is none: for libraries that open files with a mode of their own. What
/// goes wrong, whoever opens the file finds out.
void make_private_file(const std::filesystem::path& file);

/// Replaces a file, and makes its folder: a reader sees the old text or the new one. It is not synced.
std::error_code replace_private_file(const std::filesystem::path& file, std::string_view text);

/// Whether the file's name leads into the folder. Looks at the names alone.
bool lies_in(const std::filesystem::path& file, const std::filesystem::path& folder);

struct owned_path {
  std::filesystem::path path;
  mode_t mode = 0; ///< The permissions: nine bits, and the three special ones.
  uid_t owner = 0;
};

/// What others than the owner of a folder can get at.
struct open_paths {
  std::vector<owned_path> open;    ///< The owner's own, and what others may do with them.
  std::vector<owned_path> roots;   ///< Root's, and open to others; only root could change that.
  std::vector<owned_path> foreign; ///< Neither the owner's nor root's.
};

/// Looks at the folder and at the files and folders in it; not at links, sockets and `lost+found`. In a folder that
/// nobody else can enter, nobody can reach anything: it is not searched, except `folder` itself. A folder comes behind
/// what it contains.
open_paths find_open_paths(const std::filesystem::path& folder, uid_t owner);

/// Takes what others may do from the folder and from what is in it. The first word about what can't be changed ends it:
/// a sentence for people, empty if all is well. `remarks` gets what is as open as before, because it is root's.
std::string close_to_others(const std::filesystem::path& folder, std::vector<std::string>& remarks);

/// Such as `0755`.
std::string mode_text(mode_t mode);

} // namespace davit::store
