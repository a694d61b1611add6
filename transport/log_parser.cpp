#include "transport/log_parser.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace davit::transport {

namespace {

/// How the engine's copier cuts long lines: daemon/logger/copier.go, defaultBufSize.
constexpr std::size_t engine_part_bytes = 16 * 1024;

/// Splits `2026-11-24T03:35:55.730753637Z text` after its first blank.
std::optional<std::pair<timestamp, std::size_t>> split_stamp(std::string_view text) {
  auto blank = text.substr(0, 64).find(' ');
  if (blank == std::string_view::npos)
    return std::nullopt;
  auto at = parse_timestamp(text.substr(0, blank));
  if (!at)
    return std::nullopt;
  return std::pair{*at, blank + 1};
}

/// Where a part of a terminal's line ends if a record's stamp stands right behind its carriage return.
std::optional<std::size_t> end_before_stamp(std::string_view text) {
  for (auto at = text.find('\r'); at != std::string_view::npos; at = text.find('\r', at + 1)) {
    auto behind = text.substr(at + 1);
    if (behind.size() > 30 && behind[4] == '-' && split_stamp(behind))
      return at + 1;
  }
  return std::nullopt;
}

error unstamped(std::string_view text) {
  return {engine_errc::protocol, 0, "a log record has no timestamp: \"" + std::string{text.substr(0, 80)} + "\""};
}

} // namespace

void log_parser::give(log_record record, const std::function<void(log_record)>& sink) {
  // The driver `local` of engine 20.10 drops the newline of a line that it had cut into parts (seen;
  // docs/decisions/0002). A record that is neither full nor ends with a newline, and is not the last, must have had
  // one.
  auto& last = record.stream == log_stream::err ? err_ : out_;
  if (last.open && !last.full)
    sink({record.stream, last.at, "\n"});
  auto goes_on = last.full;
  last.full = record.bytes.size() == engine_part_bytes && record.bytes.back() != '\n';
  last.open = !record.bytes.ends_with('\n');
  last.cut = goes_on || last.full;
  last.at = record.at;
  sink(std::move(record));
}

result<void> log_parser::feed(std::string_view bytes, const std::function<void(log_record)>& sink) {
  if (tty_)
    return feed_raw(bytes, sink);
  result<void> outcome;
  auto fed = frames_.feed(bytes, [&](demultiplexer::piece piece) {
    if (!outcome)
      return;
    if (held_.size() + piece.bytes.size() > max_record_bytes) {
      outcome = error{engine_errc::protocol, 0, "a log record claims to be longer than a mebibyte"};
      return;
    }
    std::string_view text = piece.bytes;
    if (!held_.empty() || !piece.last) {
      held_.append(piece.bytes);
      text = held_;
    }
    if (!piece.last)
      return;
    if (piece.stream == 3) {
      outcome = error{engine_errc::failed, 0, "the engine broke off the log: " + std::string{text}};
      return;
    }
    auto stamped = split_stamp(text);
    if (!stamped) {
      outcome = unstamped(text);
      return;
    }
    give({piece.stream == 2 ? log_stream::err : log_stream::out, stamped->first,
          std::string{text.substr(stamped->second)}},
         sink);
    held_.clear();
  });
  return fed ? outcome : fed;
}

result<void> log_parser::feed_raw(std::string_view bytes, const std::function<void(log_record)>& sink) {
  held_.append(bytes);
  std::size_t at = 0;
  while (at < held_.size()) {
    std::string_view rest{held_};
    rest.remove_prefix(at);
    auto stamped = split_stamp(rest);
    if (!stamped) {
      if (rest.size() < 64)
        break; // the stamp itself may still be on its way
      return unstamped(rest);
    }
    auto text = rest.substr(stamped->second);
    auto newline = text.find('\n');
    std::size_t length = 0;
    if (newline != std::string_view::npos && newline < engine_part_bytes)
      length = newline + 1;
    else if (text.size() >= engine_part_bytes)
      length = engine_part_bytes; // a part of a long line; the next part brings a stamp of its own
    else
      break;
    if (out_.full) // the rest of a cut line may have lost its newline: then the next stamp follows behind the \r
      if (auto end = end_before_stamp(text.substr(0, length)))
        length = *end;
    give({log_stream::out, stamped->first, std::string{text.substr(0, length)}}, sink);
    at += stamped->second + length;
  }
  held_.erase(0, at);
  return {};
}

result<void> log_parser::finish(const std::function<void(log_record)>& sink) {
  if (!tty_) {
    if (frames_.at_boundary())
      return {};
    return error{engine_errc::lost, 0, "the log's stream ended in the middle of a frame"};
  }
  if (held_.empty())
    return {};
  auto stamped = split_stamp(held_);
  if (!stamped)
    return error{engine_errc::lost, 0, "the log's stream ended in the middle of a timestamp"};
  give({log_stream::out, stamped->first, held_.substr(stamped->second)}, sink);
  held_.clear();
  return {};
}

log_resume::log_resume(log_cursor from) : cursor_(from) {
  out_ = {from.out.ordinal != 0, from.out.ordinal, false, {}};
  err_ = {from.err.ordinal != 0, from.err.ordinal, false, {}};
}

std::string log_resume::since() const {
  if (cursor_.empty())
    return {};
  auto earliest = timestamp::max();
  for (auto stream : {&cursor_.out, &cursor_.err})
    if (stream->ordinal != 0)
      earliest = std::min(earliest, stream->at);
  // Records of the two streams are stamped apart and may be written in another order than their stamps say.
  earliest -= std::chrono::seconds{2};
  auto nanoseconds = earliest.time_since_epoch().count();
  auto fraction = std::to_string(nanoseconds % 1'000'000'000);
  return std::to_string(nanoseconds / 1'000'000'000) + '.' + std::string(9 - fraction.size(), '0') + fraction;
}

bool log_resume::take(const log_record& record, bool& gap) {
  gap = false;
  auto& seek = of(record.stream);
  auto& at = cursor_.of(record.stream);
  if (seek.active) {
    auto known = seek.seen.ended_by(record) || (record.at != at.at && record.at <= std::max(at.at, at.high));
    seek.seen.pass(record);
    if (known)
      return false;
    if (record.at == at.at) {
      if (--seek.skip == 0) {
        seek.active = false;
        seek.found = true;
      }
      return false;
    }
    seek.active = false;
    gap = true;
  } else if (std::exchange(seek.found, false) && seek.seen.ended_by(record) && !at.open) {
    return false; // it came with the record itself then, from whoever was asked
  }
  at.pass(record);
  return true;
}

bool log_resume::reaches(const std::vector<log_record>& tail, bool whole) {
  constexpr auto nowhere = std::string::npos;
  constexpr std::array streams{log_stream::out, log_stream::err};
  std::array<std::size_t, 2> reached{nowhere, nowhere}, first{nowhere, nowhere};
  for (std::size_t s = 0; s < 2; ++s) {
    const auto& wanted = cursor_.of(streams[s]);
    stream_cursor seen;
    bool stamped = false;      // some record has the cursor's stamp
    bool run_is_whole = whole; // all records of the run that `seen` counts are here
    for (std::size_t i = 0; i < tail.size(); ++i) {
      if (tail[i].stream != streams[s])
        continue;
      if (first[s] == nowhere)
        first[s] = i;
      else if (tail[i].at != seen.at)
        run_is_whole = true;
      seen.pass(tail[i]);
      if (wanted.ordinal == 0 || seen.at != wanted.at)
        continue;
      stamped = true;
      if (run_is_whole && seen.ordinal == wanted.ordinal)
        reached[s] = i;
    }
    // Which of the records with its stamp are new is not certain; or the record itself should be here and is not; or
    // only what follows it tells whether the engine has lost its newline.
    if (reached[s] == nowhere && wanted.ordinal != 0 && (stamped || whole || wanted.open))
      return false;
  }
  for (std::size_t s = 0; s < 2; ++s) {
    if (reached[s] != nowhere)
      continue;
    // The stream's cursor is in front of the tail. So is nothing new of it if the other stream was read to a place in
    // the tail; and what stands before that place would have been delivered, and its stamp known.
    auto other = reached[1 - s];
    if (!whole && (other == nowhere || first[s] < other))
      return false;
  }
  for (std::size_t s = 0; s < 2; ++s)
    if (reached[s] == nowhere)
      of(streams[s]).active = false;
  return true;
}

} // namespace davit::transport
