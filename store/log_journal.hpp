// Makes small logs durable many at a time. A finished log is in a file of its own; to sync each of these costs a disk's
// write for every task. Here they are written one behind the other into one file, which is synced once for all that
// have ended meanwhile. After a power cut the files that did not reach the disk are made again from it.
//
// `journal` begins with a line that names the boot in which it was begun; then come entries of 40 bytes and a log's
// bytes: u64 hash (XXH3 of what follows), u32 length, u32 kind (1 a log, 2 the task's logs were removed), 16 bytes
// task, u32 attempt, 4 zero bytes; little endian. `journal.old` is one whose logs are being synced to their own files.
#pragma once

#include "store/attempt_log.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace davit::store {

/// Not thread-safe. One process for a folder.
class log_journal {
public:
  /// Longer logs are synced by themselves: there the disk's own speed counts.
  static constexpr std::uint64_t longest = small_log;

  /// Opens the journal of a folder of logs. If the machine was started anew since it was written, brings back what is
  /// missing; `boot` names the present boot.
  static log_result<std::unique_ptr<log_journal>>
  open(const std::filesystem::path& folder, const std::string& boot = this_boot());
  ~log_journal();

  /// Takes the whole bytes of a finished log, whose own file has them already.
  void add(const attempt_key& key, std::string_view bytes);

  /// The logs of this task were removed.
  void remove(task_id task);

  /// What was added is on the disk when this returns.
  log_result<void> sync();

  /// What the kernel calls this boot of the machine; empty if it does not tell.
  static std::string this_boot();

private:
  struct state;
  explicit log_journal(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

} // namespace davit::store
