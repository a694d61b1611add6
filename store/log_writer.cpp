#include "store/attempt_log.hpp"
#include "store/log_record.hpp"
#include "store/log_source.hpp"
#include "store/private_files.hpp"

#include <sys/stat.h>

namespace davit::store {

namespace {

constexpr std::uint64_t written_out_at_once = 8 * 1024 * 1024;
constexpr std::string_view limit_remark = "the log limit";
constexpr std::uint64_t dropped = ~0ull; ///< In place of an offset.

} // namespace

struct log_writer::state {
  std::filesystem::path path;
  file out;
  bool in_memory = false;
  std::string memory; ///< All of it, if it is there.
  std::uint64_t size = 0;
  std::uint64_t on_its_way = 0; ///< To the disk; not of a log that was opened again.
  std::uint64_t limit = 0;
  bool limit_noted = false;
  bool half_written = false; ///< A part of a record may stand behind `size`.
  bool shortened = false;    ///< By somebody else; nobody was told.
  bool closed = false;
  std::uint64_t ledger_at = 0; ///< Of one that has ended.
  log_tally tally;

  log_result<void> recover();
  bool take(const record_view& record);
  log_result<void> to_file();
  log_result<void> look();
  log_result<void> put_back();
  log_result<void> unpack();

  /// Adds bytes to the log. Nothing half-written stays: they will come again.
  log_result<void> put(std::string_view bytes) {
    if (in_memory && size + bytes.size() <= small_log) {
      memory += bytes;
      size += bytes.size();
      return {};
    }
    if (in_memory)
      if (auto moved = to_file(); !moved)
        return moved;
    if (half_written && !cut_off_half())
      return system_error(path, "truncate");
    if (!write_all(out.fd, bytes.data(), bytes.size())) {
      auto e = system_error(path, "write");
      half_written = true;
      cut_off_half();
      return e;
    }
    size += bytes.size();
    if (size - on_its_way
        >= written_out_at_once) { // while more comes; what is left at the end is what the outcome waits for
      ::sync_file_range(out.fd, static_cast<off_t>(on_its_way), static_cast<off_t>(size - on_its_way),
                        SYNC_FILE_RANGE_WRITE);
      on_its_way = size;
    }
    return {};
  }

  bool cut_off_half() {
    half_written
      = ::ftruncate(out.fd, static_cast<off_t>(size)) != 0 || ::lseek(out.fd, static_cast<off_t>(size), SEEK_SET) < 0;
    return !half_written;
  }

  /// Of one that had ended when it was opened; false: it is compressed, and durable.
  bool reopen() {
    if (!out)
      out = file{::open((path.string() + ".log").c_str(), O_RDONLY | O_CLOEXEC)};
    return static_cast<bool>(out);
  }
};

/// Gives a compressed one its plain file again.
log_result<void> log_writer::state::unpack() {
  auto name = path.string() + ".log", partial = name + ".part";
  if (std::filesystem::exists(name))
    return {};
  auto packed = log_source::open(path);
  if (!packed)
    return packed.error();
  file made{::open(partial.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
  std::vector<char> block(block_bytes);
  std::uint64_t done = 0;
  while (*packed && made && done < ledger_at) {
    auto got = (*packed)->read(block.data(), std::min<std::uint64_t>(block.size(), ledger_at - done), done);
    if (!got)
      return got.error();
    if (*got == 0 || !write_all(made.fd, block.data(), *got))
      break;
    done += *got;
  }
  if (made && done == ledger_at && ::rename(partial.c_str(), name.c_str()) == 0)
    return {};
  auto e = system_error(name, "write");
  ::unlink(partial.c_str());
  return e;
}

log_writer::log_writer(std::unique_ptr<state> s) : state_(std::move(s)) {}

log_writer::~log_writer() = default;

/// Reads what is there, once, in large pieces; `size` is then where the last whole record ends.
log_result<void> log_writer::state::recover() {
  auto opened = log_source::open(path);
  if (!opened)
    return opened.error();
  if (!*opened)
    return {};
  std::vector<char> buffer(std::min<std::uint64_t>(block_bytes, (*opened)->size() + 1));
  while (true) {
    auto got = (*opened)->read(buffer.data(), buffer.size(), size);
    if (!got)
      return got.error();
    std::string_view rest{buffer.data(), *got};
    record_view record;
    std::size_t needed = 0;
    auto found = get_record(rest, record, needed);
    for (; found == record_found::whole; found = get_record(rest, record, needed)) {
      if (!take(record))
        return {};
      rest.remove_prefix(record.size());
    }
    if (found == record_found::damaged || *got < buffer.size())
      break;
    if (needed > buffer.size())
      buffer.resize(needed);
  }
  if ((*opened)->compressed()) // only what has ended is compressed, and nothing can be added to it
    return log_error{log_errc::damaged, path.string() + ".log.zst: it ends without a ledger"};
  return {};
}

/// False: nothing that follows is the log's.
bool log_writer::state::take(const record_view& record) {
  if (record.stream == log_stream::none) {
    log_summary ledger;
    if (!get_ledger(record.bytes, ledger))
      return false;
    tally.set_dropped(ledger.dropped);
    closed = true;
    ledger_at = size;
    size += record.size();
    return false;
  }
  limit_noted |= record.stream == log_stream::note && record.bytes.starts_with(limit_remark);
  tally.add({record.stream, record.at, std::string{record.bytes}}, size);
  size += record.size();
  return true;
}

log_result<std::unique_ptr<log_writer>>
log_writer::open(const std::filesystem::path& path, std::uint64_t limit, log_place place) {
  auto s = std::make_unique<state>();
  s->path = path;
  s->limit = limit;
  s->in_memory = place == log_place::memory && !log_exists(path);
  if (s->in_memory)
    return std::unique_ptr<log_writer>{new log_writer{std::move(s)}};
  auto folder = path.parent_path();
  auto made = ::mkdir(folder.c_str(), 0700) == 0; // then there is nothing in it
  if (!made) {
    if (auto ec = make_private_folder(folder))
      return log_error{log_errc::unwritable, folder.string() + ": " + ec.message()};
    if (auto recovered = s->recover(); !recovered)
      return recovered.error();
  }
  if (!s->closed) {
    auto name = path.string() + ".log";
    s->out = file{::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, private_file_mode)};
    if (!s->out
        || (!made
            && (::ftruncate(s->out.fd, static_cast<off_t>(s->size)) != 0
                || ::lseek(s->out.fd, static_cast<off_t>(s->size), SEEK_SET) < 0)))
      return system_error(name, "open");
  }
  return std::unique_ptr<log_writer>{new log_writer{std::move(s)}};
}

log_result<void> log_writer::state::to_file() {
  auto name = path.string() + ".log";
  make_private_folder(path.parent_path());
  file made{::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
  if (!made || !write_all(made.fd, memory.data(), memory.size())) {
    auto e = system_error(name, "write");
    ::unlink(name.c_str()); // nobody is to take it for the log
    return e;
  }
  out = std::move(made);
  in_memory = false;
  memory = {};
  return {};
}

/// Whether the file is as it was left. If it is not where it was, it is put back there. If somebody has shortened it,
/// what stands there now counts as what was written.
log_result<void> log_writer::state::look() {
  struct stat opened {
  }, named{};
  if (!out || closed || ::fstat(out.fd, &opened) != 0)
    return {};
  if (::stat((path.string() + ".log").c_str(), &named) != 0 || named.st_ino != opened.st_ino
      || named.st_dev != opened.st_dev)
    if (auto back = put_back(); !back)
      return back;
  if (static_cast<std::uint64_t>(opened.st_size) >= size)
    return {};
  shortened = true;
  size = on_its_way = 0;
  limit_noted = false;
  tally = {};
  if (auto found = recover(); !found)
    return found;
  if (::ftruncate(out.fd, static_cast<off_t>(size)) != 0 || ::lseek(out.fd, static_cast<off_t>(size), SEEK_SET) < 0)
    return system_error(path, "truncate");
  return {};
}

/// If somebody has removed or moved the file, what is in it is still there, for as long as it is open.
log_result<void> log_writer::state::put_back() {
  auto name = path.string() + ".log", partial = path.string() + ".log.part";
  make_private_folder(path.parent_path());
  auto fail = [&](const char* what) {
    auto e = system_error(name, what);
    ::unlink(partial.c_str());
    return e;
  };
  file made{::open(partial.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
  if (!made)
    return system_error(partial, "open");
  std::vector<char> block(std::min<std::uint64_t>(block_bytes, size));
  for (std::uint64_t done = 0; done < size;) {
    auto count = read_at(out.fd, block.data(), std::min<std::uint64_t>(block.size(), size - done), done);
    if (count < 0)
      return fail("read");
    if (count == 0) // it was shortened too
      break;
    if (!write_all(made.fd, block.data(), static_cast<std::size_t>(count)))
      return fail("write");
    done += static_cast<std::uint64_t>(count);
  }
  if (::rename(partial.c_str(), name.c_str()) != 0)
    return fail("rename");
  out = std::move(made);
  on_its_way = 0;
  return {};
}

log_result<void> log_writer::append(const std::vector<log_record>& records) {
  auto& s = *state_;
  if (s.closed)
    return log_error{log_errc::stale, s.path.string() + ": the log has ended"};
  if (auto there = s.look(); !there)
    return there;
  if (std::exchange(s.shortened, false)) // whoever reads the log at the engine begins anew, where this one ends now
    return log_error{log_errc::unwritable, s.path.string() + ".log: somebody has shortened it; it is read again"};
  std::string bytes;
  std::vector<std::uint64_t> offsets; // of the records that are kept; nothing is kept behind the remark but remarks
  auto output = s.tally.output();
  auto over = s.limit_noted;
  for (const auto& record : records) {
    auto is_note = record.stream == log_stream::note;
    if (!is_note && !over && s.limit != 0 && output + record.bytes.size() > s.limit) {
      over = true;
      put_record(bytes, log_stream::note, record.at,
                 std::string{limit_remark} + " of " + to_string(byte_size{s.limit})
                   + " is reached; what the task prints from here on is not kept\n");
    }
    offsets.push_back(is_note || !over ? s.size + bytes.size() : dropped);
    if (offsets.back() == dropped)
      continue;
    output += is_note ? 0 : record.bytes.size();
    put_record(bytes, record.stream, record.at, record.bytes);
  }
  if (auto written = s.put(bytes); !written)
    return written;
  s.limit_noted = over;
  for (std::size_t i = 0; i < records.size(); ++i)
    if (offsets[i] == dropped)
      s.tally.drop(records[i]);
    else
      s.tally.add(records[i], offsets[i]);
  return {};
}

log_result<void> log_writer::end() {
  auto& s = *state_;
  if (s.closed)
    return {};
  std::string bytes;
  if (auto there = s.look(); !there)
    return there;
  if (s.shortened) {
    const log_record note{log_stream::note, std::chrono::system_clock::now(),
                          "some bytes may be missing here: somebody has shortened the log's file\n"};
    put_record(bytes, note.stream, note.at, note.bytes);
    if (auto written = s.put(bytes); !written)
      return written;
    s.tally.add(note, s.size - bytes.size());
    s.shortened = false;
    bytes.clear();
  }
  put_ledger(bytes, summary());
  auto at = s.size;
  if (auto written = s.put(bytes); !written)
    return written;
  s.ledger_at = at;
  s.closed = true;
  return {};
}

log_result<void> log_writer::go_on() {
  auto& s = *state_;
  if (!s.closed)
    return {};
  if (s.in_memory) {
    s.memory.resize(s.ledger_at);
  } else {
    auto name = s.path.string() + ".log";
    if (auto unpacked = s.unpack(); !unpacked)
      return unpacked;
    s.out = file{::open(name.c_str(), O_RDWR | O_CLOEXEC)};
    if (!s.out || ::ftruncate(s.out.fd, static_cast<off_t>(s.ledger_at)) != 0
        || ::lseek(s.out.fd, static_cast<off_t>(s.ledger_at), SEEK_SET) < 0)
      return system_error(name, "open");
    ::unlink((name + ".zst").c_str());
  }
  s.size = s.ledger_at;
  s.on_its_way = 0;
  s.closed = false;
  return {};
}

log_result<std::string> log_writer::whole(std::uint64_t most) {
  auto& s = *state_;
  std::string bytes;
  if (s.in_memory && s.size <= most)
    return s.memory;
  if (s.size > most || !s.reopen())
    return bytes;
  bytes.resize(s.size);
  if (read_at(s.out.fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return system_error(s.path, "read");
  return bytes;
}

log_result<void> log_writer::sync() {
  auto& s = *state_;
  if (s.in_memory)
    if (auto moved = s.to_file(); !moved)
      return moved;
  if (s.reopen() && ::fdatasync(s.out.fd) != 0)
    return system_error(s.path, "sync");
  return {};
}

log_result<void> log_writer::close() {
  if (auto ended = end(); !ended)
    return ended;
  return sync();
}

bool log_writer::in_memory() const noexcept {
  return state_->in_memory;
}

log_result<void> log_writer::to_file() {
  return state_->in_memory ? state_->to_file() : log_result<void>{};
}

log_result<log_page> log_writer::read(std::uint64_t offset, std::uint32_t max_bytes) const {
  if (!state_->in_memory) {
    if (auto there = state_->look(); !there)
      return there.error();
    return read_log(state_->path, offset, max_bytes);
  }
  auto bytes = log_source::of_plain(state_->memory);
  return read_page(bytes, state_->path.string(), offset, max_bytes);
}

std::uint64_t log_writer::size() const noexcept {
  return state_->size;
}

bool log_writer::closed() const noexcept {
  return state_->closed;
}

const log_cursor& log_writer::cursor() const noexcept {
  return state_->tally.cursor();
}

log_summary log_writer::summary() const {
  return state_->tally.summary();
}

std::string log_writer::tail(std::size_t most) const {
  std::string text;
  auto at = state_->tally.tail_offset();
  while (true) {
    auto page = read(at, block_bytes);
    if (!page || page->records.empty())
      break;
    for (const auto& record : page->records)
      if (record.stream != log_stream::note)
        text += record.bytes;
    at = page->next;
  }
  most = std::min(most, longest_tail);
  if (text.size() > most)
    text.erase(0, text.size() - most);
  return text;
}

} // namespace davit::store
