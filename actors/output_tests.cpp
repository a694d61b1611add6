#include "actors/output_tests.hpp"

#include "encoding/junit.hpp"
#include "encoding/printable.hpp"
#include "secrets/secret_masker.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

namespace davit {

namespace {

/// The first piece is small: it mostly says whether a file is a report.
constexpr std::size_t first_bytes = 16 << 10, piece_bytes = 128 << 10;
constexpr std::size_t most_name = 200, most_message = 300;

bool may_be_report(const blobs::tree_entry& one) {
  constexpr std::string_view end = ".xml";
  if (one.kind != blobs::entry_kind::file || one.size == 0 || one.path.size() < end.size())
    return false;
  return std::equal(end.begin(), end.end(), one.path.end() - static_cast<std::ptrdiff_t>(end.size()),
                    [](char lower, char c) { return lower == (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
}

/// The next line that is not blank, without blanks around it; takes it from the text.
std::string_view next_line(std::string_view& text) {
  while (!text.empty()) {
    auto end = std::min(text.find_first_of("\r\n"), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    constexpr std::string_view blanks = " \t\v\f";
    if (auto first = line.find_first_not_of(blanks); first != std::string_view::npos)
      return line.substr(first, line.find_last_not_of(blanks) + 1 - first);
  }
  return {};
}

/// The first line. If it is one word (`Failed`, `main_test.cpp:12`), or GoogleTest's of an exception, the second says
/// more.
std::string first_line(std::string_view text) {
  std::string line{next_line(text)};
  if (line.find(' ') != std::string::npos && line != "unknown file")
    return line;
  if (auto second = next_line(text); !second.empty() && second != line) {
    line += line.ends_with(':') ? " " : ": ";
    line += second;
  }
  return line;
}

double rounded(double seconds) {
  return std::round(seconds * 1e6) / 1e6;
}

/// Reads one file until it is known what it is.
blobs::result<encoding::junit_end> count_file(blobs::byte_reader& from, const report_limits& limits,
                                              std::uint64_t& read_bytes, const std::function<bool()>& stopped,
                                              test_counts& all) {
  encoding::junit_reader report;
  std::string piece(piece_bytes, '\0');
  std::uint64_t of_file = 0;
  while (true) {
    auto got = from.read(std::span{piece}.first(of_file == 0 ? first_bytes : piece_bytes));
    if (!got)
      return got.error();
    if (*got == 0)
      return report.finish(all);
    of_file += *got;
    read_bytes += *got;
    if (!report.feed(std::string_view{piece}.substr(0, *got)))
      return report.is_report() ? encoding::junit_end::unread : encoding::junit_end::other;
    if (of_file > limits.file_bytes || read_bytes > limits.bytes || stopped())
      return report.is_report() ? encoding::junit_end::unread : encoding::junit_end::other;
  }
}

} // namespace

std::vector<const blobs::tree_entry*> possible_reports(const blobs::tree& tree) {
  std::vector<const blobs::tree_entry*> files;
  for (const auto& one : tree.entries)
    if (may_be_report(one))
      files.push_back(&one);
  return files;
}

blobs::result<std::optional<test_counts>> count_tests(const std::vector<const blobs::tree_entry*>& files,
                                                      blobs::blob_source& from, const std::function<bool()>& stopped,
                                                      const report_limits& limits) {
  test_counts all;
  std::uint64_t read_bytes = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    // Nobody knows which of the rest are reports; where there were some, all may be.
    if (i == limits.files || read_bytes >= limits.bytes || stopped()) {
      if (all.reports + all.unread > 0)
        all.unread += files.size() - i;
      break;
    }
    auto file = from.open(*files[i]);
    if (!file)
      return file.error();
    auto end = count_file(**file, limits, read_bytes, stopped, all);
    if (!end)
      return end.error();
    if (*end == encoding::junit_end::unread)
      ++all.unread;
  }
  if (all.reports + all.unread == 0)
    return std::optional<test_counts>{};
  return std::optional{std::move(all)};
}

blobs::result<std::optional<test_counts>> count_tests(const blobs::tree& tree, owner_blobs& owner,
                                                      const std::function<bool()>& stopped,
                                                      const report_limits& limits) {
  auto files = possible_reports(tree);
  if (files.empty())
    return std::optional<test_counts>{};
  std::vector<blobs::digest> wanted(std::min<std::size_t>(files.size(), limits.files));
  std::transform(files.begin(), files.begin() + static_cast<std::ptrdiff_t>(wanted.size()), wanted.begin(),
                 [](const auto* one) { return one->content; });
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  auto from = owner.source(wanted);
  if (!from)
    return from.error();
  return count_tests(files, **from, stopped, limits);
}

test_counts presentable(test_counts raw, const std::vector<std::string>& hidden) {
  std::vector<std::string*> places;
  for (auto& one : raw.slowest)
    places.push_back(&one.name);
  for (auto& one : raw.failed) {
    places.push_back(&one.name);
    places.push_back(&one.message);
  }
  std::vector<secrets::excerpt> texts(places.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    texts[i].text = std::move(*places[i]);
    texts[i].cut = texts[i].text.size() >= encoding::junit_text_bytes;
  }
  auto clean = secrets::masked(texts, hidden);
  for (std::size_t i = 0; i < places.size(); ++i)
    *places[i] = std::move(clean[i]);
  auto name = [](std::string& text) {
    text = encoding::cut_to(encoding::printable(text), most_name);
    if (text.empty())
      text = "(no name)";
  };
  for (auto& one : raw.slowest) {
    name(one.name);
    one.seconds = rounded(one.seconds);
  }
  for (auto& one : raw.failed) {
    name(one.name);
    one.message = encoding::cut_to(encoding::printable(first_line(one.message)), most_message);
  }
  raw.seconds = rounded(raw.seconds);
  return raw;
}

} // namespace davit
