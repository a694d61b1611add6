#include "encoding/junit.hpp"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

namespace davit::encoding {

namespace {

constexpr std::size_t most_slowest = 5, most_failed = 20;

/// What the parser may have at once: names of elements and attributes stay there, and a tag is there as a whole.
constexpr std::size_t most_memory = 4 << 20;

/// expat knows no bound of its own. Each of its blocks has its size before it, and the reader that expat works for has
/// the sum: it works for one reader at a time in a thread.
thread_local std::size_t* in_use = nullptr;

constexpr std::size_t size_bytes = alignof(std::max_align_t);

void* resize(void* block, std::size_t size) {
  auto* start = block ? static_cast<char*>(block) - size_bytes : nullptr;
  std::size_t before = 0;
  if (start)
    std::memcpy(&before, start, sizeof before);
  if (size > most_memory || *in_use - before + size > most_memory)
    return nullptr;
  auto* made = static_cast<char*>(std::realloc(start, size + size_bytes)); // NOLINT(cppcoreguidelines-no-malloc)
  if (!made)
    return nullptr;
  *in_use = *in_use - before + size;
  std::memcpy(made, &size, sizeof size);
  return made + size_bytes;
}

void* allocate(std::size_t size) {
  return resize(nullptr, size);
}

void release(void* block) {
  if (!block)
    return;
  auto* start = static_cast<char*>(block) - size_bytes;
  std::size_t size = 0;
  std::memcpy(&size, start, sizeof size);
  *in_use -= size;
  std::free(start); // NOLINT(cppcoreguidelines-no-malloc)
}

/// While it lives, this thread's blocks count for this reader.
class counting {
public:
  explicit counting(std::size_t& sum) : before_(std::exchange(in_use, &sum)) {}
  ~counting() { in_use = before_; }
  counting(const counting&) = delete;
  counting& operator=(const counting&) = delete;

private:
  std::size_t* before_;
};

/// Any encoding that has ASCII as its first half: the rest is not needed to count tests.
int read_as_ascii(void*, const XML_Char*, XML_Encoding* encoding) {
  for (int i = 0; i < 256; ++i)
    encoding->map[i] = i < 0x80 ? i : 0xfffd;
  encoding->data = nullptr;
  encoding->convert = nullptr;
  encoding->release = nullptr;
  return XML_STATUS_OK;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Takes the commas between thousands out, and makes a point of one that begins the fraction.
std::optional<std::string> without_commas(std::string text) {
  auto comma = text.find(',');
  if (comma == std::string::npos)
    return text;
  auto point = std::min(text.find('.'), text.size());
  auto thousands = comma > 0 && comma <= 3 && text[0] != '0';
  for (auto at = comma; thousands && at < point; at += 4)
    thousands = text[at] == ',' && point - at >= 4 && std::all_of(&text[at + 1], &text[at + 4], is_digit);
  if (thousands) {
    text.erase(std::remove(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(point), ','),
               text.begin() + static_cast<std::ptrdiff_t>(point));
    return text.find(',') == std::string::npos ? std::optional{text} : std::nullopt;
  }
  if (point != text.size() || text.find(',', comma + 1) != std::string::npos)
    return std::nullopt;
  text[comma] = '.';
  return text;
}

void add_slow(std::vector<slow_test>& slowest, slow_test one) {
  auto place
    = std::find_if(slowest.begin(), slowest.end(), [&](const auto& other) { return other.seconds < one.seconds; });
  if (one.seconds <= 0 || place - slowest.begin() >= static_cast<std::ptrdiff_t>(most_slowest))
    return;
  slowest.insert(place, std::move(one));
  if (slowest.size() > most_slowest)
    slowest.pop_back();
}

void append(std::string& text, std::string_view more) {
  text.append(more.substr(0, junit_text_bytes - std::min(text.size(), junit_text_bytes)));
}

/// `testcase` of `ns:testcase`: what the prefix stands for is not asked.
std::string_view local_name(std::string_view element) {
  return element.substr(element.rfind(':') + 1);
}

/// `package.Class.test`. Some dialects say the class in the name too, or nothing else.
std::string full_name(std::string_view of_class, std::string_view name) {
  std::string full;
  of_class = of_class.substr(0, junit_text_bytes);
  if (!of_class.empty() && !name.starts_with(of_class)) {
    append(full, of_class);
    append(full, ".");
  }
  append(full, name);
  return full;
}

} // namespace

std::optional<double> junit_seconds(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  auto first = std::min(text.find_first_not_of(blanks), text.size());
  text = text.substr(first, text.find_last_not_of(blanks) + 1 - first);
  if (text.empty() || text.size() > 64)
    return std::nullopt;
  auto plain = without_commas(std::string{text});
  if (!plain)
    return std::nullopt;
  double seconds = 0;
  auto [end, failed] = std::from_chars(plain->data(), plain->data() + plain->size(), seconds);
  constexpr double most = 1e9; // thirty years
  if (failed != std::errc{} || end != plain->data() + plain->size() || !(seconds >= 0) || seconds > most)
    return std::nullopt;
  return seconds;
}

void add_tests(test_counts& all, test_counts more) {
  all.reports += more.reports;
  all.unread += more.unread;
  all.tests += more.tests;
  all.failures += more.failures;
  all.errors += more.errors;
  all.skipped += more.skipped;
  all.seconds += more.seconds;
  for (auto& one : more.slowest)
    add_slow(all.slowest, std::move(one));
  for (auto& one : more.failed)
    if (all.failed.size() < most_failed)
      all.failed.push_back(std::move(one));
}

/// What is read of the report, and of the test in it that is read now.
struct junit_reader::state {
  std::size_t memory = 0;
  XML_Parser parser = nullptr;
  bool begun = false;  ///< Something other than blanks has come.
  bool report = false; ///< The outermost element is one.
  bool ended = false;  ///< It can't be read on.
  test_counts counts;

  std::uint64_t depth = 0;   ///< Of the elements that are open.
  std::uint64_t in_test = 0; ///< The depth of the test; 0: none.
  std::string name;
  std::optional<double> seconds;
  bool failed = false, had_error = false, skipped = false;
  std::uint64_t in_message = 0; ///< The depth of the element whose text is the message; 0: none.
  std::string message;

  state() {
    counting now{memory};
    const XML_Memory_Handling_Suite bounded{allocate, resize, release};
    parser = XML_ParserCreate_MM(nullptr, &bounded, nullptr);
    if (!parser)
      throw std::bad_alloc{};
    XML_SetUserData(parser, this);
    XML_SetElementHandler(
      parser, [](void* self, const char* element, const char** attributes) { of(self).start(element, attributes); },
      [](void* self, const char*) { of(self).end(); });
    XML_SetCharacterDataHandler(parser, [](void* self, const char* text, int size) {
      of(self).text({text, static_cast<std::size_t>(size)});
    });
    XML_SetStartDoctypeDeclHandler(parser, [](void* self, auto, auto, auto, int declares) {
      if (declares != 0)
        of(self).stop();
    });
    XML_SetUnknownEncodingHandler(parser, read_as_ascii, nullptr);
  }
  ~state() {
    counting now{memory};
    XML_ParserFree(parser);
  }
  state(const state&) = delete;
  state& operator=(const state&) = delete;

  static state& of(void* self) { return *static_cast<state*>(self); }

  void stop() { XML_StopParser(parser, XML_FALSE); }

  bool parse(std::string_view piece, bool last) {
    counting now{memory};
    ended = ended || XML_Parse(parser, piece.data(), static_cast<int>(piece.size()), last) != XML_STATUS_OK;
    return !ended;
  }

  void start(std::string_view qualified, const char** attributes) {
    ++depth;
    auto element = local_name(qualified);
    if (depth == 1) {
      report = element == "testsuites" || element == "testsuite";
      if (!report)
        stop();
    } else if (element == "testcase") {
      if (in_test == 0)
        start_test(attributes);
      else // nobody says whose the verdicts are, and how many tests there were
        stop();
    } else if (in_test != 0 && depth == in_test + 1) {
      start_verdict(element, attributes);
    }
  }

  void start_test(const char** attributes) {
    in_test = depth;
    seconds.reset();
    failed = had_error = skipped = false;
    message.clear();
    std::string_view of_class, of_test;
    for (; *attributes; attributes += 2) {
      std::string_view key = attributes[0], value = attributes[1];
      if (key == "name")
        of_test = value;
      else if (key == "classname")
        of_class = value;
      else if (key == "time")
        seconds = junit_seconds(value);
      else if (key == "status") // GoogleTest, CTest
        skipped = value == "notrun" || value == "disabled" || value == "skipped";
    }
    name = full_name(of_class, of_test);
  }

  void start_verdict(std::string_view element, const char** attributes) {
    auto first = !failed && !had_error;
    if (element == "failure")
      failed = true;
    else if (element == "error")
      had_error = true;
    else if (element == "skipped")
      skipped = true;
    if (!first || !(failed || had_error))
      return;
    for (; *attributes; attributes += 2)
      if (std::string_view{attributes[0]} == "message")
        append(message, attributes[1]);
    append(message, "\n");
    in_message = depth;
  }

  void text(std::string_view more) {
    if (in_message != 0)
      append(message, more);
  }

  void end() {
    if (depth == in_test)
      end_test();
    if (depth == in_message)
      in_message = 0;
    --depth;
  }

  void end_test() {
    in_test = 0;
    ++counts.tests;
    counts.seconds += seconds.value_or(0);
    if (failed)
      ++counts.failures;
    else if (had_error)
      ++counts.errors;
    else if (skipped)
      ++counts.skipped;
    if ((failed || had_error) && counts.failed.size() < most_failed)
      counts.failed.push_back({name, message});
    add_slow(counts.slowest, {std::move(name), seconds.value_or(0)});
  }
};

junit_reader::junit_reader() : state_(std::make_unique<state>()) {}

junit_reader::~junit_reader() = default;

bool junit_reader::feed(std::string_view piece) {
  if (!state_->begun) // some programs write an empty line before the declaration
    piece.remove_prefix(std::min(piece.find_first_not_of(" \t\r\n"), piece.size()));
  constexpr std::size_t at_once = 128 << 10; // expat keeps some of it twice
  while (!piece.empty() && !state_->ended) {
    state_->begun = true;
    state_->parse(piece.substr(0, at_once), false);
    piece.remove_prefix(std::min(at_once, piece.size()));
  }
  return !state_->ended;
}

bool junit_reader::is_report() const {
  return state_->report;
}

junit_end junit_reader::finish(test_counts& all) {
  auto whole = state_->parse({}, true);
  if (!state_->report)
    return junit_end::other;
  if (!whole)
    return junit_end::unread;
  state_->counts.reports = 1;
  add_tests(all, std::move(state_->counts));
  return junit_end::counted;
}

} // namespace davit::encoding
