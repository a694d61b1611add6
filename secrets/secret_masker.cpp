#include "secrets/secret_masker.hpp"

#include "encoding/base64.hpp"
#include "secrets/shell_quoting.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace davit::secrets {

namespace {

/// The characters of the base64 of any text that has `bytes` at an offset of `phase` modulo 3: without those that
/// depend on the neighbours.
std::string base64_core(const std::string& bytes, std::size_t phase) {
  auto text = encoding::base64_encode(std::string(phase, '\0') + bytes);
  auto first = (8 * phase + 5) / 6, last = 8 * (phase + bytes.size()) / 6;
  return text.substr(first, last - first);
}

/// The same where nothing follows the bytes, to the end; with its padding.
std::string base64_end(const std::string& bytes, std::size_t phase) {
  return encoding::base64_encode(std::string(phase, '\0') + bytes).substr((8 * phase + 5) / 6);
}

/// How a library writes URLs.
struct url_form {
  std::string_view kept; ///< Beside letters and digits.
  bool upper = true;     ///< The hexadecimal digits.
  bool plus = false;     ///< For a blank.
};

/// RFC 3986's, Python's quote, JavaScript's encodeURIComponent and encodeURI, HTML forms'.
constexpr url_form url_forms[] = {{"-_.~"},  {"-_.~", true, true}, {"-_.~", false},          {"-_.~", false, true},
                                  {"-_.~/"}, {"-_.~!'()*"},        {"-_.~!'()*;,/?:@&=+$#"}, {"-_.*", true, true}};

std::string escaped(const std::string& bytes, const url_form& form) {
  std::string text;
  for (unsigned char c : bytes) {
    if (std::isalnum(c) || form.kept.find(static_cast<char>(c)) != std::string_view::npos) {
      text += static_cast<char>(c);
    } else if (c == ' ' && form.plus) {
      text += '+';
    } else {
      char code[4];
      std::snprintf(code, sizeof code, form.upper ? "%%%02X" : "%%%02x", c);
      text += code;
    }
  }
  return text;
}

/// How a library writes JSON's strings.
struct json_form {
  bool slash = false;          ///< With a backslash before it.
  bool ascii = false;          ///< Nothing but ASCII.
  std::string_view codes = {}; ///< Written as \u and four digits, beside control characters.
  bool upper = false;          ///< Those digits.
};

/// JavaScript's; PHP's; Python's; PHP's with a flag; Go's; Gson's; Ruby's on Rails; .NET's.
constexpr json_form json_forms[] = {{},
                                    {true, true},
                                    {false, true},
                                    {true},
                                    {false, false, "<>&"},
                                    {false, false, "<>&='"},
                                    {true, false, "<>&"},
                                    {false, true, "\"&'+<>`", true}};

/// The code point that begins there, and how many bytes it has. None: it is not UTF-8.
std::optional<std::pair<std::uint32_t, std::size_t>> code_point(std::string_view text) {
  auto lead = static_cast<unsigned char>(text[0]);
  std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size)
    return std::nullopt;
  std::uint32_t code = lead & (0xffu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80)
      return std::nullopt;
    code = code << 6 | (next & 0x3f);
  }
  return std::pair{code, size};
}

std::string json_escaped(std::string_view bytes, const json_form& form) {
  std::string text;
  auto add_code = [&](std::uint32_t unit) {
    char code[8];
    std::snprintf(code, sizeof code, form.upper ? "\\u%04X" : "\\u%04x", unit);
    text += code;
  };
  constexpr std::string_view named = "\"\\\n\r\t\b\f", names = "\"\\nrtbf";
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto c = static_cast<unsigned char>(bytes[i]);
    auto as_code = form.codes.find(bytes[i]) != std::string_view::npos;
    if (auto at = named.find(bytes[i]); at != std::string_view::npos && !as_code) {
      text += '\\';
      text += names[at];
    } else if (as_code || c < 0x20) {
      add_code(c);
    } else if (c == '/' && form.slash) {
      text += "\\/";
    } else if (auto point = c >= 0x80 && form.ascii ? code_point(bytes.substr(i)) : std::nullopt) {
      auto [code, size] = *point;
      if (code < 0x10000) {
        add_code(code);
      } else {
        add_code(0xd800 + ((code - 0x10000) >> 10));
        add_code(0xdc00 + ((code - 0x10000) & 0x3ff));
      }
      i += size - 1;
    } else {
      text += bytes[i];
    }
  }
  return text;
}

std::string hexadecimal(const std::string& bytes, const char* format) {
  std::string text;
  for (unsigned char c : bytes) {
    char code[4];
    std::snprintf(code, sizeof code, format, c);
    text += code;
  }
  return text;
}

/// Fewer letters at the end of a line are no beginning of a wrapped secret: the rest is found by itself. Not that of a
/// short form, of which any letter is: a line that ends with one waits for the next line.
constexpr std::size_t least_before_wrap = 4, short_form = 3 * least_before_wrap - 1;

/// The base64 of the text in its three phases, in both alphabets.
std::vector<std::string> base64_forms(const std::string& text) {
  std::vector<std::string> forms;
  for (std::size_t phase = 0; phase < 3; ++phase) {
    auto end = base64_end(text, phase);
    for (auto form : {base64_core(text, phase), end, end.substr(0, end.find_last_not_of('=') + 1)}) {
      auto url = form;
      std::replace(url.begin(), url.end(), '+', '-');
      std::replace(url.begin(), url.end(), '/', '_');
      forms.push_back(std::move(form));
      forms.push_back(std::move(url));
    }
  }
  return forms;
}

/// What $(...) and echo make of a text, and what a terminal makes of that.
std::vector<std::string> whole_forms(const std::string& secret) {
  auto trimmed = secret.substr(0, secret.find_last_not_of("\r\n") + 1);
  std::vector<std::string> whole{trimmed};
  if (trimmed.find('\n') != std::string::npos) {
    std::string terminal;
    for (char c : trimmed) {
      if (c == '\n' && !terminal.ends_with('\r'))
        terminal += '\r';
      terminal += c;
    }
    whole.push_back(std::move(terminal));
  }
  return whole;
}

} // namespace

std::vector<std::string> forms_of(const std::string& secret) {
  std::set<std::string> forms;
  auto add = [&](std::string text) {
    if (text.size() >= least_secret)
      forms.insert(std::move(text));
  };
  auto add_as_shells_do = [&](const std::string& text) {
    for (auto& form : shell_forms(text))
      add(std::move(form));
  };
  auto whole = whole_forms(secret);
  if (whole.size() > 1) {
    std::string line;
    for (char c : whole.front() + '\n') {
      if (c == '\n') {
        if (line.ends_with('\r'))
          line.pop_back();
        add_as_shells_do(line);
        add(std::exchange(line, {}));
      } else {
        line += c;
      }
    }
  }
  for (const auto& text : whole) {
    add(text);
    add_as_shells_do(text);
    for (auto& form : base64_forms(text))
      add(std::move(form));
    add(hexadecimal(text, "%02x"));
    add(hexadecimal(text, "%02X"));
    for (const auto& form : json_forms)
      add(json_escaped(text, form));
    for (const auto& form : url_forms)
      add(escaped(text, form));
  }
  return {forms.begin(), forms.end()};
}

std::string masked(std::string text, const std::vector<std::string>& secrets) {
  if (secrets.empty() || text.empty())
    return text;
  secret_masker masker{secrets};
  std::vector<log_record> pieces;
  masker.add({log_stream::out, {}, std::move(text)}, pieces);
  masker.finish(pieces);
  return std::move(pieces.front().bytes);
}

std::vector<std::string> masked(const std::vector<excerpt>& texts, const std::vector<std::string>& secrets) {
  secret_masker masker{secrets};
  std::vector<std::string> all;
  for (const auto& one : texts) {
    std::vector<log_record> pieces, undecided;
    if (one.cut) {
      for (char letter : one.text)
        masker.add({log_stream::out, {}, std::string(1, letter)}, pieces);
      masker.finish(undecided);
    } else {
      masker.add({log_stream::out, {}, one.text}, pieces);
      masker.finish(pieces);
    }
    auto& text = all.emplace_back();
    for (const auto& piece : pieces)
      text += piece.bytes;
  }
  return all;
}

/// Nodes have few children: one is kept in the node, further ones in a map. The root has a table.
struct secret_masker::automaton {
  struct node {
    std::uint32_t child = 0; ///< 0: none.
    unsigned char letter = 0;
    std::uint32_t fail = 0;
    std::uint32_t depth = 0;
    std::uint32_t longest = 0; ///< Length of the longest text that ends here.
    bool is_short = false;     ///< The beginning of a short form.
  };
  std::vector<node> nodes{1};
  std::map<std::pair<std::uint32_t, unsigned char>, std::uint32_t> further;
  std::array<std::uint32_t, 256> root{};

  std::uint32_t child(std::uint32_t at, unsigned char letter) const {
    if (at == 0)
      return root[letter];
    const auto& one = nodes[at];
    if (one.child && one.letter == letter)
      return one.child;
    if (one.child)
      if (auto found = further.find({at, letter}); found != further.end())
        return found->second;
    return 0;
  }

  void add(const std::string& text) {
    std::uint32_t at = 0;
    for (unsigned char letter : text) {
      auto next = child(at, letter);
      if (!next) {
        next = static_cast<std::uint32_t>(nodes.size());
        nodes.push_back({0, 0, 0, nodes[at].depth + 1, 0, false});
        if (at == 0) {
          root[letter] = next;
        } else if (!nodes[at].child) {
          nodes[at].child = next;
          nodes[at].letter = letter;
        } else {
          further[{at, letter}] = next;
        }
      }
      at = next;
      nodes[at].is_short |= text.size() < short_form;
    }
    nodes[at].longest = nodes[at].depth;
  }

  void link() {
    std::deque<std::uint32_t> queue;
    auto visit = [&](std::uint32_t parent, unsigned char letter, std::uint32_t one) {
      if (parent != 0)
        nodes[one].fail = step(nodes[parent].fail, letter);
      nodes[one].longest = std::max(nodes[one].longest, nodes[nodes[one].fail].longest);
      queue.push_back(one);
    };
    for (unsigned letter = 0; letter < 256; ++letter)
      if (root[letter])
        visit(0, static_cast<unsigned char>(letter), root[letter]);
    while (!queue.empty()) {
      auto at = queue.front();
      queue.pop_front();
      if (nodes[at].child)
        visit(at, nodes[at].letter, nodes[at].child);
      for (auto one = further.lower_bound({at, 0}); one != further.end() && one->first.first == at; ++one)
        visit(at, one->first.second, one->second);
    }
  }

  /// The longest end of what was read that may go on behind the end of a line. 0: none.
  std::uint32_t over_line_end(std::uint32_t at) const {
    while (nodes[at].depth < least_before_wrap && !nodes[at].is_short && at != 0)
      at = nodes[at].fail;
    return at;
  }

  std::uint32_t step(std::uint32_t at, unsigned char letter) const {
    while (true) {
      if (auto next = child(at, letter))
        return next;
      if (at == 0)
        return 0;
      at = nodes[at].fail;
    }
  }
};

secret_masker::secret_masker(const std::vector<std::string>& secrets)
  : plain_(std::make_unique<automaton>()), wrapped_(std::make_unique<automaton>()) {
  for (const auto& secret : secrets) {
    for (const auto& form : forms_of(secret))
      plain_->add(form);
    for (const auto& text : whole_forms(secret))
      for (const auto& form : base64_forms(text))
        for (std::size_t cut = 0; cut == 0 || (cut < least_before_wrap && form.size() >= cut + 2 * least_before_wrap);
             ++cut)
          wrapped_->add(form.substr(cut));
  }
  plain_->link();
  wrapped_->link();
}

secret_masker::~secret_masker() = default;

/// Where the last so many letters begin, line ends not counted.
std::uint64_t secret_masker::stream_state::wrapped_begin(std::uint64_t letters) const {
  auto begin = position - letters;
  for (auto end = line_ends.rbegin(); end != line_ends.rend() && *end >= begin; ++end)
    --begin;
  return begin;
}

void secret_masker::stream_state::hide(range found) {
  while (!hidden.empty() && hidden.back().end >= found.begin) {
    found.begin = std::min(found.begin, hidden.back().begin);
    found.end = std::max(found.end, hidden.back().end);
    hidden.pop_back();
  }
  hidden.push_back(found);
}

void secret_masker::add(log_record record, std::vector<log_record>& decided) {
  auto& stream = streams_[static_cast<std::size_t>(record.stream)];
  auto begin = stream.position;
  if (record.stream != log_stream::note) // davit's own words
    for (unsigned char letter : record.bytes) {
      ++stream.position;
      stream.node = plain_->step(stream.node, letter);
      if (auto length = plain_->nodes[stream.node].longest)
        stream.hide({stream.position - length, stream.position});
      if (letter == '\n' || letter == '\r') {
        stream.wrapped_node = wrapped_->over_line_end(stream.wrapped_node);
        auto depth = wrapped_->nodes[stream.wrapped_node].depth;
        auto& ends = stream.line_ends;
        auto blank_line = ends.size() >= 2 && ends[ends.size() - 2] + 3 == stream.position;
        if (depth == 0 || blank_line) {
          stream.wrapped_node = 0;
        } else {
          ends.erase(ends.begin(), std::lower_bound(ends.begin(), ends.end(), stream.wrapped_begin(depth)));
          ends.push_back(stream.position - 1);
        }
      } else {
        stream.wrapped_node = wrapped_->step(stream.wrapped_node, letter);
        if (auto length = wrapped_->nodes[stream.wrapped_node].longest)
          stream.hide({stream.wrapped_begin(length), stream.position});
      }
      if (stream.wrapped_node == 0)
        stream.line_ends.clear();
    }
  kept_bytes_ += record.bytes.size();
  kept_.push_back({std::move(record), begin});
  release(decided, false);
}

void secret_masker::finish(std::vector<log_record>& decided) {
  release(decided, true);
  for (auto& stream : streams_) {
    stream.node = stream.wrapped_node = 0;
    stream.line_ends.clear();
  }
}

/// What the automata stand on may become a secret: the last bytes, as many as their depth.
bool secret_masker::decided(const kept& one) const {
  if (one.record.stream == log_stream::note)
    return true;
  const auto& stream = streams_[static_cast<std::size_t>(one.record.stream)];
  auto open = std::min(stream.position - plain_->nodes[stream.node].depth,
                       stream.wrapped_begin(wrapped_->nodes[stream.wrapped_node].depth));
  return one.begin + one.record.bytes.size() <= open;
}

void secret_masker::give(kept& one, std::vector<log_record>& decided) {
  auto& hidden = streams_[static_cast<std::size_t>(one.record.stream)].hidden;
  auto end = one.begin + one.record.bytes.size();
  kept_bytes_ -= one.record.bytes.size();
  one.record.bytes = masked(one);
  while (one.record.stream != log_stream::note && !hidden.empty() && hidden.front().end <= end)
    hidden.pop_front();
  decided.push_back(std::move(one.record));
}

void secret_masker::release(std::vector<log_record>& decided, bool all) {
  while (!kept_.empty() && (all || this->decided(kept_.front()))) {
    give(kept_.front(), decided);
    kept_.pop_front();
  }
  if (kept_bytes_ <= most_kept)
    return;
  std::deque<kept> undecided;
  for (auto& one : kept_)
    if (this->decided(one))
      give(one, decided);
    else
      undecided.push_back(std::move(one));
  kept_ = std::move(undecided);
}

std::string secret_masker::masked(const kept& one) {
  auto& stream = streams_[static_cast<std::size_t>(one.record.stream)];
  const auto& hidden = stream.hidden;
  if (one.record.stream == log_stream::note || hidden.empty())
    return one.record.bytes;
  std::string text;
  auto at = one.begin, end = one.begin + one.record.bytes.size();
  for (const auto& range : hidden) {
    if (range.begin >= end)
      break;
    if (range.begin > at)
      text.append(one.record.bytes, at - one.begin, range.begin - at);
    if (range.begin >= one.begin && range.begin != stream.masked_to)
      text += mask;
    stream.masked_to = range.end;
    at = std::max(at, std::min(range.end, end));
  }
  text.append(one.record.bytes, at - one.begin);
  return text;
}

} // namespace davit::secrets
