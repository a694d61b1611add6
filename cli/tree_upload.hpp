// A folder of this machine, as a tree that an agent has.
#pragma once

#include "blobs/tree.hpp"
#include "cli/client.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace davit {

struct upload_options {
  std::string cache_folder; ///< Of digests of files that were read before; empty: there is none.
  std::function<void(const std::string&)> progress = [](const std::string&) {};
  std::chrono::milliseconds pause{500}; ///< Between two tries.
  int most_failures = 60;               ///< In a row, without anything that went forward.
};

/// What is to be sent: a folder without what its `.dockerignore` leaves out, or a single file.
struct local_tree {
  std::string folder; ///< Where its files are.
  blobs::tree entries;
  std::vector<std::string> remarks; ///< Sentences about what was left out.
  std::uint64_t read_files = 0;     ///< What the cache did not know.
};

struct sent_tree {
  std::string tree;                   ///< Its digest, as a task's input names it.
  std::uint64_t blobs = 0, bytes = 0; ///< What was sent, and arrived.
};

/// `${XDG_CACHE_HOME:-~/.cache}/davit/trees`; empty if neither variable is a usable one.
std::string tree_cache_folder();

/// Looks at a folder, or at a single file, which becomes a folder with this one file. Reads only files that the cache
/// does not know. Throws a command_failure that names what can't be read, or what changed while it was read.
local_tree look_at(const std::string& path, const upload_options& options = {});

/// Makes the agent have the tree. One request if it has it; otherwise it is sent what it does not have. A connection
/// that is lost, an agent that is restarted and uploads that it has forgotten are tried again from what has arrived, as
/// long as the options say. Memory: 8 MiB. Throws a command_failure.
sent_tree send_tree(api_client& client, const local_tree& what, const upload_options& options = {});

} // namespace davit
