#include "store/attempt_log.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "store/file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <sys/stat.h>
#include <xxhash.h>
#include <zstd.h>

namespace davit::store {

namespace {

constexpr std::size_t header_bytes = 16;
constexpr std::size_t block_bytes = 1024 * 1024;
constexpr std::uint64_t written_out_at_once = 8 * 1024 * 1024;
constexpr std::uint32_t longest_record = 64 * 1024 * 1024;

// Zstandard seekable format: contrib/seekable_format/zstd_seekable_compression_format.md
constexpr std::uint32_t skippable_magic = 0x184D2A5E;
constexpr std::uint32_t seekable_magic = 0x8F92EAB1;

struct header {
  std::uint32_t length = 0;
  log_stream stream = log_stream::none;
  timestamp at;
};

void put_header(std::string& to, const header& h) {
  char bytes[header_bytes]{};
  auto stream = static_cast<std::uint8_t>(h.stream);
  auto at = h.at.time_since_epoch().count();
  std::memcpy(bytes, &h.length, 4);
  std::memcpy(bytes + 4, &stream, 1);
  std::memcpy(bytes + 8, &at, 8);
  to.append(bytes, header_bytes);
}

/// False: these bytes are no header.
bool get_header(const char* bytes, header& h) {
  std::uint8_t stream = 0;
  std::int64_t at = 0;
  std::memcpy(&h.length, bytes, 4);
  std::memcpy(&stream, bytes + 4, 1);
  std::memcpy(&at, bytes + 8, 8);
  h.stream = static_cast<log_stream>(stream);
  h.at = timestamp{std::chrono::nanoseconds{at}};
  return stream <= 3 && bytes[5] == 0 && bytes[6] == 0 && bytes[7] == 0 && h.length <= longest_record;
}

/// Bytes of the log as if it were not compressed, wherever they lie.
class source {
public:
  /// Of bytes that outlive it.
  static source of_plain(std::string_view bytes) {
    source result;
    result.memory_ = bytes;
    return result;
  }

  static std::optional<source> of_packed(std::string_view bytes) {
    auto result = of_plain(bytes);
    result.compressed_ = true;
    return result.read_table() ? std::optional{std::move(result)} : std::nullopt;
  }

  static log_result<std::optional<source>> open(const std::filesystem::path& path) {
    source result;
    result.path_ = path.string() + ".log";
    result.file_ = file{::open(result.path_.c_str(), O_RDONLY | O_CLOEXEC)};
    if (result.file_)
      return std::optional{std::move(result)};
    result.path_ += ".zst";
    result.file_ = file{::open(result.path_.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!result.file_)
      return errno == ENOENT ? log_result<std::optional<source>>{std::nullopt} : system_error(result.path_, "open");
    result.compressed_ = true;
    if (!result.read_table())
      return log_error{log_errc::damaged, result.path_ + ": its seek table is damaged"};
    return std::optional{std::move(result)};
  }

  log_result<std::size_t> read(char* into, std::size_t size, std::uint64_t offset) {
    if (!compressed_) {
      auto count = stored(into, size, offset);
      if (count < 0)
        return system_error(path_, "read");
      return static_cast<std::size_t>(count);
    }
    std::size_t done = 0;
    while (done < size) {
      auto frame = std::find_if(frames_.begin(), frames_.end(), [&](const auto& one) { return offset + done < one.raw_begin + one.raw_size; });
      if (frame == frames_.end())
        break;
      if (!decompress(*frame))
        return log_error{log_errc::damaged, path_ + ": a block is damaged"};
      auto at = offset + done - frame->raw_begin;
      auto count = std::min<std::uint64_t>(size - done, frame->raw_size - at);
      std::memcpy(into + done, block_.data() + at, count);
      done += count;
    }
    return done;
  }

  std::uint64_t size() const {
    if (compressed_)
      return frames_.empty() ? 0 : frames_.back().raw_begin + frames_.back().raw_size;
    return stored_size();
  }

private:
  struct frame {
    std::uint64_t begin, size, raw_begin, raw_size;
  };

  ssize_t stored(char* into, std::size_t size, std::uint64_t offset) const {
    if (file_)
      return read_at(file_.fd, into, size, offset);
    return offset < memory_.size() ? static_cast<ssize_t>(memory_.copy(into, size, offset)) : 0;
  }

  std::uint64_t stored_size() const {
    struct stat info {};
    return !file_ ? memory_.size() : ::fstat(file_.fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
  }

  bool read_table() {
    auto end = stored_size();
    char footer[9];
    if (end < 17 || stored(footer, 9, end - 9) != 9)
      return false;
    std::uint32_t count = 0, magic = 0;
    std::memcpy(&count, footer, 4);
    std::memcpy(&magic, footer + 5, 4);
    if (magic != seekable_magic || std::uint64_t{count} * 8 + 17 > end)
      return false;
    std::vector<std::uint32_t> entries(std::size_t{count} * 2);
    auto bytes = entries.size() * 4;
    if (stored(reinterpret_cast<char*>(entries.data()), bytes, end - 9 - bytes) != static_cast<ssize_t>(bytes))
      return false;
    std::uint64_t at = 0, raw = 0;
    for (std::size_t i = 0; i < count; ++i) {
      frames_.push_back({at, entries[2 * i], raw, entries[2 * i + 1]});
      at += entries[2 * i];
      raw += entries[2 * i + 1];
      if (at > end || entries[2 * i + 1] > 2 * block_bytes)
        return false;
    }
    return true;
  }

  bool decompress(const frame& one) {
    if (loaded_ == one.begin && !block_.empty())
      return true;
    std::vector<char> packed(one.size);
    if (stored(packed.data(), packed.size(), one.begin) != static_cast<ssize_t>(packed.size()))
      return false;
    block_.resize(one.raw_size);
    auto count = ZSTD_decompress(block_.data(), block_.size(), packed.data(), packed.size());
    loaded_ = one.begin;
    return !ZSTD_isError(count) && count == one.raw_size;
  }

  std::string path_;
  file file_;
  std::string_view memory_; ///< If there is no file.
  bool compressed_ = false;
  std::vector<frame> frames_;
  std::vector<char> block_;
  std::uint64_t loaded_ = 0;
};

log_result<log_page> read_page(source& from, const std::string& name, std::uint64_t offset, std::uint32_t max_bytes) {
  log_page page;
  page.next = offset;
  std::vector<char> buffer(std::min<std::size_t>(std::clamp<std::size_t>(max_bytes, 4096, 4 * block_bytes), from.size() + header_bytes));
  while (true) {
    auto got = from.read(buffer.data(), buffer.size(), page.next);
    if (!got)
      return got.error();
    std::size_t at = 0;
    header h;
    bool too_small = false;
    while (at + header_bytes <= *got) {
      if (!get_header(buffer.data() + at, h))
        return log_error{log_errc::damaged, name + ": no record begins at offset " + std::to_string(page.next + at)};
      if (h.stream == log_stream::none) {
        page.next += at;
        page.finished = true;
        return page;
      }
      if (at + header_bytes + h.length > *got) {
        too_small = at == 0 && *got == buffer.size();
        break;
      }
      page.records.push_back({h.stream, h.at, {buffer.data() + at + header_bytes, h.length}});
      at += header_bytes + h.length;
      page.ends.push_back(page.next + at);
    }
    if (too_small) { // a record that is longer than a page comes alone
      buffer.resize(header_bytes + h.length);
      continue;
    }
    page.next += at;
    return page;
  }
}

struct ledger_text {
  std::uint64_t out_bytes = 0, out_hash = 0, err_bytes = 0, err_hash = 0, dropped = 0;
  bool gaps = false;
};
template <class Inspector>
bool inspect(Inspector& f, ledger_text& x) {
  return f.object(x).fields(f.field("out_bytes", x.out_bytes), f.field("out_hash", x.out_hash), f.field("err_bytes", x.err_bytes),
                            f.field("err_hash", x.err_hash), f.field("dropped", x.dropped), f.field("gaps", x.gaps));
}

struct hash_state {
  XXH3_state_t* state = XXH3_createState();
  hash_state() { XXH3_64bits_reset(state); }
  hash_state(const hash_state&) = delete;
  hash_state& operator=(const hash_state&) = delete;
  ~hash_state() { XXH3_freeState(state); }
};

} // namespace

std::filesystem::path log_path(const std::filesystem::path& folder, const attempt_key& key) {
  auto id = to_string(key.task);
  // The last two digits are random, the first are time: folders fill evenly.
  return folder / id.substr(34) / id / std::to_string(key.number);
}

bool log_exists(const std::filesystem::path& path) {
  std::error_code ec;
  return std::filesystem::exists(path.string() + ".log", ec) || std::filesystem::exists(path.string() + ".log.zst", ec);
}

void remove_log(const std::filesystem::path& path) {
  for (auto ending : {".log", ".log.zst", ".log.part"})
    ::unlink((path.string() + ending).c_str());
}

log_result<void> remove_logs(const std::filesystem::path& folder, task_id task) {
  std::error_code ec;
  auto path = log_path(folder, {task, 1}).parent_path();
  std::filesystem::remove_all(path, ec);
  if (ec)
    return log_error{log_errc::unwritable, path.string() + ": " + ec.message()};
  return {};
}

// -- log_writer ------------------------------------------------------------------------------------------------------

struct log_writer::state {
  std::filesystem::path path;
  file out;
  bool in_memory = false;
  std::string memory; ///< All of it, if it is there.
  std::uint64_t size = 0;
  std::uint64_t on_its_way = 0; ///< To the disk; not of a log that was opened again.
  std::uint64_t limit = 0;
  bool limit_noted = false;
  bool closed = false;
  log_cursor cursor;
  log_summary totals;
  hash_state out_hash;
  hash_state err_hash;

  /// Counts a record, of which `kept` bytes were written.
  void count(log_stream stream, std::string_view kept) {
    if (stream != log_stream::out && stream != log_stream::err)
      return;
    auto& ledger = stream == log_stream::err ? totals.err : totals.out;
    ledger.bytes += kept.size();
    XXH3_64bits_update((stream == log_stream::err ? err_hash : out_hash).state, kept.data(), kept.size());
  }

  void advance(const log_record& record) {
    if (record.stream == log_stream::note) {
      totals.gaps |= record.bytes.find("missing here") != std::string::npos;
      return;
    }
    cursor.of(record.stream).pass(record);
  }

  log_result<void> recover();
  log_result<void> to_file();

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
    if (!write_all(out.fd, bytes.data(), bytes.size())) {
      auto e = system_error(path, "write");
      if (::ftruncate(out.fd, static_cast<off_t>(size)) == 0)
        ::lseek(out.fd, static_cast<off_t>(size), SEEK_SET);
      return e;
    }
    size += bytes.size();
    if (size - on_its_way >= written_out_at_once) { // while more comes; what is left at the end is what the outcome waits for
      ::sync_file_range(out.fd, static_cast<off_t>(on_its_way), static_cast<off_t>(size - on_its_way), SYNC_FILE_RANGE_WRITE);
      on_its_way = size;
    }
    return {};
  }

  /// Of one that had ended when it was opened; false: it is compressed, and durable.
  bool reopen() {
    if (!out)
      out = file{::open((path.string() + ".log").c_str(), O_RDONLY | O_CLOEXEC)};
    return static_cast<bool>(out);
  }
};

log_writer::log_writer(std::unique_ptr<state> s) : state_(std::move(s)) {
}

log_writer::~log_writer() = default;

log_result<void> log_writer::state::recover() {
  auto opened = source::open(path);
  if (!opened)
    return opened.error();
  if (!*opened)
    return {};
  auto& reader = **opened;
  std::vector<char> buffer;
  std::uint64_t at = 0;
  while (true) {
    char bytes[header_bytes];
    auto got = reader.read(bytes, header_bytes, at);
    if (!got)
      return got.error();
    header h;
    if (*got < header_bytes || !get_header(bytes, h))
      break;
    buffer.resize(h.length);
    got = reader.read(buffer.data(), h.length, at + header_bytes);
    if (!got)
      return got.error();
    if (*got < h.length)
      break;
    at += header_bytes + h.length;
    if (h.stream == log_stream::none) {
      auto ledger = json::read<ledger_text>({buffer.data(), buffer.size()}, json::unknown_fields::ignore);
      if (ledger)
        totals.dropped = ledger->dropped;
      closed = true;
      break;
    }
    log_record record{h.stream, h.at, {buffer.data(), buffer.size()}};
    limit_noted |= h.stream == log_stream::note && record.bytes.starts_with("the log limit");
    count(h.stream, record.bytes);
    advance(record);
  }
  size = at;
  return {};
}

log_result<std::unique_ptr<log_writer>> log_writer::open(const std::filesystem::path& path, std::uint64_t limit, log_place place) {
  auto s = std::make_unique<state>();
  s->path = path;
  s->limit = limit;
  s->in_memory = place == log_place::memory && !log_exists(path);
  if (s->in_memory)
    return std::unique_ptr<log_writer>{new log_writer{std::move(s)}};
  auto folder = path.parent_path();
  auto made = ::mkdir(folder.c_str(), 0777) == 0; // then there is nothing in it
  if (!made) {
    std::error_code ec;
    std::filesystem::create_directories(folder, ec);
    if (ec)
      return log_error{log_errc::unwritable, folder.string() + ": " + ec.message()};
    if (auto recovered = s->recover(); !recovered)
      return recovered.error();
  }
  if (!s->closed) {
    auto name = path.string() + ".log";
    s->out = file{::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640)};
    if (!s->out || (!made && (::ftruncate(s->out.fd, static_cast<off_t>(s->size)) != 0 || ::lseek(s->out.fd, static_cast<off_t>(s->size), SEEK_SET) < 0)))
      return system_error(name, "open");
  }
  return std::unique_ptr<log_writer>{new log_writer{std::move(s)}};
}

log_result<void> log_writer::state::to_file() {
  auto name = path.string() + ".log";
  std::error_code ec;
  std::filesystem::create_directories(path.parent_path(), ec);
  file made{::open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640)};
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

log_result<void> log_writer::append(const std::vector<log_record>& records) {
  auto& s = *state_;
  if (s.closed)
    return log_error{log_errc::stale, s.path.string() + ": the log has ended"};
  std::string bytes;
  for (const auto& record : records)
    bytes.reserve(bytes.size() + header_bytes + record.bytes.size());
  auto before = s.totals.out.bytes + s.totals.err.bytes;
  auto first_dropped = s.limit_noted ? 0 : records.size();
  bool note_limit = false;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& record = records[i];
    auto over = s.limit_noted || note_limit || (s.limit != 0 && before + record.bytes.size() > s.limit); // nothing comes after the remark
    if (record.stream != log_stream::note && over) {
      if (!s.limit_noted && !note_limit) {
        note_limit = true;
        first_dropped = i;
        std::string text = "the log limit of " + to_string(byte_size{s.limit}) + " is reached; what the task prints from here on is not kept\n";
        put_header(bytes, {static_cast<std::uint32_t>(text.size()), log_stream::note, record.at});
        bytes += text;
      }
      continue;
    }
    before += record.stream == log_stream::note ? 0 : record.bytes.size();
    put_header(bytes, {static_cast<std::uint32_t>(record.bytes.size()), record.stream, record.at});
    bytes += record.bytes;
  }
  if (auto written = s.put(bytes); !written)
    return written;
  s.limit_noted |= note_limit;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& record = records[i];
    s.advance(record);
    if (record.stream == log_stream::note)
      continue;
    if (i >= first_dropped)
      s.totals.dropped += record.bytes.size();
    else
      s.count(record.stream, record.bytes);
  }
  return {};
}

log_result<void> log_writer::end() {
  auto& s = *state_;
  if (s.closed)
    return {};
  auto totals = summary();
  auto text = json::write(ledger_text{totals.out.bytes, totals.out.hash, totals.err.bytes, totals.err.hash, totals.dropped, totals.gaps});
  std::string bytes;
  put_header(bytes, {static_cast<std::uint32_t>(text.size()), log_stream::none, {}});
  bytes += text;
  if (auto written = s.put(bytes); !written)
    return written;
  s.closed = true;
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
  if (!state_->in_memory)
    return read_log(state_->path, offset, max_bytes);
  auto bytes = source::of_plain(state_->memory);
  return read_page(bytes, state_->path.string(), offset, max_bytes);
}

bool log_writer::closed() const noexcept {
  return state_->closed;
}

const log_cursor& log_writer::cursor() const noexcept {
  return state_->cursor;
}

log_summary log_writer::summary() const {
  auto totals = state_->totals;
  totals.out.hash = XXH3_64bits_digest(state_->out_hash.state);
  totals.err.hash = XXH3_64bits_digest(state_->err_hash.state);
  return totals;
}

std::string log_writer::tail(std::size_t most) const {
  std::string text;
  std::uint64_t at = 0;
  // Long logs are read from near their end; the first whole record there can't be told, so from a page's start.
  while (true) {
    auto page = read(at, 1024 * 1024);
    if (!page || page->records.empty())
      break;
    for (const auto& record : page->records)
      if (record.stream == log_stream::out || record.stream == log_stream::err)
        text += record.bytes;
    if (text.size() > 2 * most)
      text.erase(0, text.size() - most);
    at = page->next;
  }
  if (text.size() > most)
    text.erase(0, text.size() - most);
  return text;
}

// -- reading ---------------------------------------------------------------------------------------------------------

std::uint64_t log_size(const std::filesystem::path& path) {
  auto opened = source::open(path);
  return opened && *opened ? (*opened)->size() : 0;
}

std::vector<attempt_key> logs_since(const std::filesystem::path& folder, timestamp since) {
  std::vector<attempt_key> found;
  std::error_code ec;
  auto age = std::chrono::system_clock::now() - since;
  auto earliest = std::filesystem::file_time_type::clock::now() - std::chrono::duration_cast<std::filesystem::file_time_type::duration>(age);
  for (std::filesystem::recursive_directory_iterator one{folder, ec}, end; !ec && one != end; one.increment(ec)) {
    auto name = one->path().filename().string();
    attempt_key key;
    if (one.depth() != 2 || (!name.ends_with(".log") && !name.ends_with(".log.zst")) || !from_string(one->path().parent_path().filename().string(), key.task))
      continue;
    std::error_code unreadable;
    if (auto at = one->last_write_time(unreadable); unreadable || at < earliest)
      continue;
    auto [rest, code] = std::from_chars(name.data(), name.data() + name.size(), key.number);
    if (code == std::errc{} && *rest == '.' && (found.empty() || found.back() != key))
      found.push_back(key);
  }
  return found;
}

log_result<log_page> read_log(const std::filesystem::path& path, std::uint64_t offset, std::uint32_t max_bytes) {
  auto opened = source::open(path);
  if (!opened)
    return opened.error();
  if (*opened)
    return read_page(**opened, path.string(), offset, max_bytes);
  log_page nothing;
  nothing.next = offset;
  return nothing;
}

log_result<log_page> read_packed_log(std::string_view packed, std::uint64_t offset, std::uint32_t max_bytes) {
  auto opened = source::of_packed(packed);
  if (!opened)
    return log_error{log_errc::damaged, "a log's seek table is damaged"};
  return read_page(*opened, "a log", offset, max_bytes);
}

// -- compressed logs as a whole ------------------------------------------------------------------------------------------

namespace {

/// What stands behind the frames: of each its size, packed and plain.
std::string seek_table(const std::vector<std::uint32_t>& sizes) {
  std::string table;
  auto put = [&](std::uint32_t word) { table.append(reinterpret_cast<const char*>(&word), 4); };
  put(skippable_magic);
  put(static_cast<std::uint32_t>(sizes.size() * 4 + 9));
  for (auto word : sizes)
    put(word);
  put(static_cast<std::uint32_t>(sizes.size() / 2));
  table += '\0';
  put(seekable_magic);
  return table;
}

} // namespace

log_result<std::string> pack_bytes(std::string_view plain) {
  static thread_local std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context{ZSTD_createCCtx(), &ZSTD_freeCCtx};
  std::string packed;
  std::vector<std::uint32_t> sizes;
  if (!plain.empty()) {
    packed.resize(ZSTD_compressBound(plain.size()));
    auto count = ZSTD_compressCCtx(context.get(), packed.data(), packed.size(), plain.data(), plain.size(), 3);
    if (ZSTD_isError(count))
      return log_error{log_errc::damaged, std::string{"a log can't be packed: "} + ZSTD_getErrorName(count)};
    packed.resize(count);
    sizes = {static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(plain.size())};
  }
  return packed + seek_table(sizes);
}

log_result<std::string> pack_small(const std::filesystem::path& path) {
  auto name = path.string() + ".log";
  file in{::open(name.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info {};
  if (!in || ::fstat(in.fd, &info) != 0)
    return system_error(name, "open");
  auto size = static_cast<std::size_t>(info.st_size);
  if (size > block_bytes)
    return log_error{log_errc::damaged, name + ": it is too large to be packed at once"};
  std::string plain(size, '\0');
  if (read_at(in.fd, plain.data(), size, 0) != static_cast<ssize_t>(size))
    return system_error(name, "read");
  return pack_bytes(plain);
}

log_result<std::string> read_packed(const std::filesystem::path& path, std::uint64_t block) {
  auto name = path.string() + ".log.zst";
  file in{::open(name.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!in)
    return system_error(name, "open");
  std::string bytes(block_bytes, '\0');
  auto count = read_at(in.fd, bytes.data(), bytes.size(), block * block_bytes);
  if (count < 0)
    return system_error(name, "read");
  bytes.resize(static_cast<std::size_t>(count));
  return bytes;
}

std::uint32_t packed_blocks(const std::filesystem::path& path) {
  std::error_code ec;
  auto size = std::filesystem::file_size(path.string() + ".log.zst", ec);
  return ec ? 0 : static_cast<std::uint32_t>((size + block_bytes - 1) / block_bytes);
}

packed_writer::packed_writer(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ec;
  std::filesystem::create_directories(path_.parent_path(), ec);
  ::unlink((path_.string() + ".log.zst.part").c_str());
}

log_result<void> packed_writer::add(std::string_view bytes) {
  auto name = path_.string() + ".log.zst.part";
  file out{::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640)};
  if (!out || !write_all(out.fd, bytes.data(), bytes.size()))
    return system_error(name, "write");
  return {};
}

log_result<void> packed_writer::finish() {
  auto name = path_.string() + ".log.zst";
  if (::rename((name + ".part").c_str(), name.c_str()) != 0)
    return system_error(name, "write");
  return {};
}

// -- log_compressor --------------------------------------------------------------------------------------------------

struct log_compressor::state {
  std::filesystem::path path;
  file in;
  file out;
  std::uint64_t at = 0;
  std::vector<std::uint32_t> table;
  std::vector<char> raw, packed; ///< As large as the log, at most a block: many may wait to be compressed.
};

log_compressor::log_compressor(std::filesystem::path path) : state_(std::make_unique<state>()) {
  state_->path = std::move(path);
}

log_compressor::log_compressor(log_compressor&&) noexcept = default;

log_compressor::~log_compressor() = default;

log_result<bool> log_compressor::step() {
  auto& s = *state_;
  auto plain = s.path.string() + ".log", partial = plain + ".part", final_name = plain + ".zst";
  if (!s.in) {
    s.in = file{::open(plain.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!s.in)
      return system_error(plain, "open");
    s.out = file{::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640)};
    struct stat info {};
    if (!s.out || ::fstat(s.in.fd, &info) != 0)
      return system_error(partial, "open");
    s.raw.resize(std::clamp<std::size_t>(static_cast<std::size_t>(info.st_size), 1, block_bytes));
    s.packed.resize(ZSTD_compressBound(s.raw.size()));
  }
  auto count = read_at(s.in.fd, s.raw.data(), s.raw.size(), s.at);
  if (count < 0)
    return system_error(plain, "read");
  if (count > 0) {
    auto size = ZSTD_compress(s.packed.data(), s.packed.size(), s.raw.data(), static_cast<std::size_t>(count), 3);
    if (ZSTD_isError(size) || !write_all(s.out.fd, s.packed.data(), size))
      return system_error(partial, "write");
    s.table.push_back(static_cast<std::uint32_t>(size));
    s.table.push_back(static_cast<std::uint32_t>(count));
    s.at += static_cast<std::uint64_t>(count);
    return false;
  }
  auto tail = seek_table(s.table);
  if (!write_all(s.out.fd, tail.data(), tail.size()) || ::fdatasync(s.out.fd) != 0 || ::rename(partial.c_str(), final_name.c_str()) != 0)
    return system_error(partial, "write");
  ::unlink(plain.c_str()); // readers that have it open read on
  return true;
}

} // namespace davit::store
