#include "sandbox/message.hpp"

#include "sandbox/hand_over.hpp"
#include "sandbox/sha256.hpp"

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

std::string seal_of(std::string_view key, std::string_view words) {
  std::uint8_t digest[digest_bytes];
  hmac_sha256(key.data(), key.size(), words.data(), words.size(), digest);
  char seal[seal_digits + 1];
  write_hexadecimal(digest, seal_digits / 2, seal);
  return seal;
}

/// `WORD NUMBER KILLS`
std::optional<sandbox_report> parse_words(std::string_view text) {
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

/// The longest report behind its mark: a word, two numbers and a seal.
constexpr std::size_t most_report = 96;

/// The most records that are taken for a complaint.
constexpr std::size_t most_early = 64;

} // namespace

std::string nonce_of(const uuid& secret) {
  sha256 hash;
  hash.add(secret.bytes.data(), secret.bytes.size());
  std::uint8_t digest[digest_bytes];
  hash.finish(digest);
  char nonce[nonce_digits + 1];
  write_hexadecimal(digest, digest_bytes, nonce);
  return nonce;
}

bool seals(const std::string& nonce) {
  return nonce.size() == nonce_digits && nonce.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string mark_of(const std::string& nonce) {
  return seals(nonce) ? nonce.substr(0, mark_digits) : nonce;
}

std::string folder_of(const std::string& nonce) {
  auto key = seals(nonce) ? std::string_view{nonce}.substr(mark_digits) : std::string_view{nonce};
  return std::string{folder_beginning} + '-' + seal_of(key, "folder"); // which is no report's words
}

std::string program_of(const std::string& nonce) {
  return folder_of(nonce) + "/init";
}

std::string report_line(const std::string& nonce, const sandbox_report& report) {
  auto words = to_string(report.word) + ' ' + std::to_string(report.number) + ' '
             + std::to_string(report.oom_kills.value_or(-1));
  auto seal = seals(nonce) ? ' ' + seal_of(std::string_view{nonce}.substr(mark_digits), words) : std::string{};
  return report_prefix + mark_of(nonce) + ' ' + words + seal + report_end;
}

report_reader::report_reader(const std::string& nonce, from where)
  : mark_(report_prefix + mark_of(nonce) + ' '), key_(seals(nonce) ? nonce.substr(mark_digits) : std::string{}),
    begun_line_(mark_ + "begun 0 0" + report_end + '\n'), where_(where), begun_(where != from::beginning),
    ran_(where == from::middle) {}

bool report_reader::passes(const log_record& record) const {
  if (record.stream != log_stream::out && record.stream != log_stream::err)
    return true;
  const auto& state = of(record.stream);
  return begun_ && (record.stream == log_stream::err || where_ == from::middle) && !state.reported && state.kept.empty()
      && record.bytes.ends_with('\n') && record.bytes.find(mark_) == std::string::npos;
}

void report_reader::add(log_record record, std::vector<log_record>& own) {
  if (record.stream != log_stream::out && record.stream != log_stream::err) {
    own.push_back(std::move(record));
    return;
  }
  // Only the first record can be the init's.
  if (record.stream == log_stream::out && std::exchange(where_, from::middle) != from::middle
      && record.bytes == begun_line_) {
    ran_ = true;
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
  if (!take_report(text, state, own))
    give_whole(state, possible_report(text), own);
}

/// A task can write marks too; only the init can seal what it says.
bool report_reader::take_report(const std::string& text, stream_state& state, std::vector<log_record>& own) {
  for (auto at = text.find(mark_); at != std::string::npos; at = text.find(mark_, at + 1)) {
    auto rest = std::string_view{text}.substr(at + mark_.size(), most_report);
    auto end = rest.find(report_end);
    auto parsed = end == std::string_view::npos ? std::nullopt : parse(rest.substr(0, end));
    if (!parsed)
      continue;
    report_ = *parsed;
    state.reported = true;
    for (auto& one : std::exchange(state.kept, {})) {
      one.bytes.resize(std::min(at, one.bytes.size()));
      at -= one.bytes.size();
      pass(std::move(one), own);
    }
    return true;
  }
  return false;
}

std::optional<sandbox_report> report_reader::parse(std::string_view text) const {
  if (!key_.empty()) {
    auto space = text.rfind(' ');
    if (space == std::string_view::npos || text.substr(space + 1) != seal_of(key_, text.substr(0, space)))
      return std::nullopt;
    text = text.substr(0, space);
  }
  auto report = parse_words(text);
  return report && report->word == sandbox_word::unused && ran_ ? std::nullopt : report;
}

/// Where what may be the beginning of a report begins; the text's size: nowhere.
std::size_t report_reader::possible_report(const std::string& text) const {
  auto most = mark_.size() + most_report;
  auto from = text.size() > most ? text.size() - most : 0;
  for (auto at = text.find(mark_, from); at != std::string::npos; at = text.find(mark_, at + 1))
    if (const char ends[] = {report_end, '\n', 0}; text.find_first_of(ends, at) == std::string::npos)
      return at; // the rest is on its way
  // Most records end with a newline, which the mark has none of.
  if (!text.empty() && text.back() != '\n')
    for (auto length = std::min(mark_.size() - 1, text.size()); length > 0; --length)
      if (text.ends_with(std::string_view{mark_}.substr(0, length)))
        return text.size() - length;
  return text.size();
}

/// What lies in front of it is the task's. A record is given whole.
void report_reader::give_whole(stream_state& state, std::size_t bytes, std::vector<log_record>& own) {
  auto kept = std::exchange(state.kept, {});
  for (auto& one : kept) {
    auto given = state.kept.empty() && one.bytes.size() <= bytes;
    bytes -= given ? one.bytes.size() : 0;
    if (given)
      pass(std::move(one), own);
    else
      state.kept.push_back(std::move(one));
  }
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
  if (record.bytes.empty())
    return;
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
