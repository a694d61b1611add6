#include "configuration/file_collisions.hpp"

#include "configuration/options.hpp"
#include "transport/endpoint.hpp"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <vector>

namespace davit {

namespace {

using std::filesystem::path;

constexpr int most_links = 40; // as the kernel has it

/// The file's own name, without links and `..`, also if it is not there yet.
path resolved(const path& name) {
  std::error_code ec;
  auto whole = std::filesystem::absolute(name, ec);
  auto done = whole.root_path();
  auto below = whole.relative_path();
  std::deque<path> rest{below.begin(), below.end()};
  for (int links = 0; !rest.empty();) {
    auto next = rest.front();
    rest.pop_front();
    if (next.empty() || next == ".")
      continue;
    if (next == "..") {
      done = done.parent_path();
      continue;
    }
    auto target = std::filesystem::read_symlink(done / next, ec);
    if (ec || ++links > most_links) {
      done /= next;
      continue;
    }
    if (target.is_absolute())
      done = target.root_path();
    auto parts = target.relative_path();
    rest.insert(rest.begin(), parts.begin(), parts.end());
  }
  return done;
}

/// Both without links.
bool lies_below(const path& file, const path& folder) {
  return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
}

struct used_file {
  std::string option; ///< Empty: none names it.
  std::string use;    ///< In words.
  path name;
  path real = resolved(name);
  std::string sink{};           ///< That writes it.
  std::size_t most_rotated = 0; ///< How many older files are beside it, at most: `log.1.json` beside `log.json`.

  bool is(const used_file& other) const {
    std::error_code ec;
    return real == other.real || std::filesystem::equivalent(name, other.name, ec);
  }

  /// Whether the other file has the name of one that this one becomes when it is rotated.
  bool rotates_over(const used_file& other) const {
    auto theirs = other.real.filename().string(), start = name.stem().string() + '.', end = name.extension().string();
    if (most_rotated == 0 || theirs.size() <= start.size() + end.size() || !theirs.starts_with(start)
        || !theirs.ends_with(end))
      return false;
    auto number = theirs.substr(start.size(), theirs.size() - start.size() - end.size());
    return number.find_first_not_of("0123456789") == std::string::npos && number[0] != '0' && number.size() < 9
        && std::stoul(number) <= most_rotated && resolved(name.parent_path() / ".") == other.real.parent_path();
  }
};

struct file_list {
  std::vector<used_file> all;

  void add(const std::string& option, const path& name) {
    if (!name.empty())
      all.push_back({option, "the file of " + option, name});
  }
  template <class Settings>
  void add(const std::string& group, const std::vector<option<Settings>>& options, const Settings& settings) {
    for (const auto& one : options)
      if (one.file)
        add(group + '.' + one.name, one.file(settings));
  }
};

/// All files that davit reads or writes, but for sinks' and the audit log.
file_list others(const agent_settings& agent, const std::string& configuration_file) {
  file_list list;
  if (!configuration_file.empty())
    list.all.push_back({"", "the configuration file", configuration_file});
  for (const auto& one : agent_options())
    if (one.file && one.name != "api.audit-log" && one.name != "agent.secrets-key" && one.name != "agent.signing-key")
      list.add("davit." + one.name, one.file(agent));
  list.add("davit.agent.secrets-key", agent.secrets_key_file());
  list.add("davit.agent.signing-key", agent.signing_key_file());
  for (const auto& one : agent.engines)
    list.add("davit.engines." + one.name, engine_options(), one);
  for (const auto& one : agent.access.issuers)
    list.add("davit.api.issuers." + one.name, issuer_options(), one);
  for (const auto& sink : agent.logs.sinks)
    for (const auto& one : sink_options())
      if (one.file && one.name != "path")
        list.add("davit.logs.sinks." + sink.name + '.' + one.name, one.file(sink));
  constexpr std::string_view sqlite = "sqlite://";
  if (agent.store_url.starts_with(sqlite))
    for (auto end : {"", "-wal", "-shm", "-journal", "-mark"})
      list.add("davit.store.url", agent.store_url.substr(sqlite.size()) + end);
  for (const auto& one : agent.api_listen)
    if (auto where = transport::parse_listen_address(one); where && where->is_unix())
      list.add("davit.api.listen", where->path);
  for (auto name : {"agent.lock", "agent.id"})
    list.all.push_back({"davit.agent.data-dir", std::string{name} + " of davit.agent.data-dir", agent.data_dir / name});
  return list;
}

/// Where davit writes logs.
std::vector<used_file> written(const agent_settings& agent) {
  auto audit = agent.access.audit_log.empty() ? agent.data_dir / "audit.log" : path{agent.access.audit_log};
  std::vector<used_file> list{{"davit.api.audit-log", "the file of davit.api.audit-log", audit}};
  for (const auto& one : agent.logs.sinks)
    if (one.type == sink_type::file && !one.path.empty()) {
      auto option = "davit.logs.sinks." + one.name + ".path";
      list.push_back({option, "the file of " + option, one.path});
      list.back().sink = one.name;
      list.back().most_rotated = one.max_files;
    }
  return list;
}

/// The mistake is where somebody wrote something: a default is not.
void compare(const used_file& log, const used_file& other, mistake_list& mistakes) {
  const auto& at = !mistakes.is_given(log.option) && mistakes.is_given(other.option) ? other : log;
  const auto& beside = &at == &log ? other : log;
  if (log.is(other))
    mistakes.add(at.option, !log.sink.empty() && !other.sink.empty()
                              ? "the sink " + other.sink + " writes this file; each sink needs a file of its own"
                              : at.name.string() + " is also " + beside.use
                                  + ", and one would write over the other; "
                                    "name another file");
  else if (log.rotates_over(other))
    mistakes.add(log.option, "a rotated file would be written over " + other.use + ", " + other.name.string()
                               + "; name another file");
}

} // namespace

void check_collisions(const agent_settings& agent, mistake_list& mistakes) {
  auto read = others(agent, mistakes.file());
  auto logs = written(agent);
  for (std::size_t i = 0; i < logs.size(); ++i) {
    for (const auto& one : read.all)
      compare(logs[i], one, mistakes);
    for (std::size_t j = 0; j < i; ++j) {
      compare(logs[i], logs[j], mistakes);
      if (!logs[i].is(logs[j]) && logs[j].rotates_over(logs[i]))
        mistakes.add(logs[j].option, "a rotated file would be written over " + logs[i].use + ", "
                                       + logs[i].name.string() + "; name another file");
    }
    for (auto folder : {"logs", "sinks", "engines"})
      if (lies_below(logs[i].real, resolved(agent.data_dir / folder)))
        mistakes.add(logs[i].option, logs[i].name.string() + " is in a folder that is davit's own, " + folder
                                       + " of davit.agent.data-dir; name another file");
  }
}

} // namespace davit
