#include "api/log_lines.hpp"

#include <algorithm>

namespace davit {

std::size_t open_lines::begin(const log_record& record, std::size_t from) const {
  const auto& bytes = record.bytes;
  if (from == 0 && !within(record.stream))
    return bytes.empty() ? none : 0;
  auto newline = bytes.find('\n', from == 0 ? 0 : from - 1);
  return newline == std::string::npos || newline + 1 == bytes.size() ? none : newline + 1;
}

void open_lines::pass(const log_record& record) {
  if (!record.bytes.empty())
    open_[static_cast<std::size_t>(record.stream)] = record.bytes.back() != '\n';
}

std::size_t tail_cut::dropped(const log_record& record) {
  std::size_t first = 0;
  if (!begun_) {
    first = lines_.begin(record, 0);
    for (; first != open_lines::none && to_drop_ > 0; --to_drop_)
      first = lines_.begin(record, first + 1);
    if (begun_ = first != open_lines::none; begun_) {
      older_ = lines_;
      older_.close(record.stream);
    }
  } else if (older_.within(record.stream)) {
    first = lines_.begin(record, 0);
    if (record.bytes.find('\n') != std::string::npos)
      older_.close(record.stream);
  }
  lines_.pass(record);
  return std::min(first, record.bytes.size());
}

void tail_scan::page(std::uint64_t offset) {
  marks_.push_back({offset, begun_, state_});
  while (marks_.size() > 1 && begun_ - marks_[1].lines >= wanted_)
    marks_.pop_front();
  if (marks_.size() <= most_places)
    return;
  // Every other one is left: more of the log is read again.
  std::deque<mark> fewer;
  for (std::size_t i = 0; i < marks_.size(); i += 2)
    fewer.push_back(marks_[i]);
  marks_.swap(fewer);
}

void tail_scan::add(const log_record& record) {
  for (auto at = state_.begin(record, 0); at != open_lines::none; at = state_.begin(record, at + 1))
    ++begun_;
  state_.pass(record);
}

tail_cut tail_scan::found(std::uint64_t end) const {
  auto first = begun_ - std::min(begun_, wanted_);
  auto behind = std::find_if(marks_.begin(), marks_.end(), [&](const auto& one) { return one.lines > first; });
  const auto& at = *std::prev(behind);
  return {at.offset, end, at.state, first - at.lines};
}

} // namespace davit
