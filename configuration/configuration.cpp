#include "configuration/configuration.hpp"

#include "configuration/cross_checks.hpp"
#include "configuration/file_outline.hpp"
#include "configuration/file_reader.hpp"
#include "configuration/option_value.hpp"
#include "messages/regular_file.hpp"
#include "transport/endpoint.hpp"

#include <caf/pec.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace davit {

namespace {

constexpr std::size_t longest_file = 4 << 20;

/// In words, CAF's code for what it found; its place stands beside it.
std::string parser_words(const caf::error& why) {
  if (why.category() != caf::type_id_v<caf::pec>)
    return caf::to_string(why);
  auto text = caf::to_string(static_cast<caf::pec>(why.code()));
  text = text.substr(text.rfind(':') + 1);
  std::replace(text.begin(), text.end(), '_', ' ');
  if (why.context().match_element<std::int32_t>(1))
    text += " in column " + std::to_string(why.context().get_as<std::int32_t>(1));
  return text;
}

/// The file's text; false: it can't be read, and errno says why.
bool read_text(const std::string& file, std::string& text) {
  std::ifstream in{file};
  if (!in)
    return false;
  errno = 0;
  std::string part(64 * 1024, '\0');
  while (in.read(part.data(), static_cast<std::streamsize>(part.size())) || in.gcount() > 0) {
    text.append(part, 0, static_cast<std::size_t>(in.gcount()));
    if (text.size() > longest_file) {
      errno = EFBIG;
      break;
    }
  }
  if (in.bad() && errno == 0)
    errno = EIO;
  return errno == 0;
}

/// What people write that CAF's parser has no words for: line ends of Windows, and units that are none. False: nothing
/// of this kind.
bool explain(const std::string& file, const std::string& text, const file_outline& outline,
             std::vector<config_mistake>& mistakes) {
  auto before = mistakes.size();
  if (auto end = text.find("\r\n"); end != std::string::npos)
    mistakes.push_back({file,
                        1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(end), '\n')), "",
                        "the line ends with CR LF, as Windows has it; lines must end with LF: run dos2unix " + file});
  for (const auto& [name, number] : outline.numbers)
    if (auto wrong = wrong_unit(number); !wrong.empty())
      mistakes.push_back({file, outline.lines.at(name), name, wrong});
  return mistakes.size() != before;
}

/// `a { b { c ... } }` of the name `a.b.c`; empty if it is not that of an option.
std::string grouped(const std::string& name) {
  if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") != std::string::npos
      || name.find("..") != std::string::npos)
    return {};
  std::string groups, ends = " ...";
  for (auto letter : name)
    if (letter == '.') {
      groups += " { ";
      ends += " }";
    } else {
      groups += letter;
    }
  return groups + ends;
}

/// Whether the parser has read everything that the file gives a name. It passes over a whole group in silence if one
/// name in it has a dot, and over names with dots outside of groups.
bool is_whole(const std::string& file, const file_outline& outline, const caf::settings& content,
              std::vector<config_mistake>& mistakes) {
  auto before = mistakes.size();
  for (const auto& [name, line] : outline.dotted) {
    auto groups = grouped(name);
    mistakes.push_back(
      {file, line, name, "names in a file have no dots" + (groups.empty() ? "" : "; write groups: " + groups)});
  }
  if (const auto& [word, line] = outline.unused; !word.empty())
    mistakes.push_back(
      {file, line, word, "has neither a value nor a group; write \"" + word + " = ...\" or \"" + word + " { ... }\""});
  if (mistakes.size() != before)
    return false;
  for (const auto& [name, line] : outline.lines) {
    if (name.find('?') != std::string::npos)
      continue;
    const auto* group = &content;
    auto found = true;
    for (std::size_t at = 0; found && at <= name.size();) {
      auto end = std::min(name.find('.', at), name.size());
      auto one = group ? group->find(name.substr(at, end - at)) : content.end();
      found = group && one != group->end();
      group = found ? caf::get_if<caf::config_value::dictionary>(&one->second) : nullptr;
      at = end + 1;
    }
    if (!found) {
      mistakes.push_back(
        {file, line, name, "was not understood, nor anything around it; look at this line and those before"});
      return false;
    }
  }
  return true;
}

/// Parses the text of a file. CAF takes half a file for a whole one; davit does not.
bool parse_text(const std::string& file, const std::string& text, const file_outline& outline, caf::settings& into,
                std::vector<config_mistake>& mistakes) {
  if (outline.too_deep != 0) {
    mistakes.push_back({file, outline.too_deep, "", "groups and lists are nested too deeply"});
    return false;
  }
  if (auto zero = text.find('\0'); zero != std::string::npos) {
    mistakes.push_back({file,
                        1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(zero), '\n')),
                        "", "has a NUL byte, behind which nothing would be read"});
    return false;
  }
  std::istringstream stream{text};
  auto parsed = caf::actor_system_config::parse_config(stream);
  if (!parsed) {
    if (explain(file, text, outline, mistakes))
      return false;
    const auto& why = parsed.error();
    auto line = why.context().match_element<std::int32_t>(0) ? why.context().get_as<std::int32_t>(0) : 0;
    mistakes.push_back({file, line, "", "can't be read as a CAF configuration file: " + parser_words(why)});
    return false;
  }
  if (outline.open_list != 0) {
    mistakes.push_back({file, outline.open_list, "", "this [ is not closed: is this the whole file?"});
    return false;
  }
  if (!outline.open.empty()) {
    auto [group, line] = outline.open.back();
    mistakes.push_back({file, line, "", "the { of \"" + group + "\" is not closed: is this the whole file?"});
    return false;
  }
  into = std::move(*parsed);
  return is_whole(file, outline, into, mistakes);
}

std::string too_long_words(const std::string& text) {
  return "must be at most " + shown(longest_duration) + ", not " + text;
}

/// What CAF's parser passes over in silence: each such line.
void check_outline(const std::string& file, const file_outline& outline, std::vector<config_mistake>& mistakes) {
  for (const auto& [name, line] : outline.repeated)
    mistakes.push_back(
      {file, line, name, "is given a second time; the first is in line " + std::to_string(outline.lines.at(name))});
  for (const auto& [name, text] : outline.numbers)
    if (is_too_long(text))
      mistakes.push_back({file, outline.lines.at(name), name, too_long_words(text)});
}

/// What `--davit.agent.name=a2` and its like say; those of CAF are in `for_caf` too, as they were.
caf::settings parse_overrides(const std::vector<std::string>& overrides, std::vector<std::string>& for_caf,
                              std::vector<config_mistake>& mistakes) {
  caf::settings all;
  for (const auto& one : overrides) {
    auto equals = one.find('=');
    auto caf = one.starts_with("--caf.");
    if (!caf && (!one.starts_with("--davit.") || equals == std::string::npos)) {
      mistakes.push_back({"", 0, one, "unknown argument; options are given as --davit.agent.name=a2"});
      continue;
    }
    if (equals != std::string::npos && is_too_long(one.substr(equals + 1))) {
      mistakes.push_back({"", 0, one.substr(2, equals - 2), too_long_words(one.substr(equals + 1))});
      continue;
    }
    auto value = equals == std::string::npos ? caf::config_value{true} : caf::config_value{one.substr(equals + 1)};
    if (auto typed = equals == std::string::npos ? value : caf::config_value::parse(one.substr(equals + 1)))
      value = *typed;
    caf::put(all, one.substr(2, equals == std::string::npos ? equals : equals - 2), std::move(value));
    if (caf)
      for_caf.push_back(one);
  }
  return all;
}

/// What follows from other options and from the outside.
void complete(agent_settings& agent) {
  if (agent.name.empty())
    agent.name = host_name();
  std::error_code ec;
  if (auto absolute = std::filesystem::absolute(agent.data_dir, ec); !ec)
    agent.data_dir = absolute;
  // Nobody reaches an agent by the address that stands for all of its own.
  for (std::string every : {"0.0.0.0:", "[::]:"})
    if (agent.peers.advertise.empty() && agent.peers.listen.starts_with(every))
      agent.peers.advertise = host_name() + ':' + agent.peers.listen.substr(every.size());
  if (agent.store_url.empty())
    agent.store_url = "sqlite://" + (agent.data_dir / "davit.db").string();
  if (agent.engines.empty())
    agent.engines.push_back(
      transport::engine_from_environment([](const char* name) -> const char* { return std::getenv(name); }));
}

} // namespace

std::string config_mistake::text() const {
  auto where = file.empty() ? std::string{"command line"} : file;
  if (line != 0)
    where += ':' + std::to_string(line);
  return where + ": " + (option.empty() ? "" : option + ": ") + message;
}

std::string host_name() {
  char name[256]{};
  ::gethostname(name, sizeof name - 1);
  return name[0] ? name : "davit";
}

configuration
read_configuration(const std::string& file, const std::vector<std::string>& overrides, const settings_check& further) {
  configuration result;
  result.caf = std::make_unique<caf_configuration>();
  auto& found = result.mistakes;
  std::string text;
  if (auto wrong = wrong_kind(file); !file.empty() && !wrong.empty()) {
    found.push_back({file, 0, "", wrong});
    return result;
  }
  if (!file.empty() && !read_text(file, text)) {
    found.push_back({file, 0, "", std::string{"can't be read: "} + std::strerror(errno)});
    return result;
  }
  auto outline = outline_of(text);
  caf::settings content;
  if (!parse_text(file, text, outline, content, found))
    return result;
  check_outline(file, outline, found);
  std::vector<std::string> for_caf;
  auto overriding = parse_overrides(overrides, for_caf, found);
  mistake_list mistakes{found, file, std::move(outline.lines)};
  file_reader reader{mistakes, *result.caf};
  reader.read(content, false);
  reader.read(overriding, true);
  result.agent = reader.finish();
  complete(result.agent);
  check_settings(result.agent, mistakes);
  if (further)
    further(result.agent, mistakes);
  if (!found.empty())
    return result;
  std::istringstream for_caf_text{text};
  if (auto e = result.caf->parse(for_caf, for_caf_text))
    found.push_back({"", 0, "", "CAF's options: " + caf::to_string(e)});
  if (!result.agent.peers.listen.empty())
    result.caf->join_fleet();
  return result;
}

} // namespace davit
