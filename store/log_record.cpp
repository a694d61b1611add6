#include "store/log_record.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "store/attempt_log.hpp"

#include <cstring>
#include <xxhash.h>

namespace davit::store {

namespace {

constexpr std::uint64_t between_marks = 64 * 1024;

struct ledger_text {
  std::uint64_t out_bytes = 0, out_hash = 0, err_bytes = 0, err_hash = 0, dropped = 0;
  bool gaps = false;
};
template <class Inspector>
bool inspect(Inspector& f, ledger_text& x) {
  return f.object(x).fields(f.field("out_bytes", x.out_bytes), f.field("out_hash", x.out_hash),
                            f.field("err_bytes", x.err_bytes), f.field("err_hash", x.err_hash),
                            f.field("dropped", x.dropped), f.field("gaps", x.gaps));
}

} // namespace

void put_record(std::string& to, log_stream stream, timestamp at, std::string_view bytes) {
  char header[record_header_bytes]{};
  auto length = static_cast<std::uint32_t>(bytes.size());
  auto stream_byte = static_cast<std::uint8_t>(stream);
  auto nanoseconds = at.time_since_epoch().count();
  std::memcpy(header, &length, 4);
  std::memcpy(header + 4, &stream_byte, 1);
  std::memcpy(header + 8, &nanoseconds, 8);
  to.append(header, record_header_bytes);
  to.append(bytes);
}

record_found get_record(std::string_view bytes, record_view& record, std::size_t& needed) {
  needed = record_header_bytes;
  if (bytes.size() < record_header_bytes)
    return record_found::partial;
  std::uint32_t length = 0;
  std::uint8_t stream = 0;
  std::int64_t at = 0;
  std::memcpy(&length, bytes.data(), 4);
  std::memcpy(&stream, bytes.data() + 4, 1);
  std::memcpy(&at, bytes.data() + 8, 8);
  if (stream > 3 || bytes[5] != 0 || bytes[6] != 0 || bytes[7] != 0 || length > longest_record)
    return record_found::damaged;
  needed += length;
  if (bytes.size() < needed)
    return record_found::partial;
  record = {static_cast<log_stream>(stream), timestamp{std::chrono::nanoseconds{at}},
            bytes.substr(record_header_bytes, length)};
  return record_found::whole;
}

void put_ledger(std::string& to, const log_summary& totals) {
  ledger_text text{totals.out.bytes, totals.out.hash, totals.err.bytes, totals.err.hash, totals.dropped, totals.gaps};
  put_record(to, log_stream::none, {}, json::write(text));
}

bool get_ledger(std::string_view bytes, log_summary& totals) {
  auto text = json::read<ledger_text>(bytes, json::unknown_fields::ignore);
  if (!text)
    return false;
  totals.out = {text->out_bytes, text->out_hash};
  totals.err = {text->err_bytes, text->err_hash};
  totals.dropped = text->dropped;
  totals.gaps = text->gaps;
  return true;
}

struct log_tally::hash {
  XXH3_state_t* state = XXH3_createState();
  hash() { XXH3_64bits_reset(state); }
  hash(const hash&) = delete;
  hash& operator=(const hash&) = delete;
  ~hash() { XXH3_freeState(state); }
};

log_tally::log_tally() : out_(std::make_unique<hash>()), err_(std::make_unique<hash>()) {}

log_tally::~log_tally() = default;
log_tally::log_tally(log_tally&&) noexcept = default;
log_tally& log_tally::operator=(log_tally&&) noexcept = default;

void log_tally::advance(const log_record& record) {
  if (record.stream == log_stream::note)
    totals_.gaps |= record.bytes.find("missing here") != std::string::npos;
  else
    cursor_.of(record.stream).pass(record);
}

void log_tally::add(const log_record& record, std::uint64_t offset) {
  if (marks_.empty() || output() - marks_.back().output >= between_marks)
    marks_.push_back({offset, output()});
  advance(record);
  if (record.stream == log_stream::note)
    return;
  auto is_err = record.stream == log_stream::err;
  (is_err ? totals_.err : totals_.out).bytes += record.bytes.size();
  XXH3_64bits_update((is_err ? err_ : out_)->state, record.bytes.data(), record.bytes.size());
  while (marks_.size() > 1 && output() - marks_[1].output >= longest_tail)
    marks_.pop_front();
}

void log_tally::drop(const log_record& record) {
  advance(record);
  if (record.stream != log_stream::note)
    totals_.dropped += record.bytes.size();
}

log_summary log_tally::summary() const {
  auto totals = totals_;
  totals.out.hash = XXH3_64bits_digest(out_->state);
  totals.err.hash = XXH3_64bits_digest(err_->state);
  return totals;
}

} // namespace davit::store
