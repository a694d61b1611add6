#include "sandbox/message.hpp"

#include "sandbox/hand_over.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace davit::init {

static_assert(std::endian::native == std::endian::little, "the header is sent as it lies in memory");

std::optional<std::string> hand_over_message(const std::vector<std::string>& arguments,
                                             const std::map<std::string, std::string>& variables,
                                             const std::map<std::string, secret>& secrets, bool input) {
  hand_over header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.arguments = static_cast<std::uint32_t>(arguments.size());
  header.variables = static_cast<std::uint32_t>(variables.size() + secrets.size());
  header.input = input;
  std::string text;
  auto sound = !arguments.empty();
  auto add = [&](const std::string& one) {
    sound = sound && one.find('\0') == std::string::npos;
    text += one;
    text += '\0';
  };
  for (const auto& one : arguments)
    add(one);
  for (const auto& [name, value] : variables)
    add(name + '=' + value);
  for (const auto& [name, hidden] : secrets)
    add(name + '=' + hidden.value);
  if (!sound || text.size() > most_bytes)
    return std::nullopt;
  header.bytes = static_cast<std::uint32_t>(text.size());
  std::string message(sizeof header, '\0');
  std::memcpy(message.data(), &header, sizeof header);
  return message + text;
}

namespace {

/// `WORD NUMBER KILLS`
std::optional<sandbox_report> parse(std::string_view text) {
  sandbox_report report;
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find(' ', at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  auto number = [](std::string_view digits, std::int32_t& value) {
    auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return code == std::errc{} && end == digits.data() + digits.size();
  };
  std::int32_t kills = 0;
  if (parts.size() != 3 || !from_string(parts[0], report.word) || !number(parts[1], report.number)
      || !number(parts[2], kills))
    return std::nullopt;
  if (kills >= 0)
    report.oom_kills = kills;
  return report;
}

/// The longest report behind its mark: a word and two numbers.
constexpr std::size_t most_report = 64;

/// The most records that are taken for a complaint.
constexpr std::size_t most_early = 64;

} // namespace

report_reader::report_reader(const std::string& nonce, bool from_beginning)
  : mark_(report_prefix + nonce + ' '), begun_line_(mark_ + "begun 0 0" + report_end + '\n'), begun_(!from_beginning) {}

void report_reader::add(log_record record, std::vector<log_record>& own) {
  if (record.stream != log_stream::out && record.stream != log_stream::err) {
    own.push_back(std::move(record));
    return;
  }
  if (record.stream == log_stream::out && record.bytes == begun_line_) {
    begin(own);
    return;
  }
  auto& state = of(record.stream);
  if (state.reported)
    return; // the end of the report's own line, cut off
  std::string text;
  for (const auto& one : state.kept)
    text += one.bytes;
  text += record.bytes;
  state.kept.push_back(std::move(record));
  auto give = [&](std::size_t bytes) {
    for (auto& one : state.kept) {
      one.bytes.resize(std::min(bytes, one.bytes.size()));
      bytes -= one.bytes.size();
      if (!one.bytes.empty())
        pass(std::move(one), own);
    }
    state.kept.clear();
  };
  if (auto at = text.find(mark_); at != std::string::npos) {
    auto end = text.find(report_end, at + mark_.size());
    if (end == std::string::npos && text.size() - at < mark_.size() + most_report)
      return; // the rest is on its way
    if (auto parsed = end == std::string::npos
                      ? std::nullopt
                      : parse(std::string_view{text}.substr(at + mark_.size(), end - at - mark_.size()))) {
      report_ = *parsed;
      state.reported = true;
      give(at);
      return;
    }
  }
  // Most records end with a newline, which the mark has none of.
  if (!text.empty() && text.back() != '\n')
    for (auto length = std::min(mark_.size() - 1, text.size()); length > 0; --length)
      if (text.ends_with(std::string_view{mark_}.substr(0, length)))
        return;
  give(text.size());
}

/// What was kept back until now is the task's.
void report_reader::begin(std::vector<log_record>& own) {
  begun_ = true;
  for (auto& one : std::exchange(early_, {}))
    own.push_back(std::move(one));
}

/// A complaint is short. Where more comes, or anything on standard output, something ran, and the engine has lost the
/// word that it begins.
void report_reader::pass(log_record record, std::vector<log_record>& own) {
  if (!begun_ && (record.stream == log_stream::out || early_.size() == most_early))
    begin(own);
  (begun_ ? own : early_).push_back(std::move(record));
}

void report_reader::finish(std::vector<log_record>& own) {
  early_.clear();
  for (auto* state : {&out_, &err_})
    for (auto& one : std::exchange(state->kept, {}))
      if (begun_)
        own.push_back(std::move(one));
}

} // namespace davit::init
