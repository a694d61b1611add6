#include "cli/task_flags.hpp"

#include "cli/flag_checks.hpp"
#include "json/write.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

namespace davit {

std::string read_all(std::istream& in, std::size_t most, const std::string& what) {
  std::string all;
  char piece[64 * 1024];
  errno = 0;
  while (in.read(piece, sizeof piece), in.gcount() > 0) {
    all.append(piece, static_cast<std::size_t>(in.gcount()));
    if (all.size() > most)
      usage(what + ": longer than " + to_string(byte_size{most}) + ", the maximum");
  }
  if (in.bad() || errno == EISDIR || errno == EIO)
    usage(what + ": can't be read: " + std::strerror(errno == 0 ? EIO : errno));
  return all;
}

void add_task_flags(CLI::App& app, task_flags& flags) {
  app.add_option("-e,--env", flags.env, "Environment variable NAME=VALUE, or NAME to copy it from this environment")
    ->allow_extra_args(false);
  app.add_option("--env-file", flags.env_files, "File with a NAME=VALUE on each line")->allow_extra_args(false);
  app
    .add_option(
      "--secret", flags.secrets,
      "NAME, or id=NAME[,env=VARIABLE][,src=FILE]: a variable that is stored sealed, masked in the log and never shown")
    ->allow_extra_args(false);
  app.add_option("-w,--workdir", flags.workdir, "Working directory in the container");
  app.add_option("-u,--user", flags.user, "User[:group] in the container");
  app.add_option_function<std::string>(
    "--entrypoint", [&flags](const std::string& text) { flags.entrypoint = text; },
    "Replace the image's entrypoint; \"\" removes it");
  app.add_option("-m,--memory", flags.memory, "Memory limit, such as 512m");
  app.add_option("--shm-size", flags.shm, "Size of /dev/shm");
  app.add_option("--cpus", flags.cpus, "Processors, such as 1.5");
  app.add_option("--pids-limit", flags.pids, "Maximum number of processes and threads")->check(counted);
  app.add_option("--network", flags.network, "none, bridge or host (if the policy allows it)");
  app.add_option("--mount", flags.mounts, "type=volume|tmpfs|bind,source=...,target=...[,readonly][,size=...]")
    ->allow_extra_args(false);
  app.add_option("--tmpfs", flags.tmpfs, "PATH[:size=64m]")->allow_extra_args(false);
  app
    .add_option("--input", flags.inputs,
                "Files to put into the container: DIR (into the working directory), DIR:/PATH, or TASK/NAME:/PATH for "
                "another task's output; a DIR's .dockerignore holds")
    ->allow_extra_args(false);
  app
    .add_option("--output", flags.outputs,
                "Files to keep: NAME=/PATH[,when=always|success|failure][,required][,max=100m]; the path may be a "
                "pattern")
    ->allow_extra_args(false);
  app
    .add_option(
      "--cache", flags.caches,
      "A folder to begin with as an earlier task left it, and to keep: KEY=/PATH[,restore=PREFIX]...[,max=1g]; "
      "{hash:FILE} in a key stands for the hash of an input's files")
    ->allow_extra_args(false);
  app.add_option("--cache-scope", flags.cache_scope,
                 "Where its caches are kept, such as pr/7, apart from trusted ones");
  app.add_flag("--memo", flags.memo, "If the same has succeeded before, answer with that, and run nothing");
  app.add_option("--profile", flags.profile, "restricted, baseline or privileged: a stricter profile than the agent's");
  app.add_flag("--privileged", flags.privileged,
               "As in docker run (if the policy allows it, like the flags below up to --dns)");
  app.add_flag("--read-only", flags.read_only, "Make the root file system read-only");
  auto list = [&](const char* name, std::vector<std::string>& into, const char* help) {
    app.add_option(name, into, help)->allow_extra_args(false);
  };
  list("--cap-add", flags.cap_add, "Add a capability");
  list("--cap-drop", flags.cap_drop, "Drop a capability, or ALL");
  list("--device", flags.devices, "/dev/name[:/dev/name[:rwm]]");
  list("--security-opt", flags.security_opt, "Such as no-new-privileges");
  list("--sysctl", flags.sysctls, "NAME=VALUE");
  list("--ulimit", flags.ulimits, "NAME=SOFT[:HARD]");
  list("--group-add", flags.group_add, "Add a group");
  list("--add-host", flags.add_hosts, "NAME:ADDRESS");
  list("--dns", flags.dns, "A name server's address");
  app.add_option("--pid", flags.pid, "PID namespace");
  app.add_option("--ipc", flags.ipc, "IPC namespace");
  app.add_option("--uts", flags.uts, "UTS namespace");
  app.add_option("--userns", flags.userns, "User namespace");
  app.add_option("--cgroupns", flags.cgroupns, "Cgroup namespace");
  app.add_option("--cgroup-parent", flags.cgroup_parent, "Parent cgroup");
  app.add_option("--runtime", flags.runtime, "Such as runc or runsc");
  app.add_option("--hostname", flags.hostname, "The container's host name");
  app.add_option("-l,--label", flags.labels, "Label NAME=VALUE")->allow_extra_args(false);
  app.add_option("--engine-label", flags.engine_labels, "The engine must have this label")->allow_extra_args(false);
  app.add_option("--timeout", flags.timeout, "Stop the task after this time, such as 10m");
  app.add_option("--stop-timeout", flags.stop_timeout, "Time between SIGTERM and SIGKILL, such as 10s");
  app.add_option("--pull-timeout", flags.pull_timeout, "Limit for the image pull");
  app.add_option("--pull", flags.pull, "missing, always or never");
  app.add_option("--start", flags.start, "auto, warm (in a sandbox) or cold (in a container made for the task)");
  app.add_option("--name", flags.name, "A name for people");
  app.add_option("--priority", flags.priority, "Higher runs first");
  app.add_option("--retry", flags.retry, "Maximum number of attempts, including the first");
  app.add_flag("-i,--interactive", flags.interactive, "Pass all of standard input to the task");
  app.add_flag("-t,--tty", flags.tty, "Give the task a terminal");
  app.add_flag("--init", flags.init,
               "Run the command under an init (default: true; --init=false: the command is the first process)");
  for (auto option : app.get_options()) // of a flag that is given twice the last one counts, as docker has it
    if (option->get_expected_max() == 1 && option->get_type_size() == 1
        && option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw)
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

std::vector<std::string> as_docker_has_it(const CLI::App& command, std::vector<std::string> words) {
  auto takes_value = [&](const std::string& name) {
    auto option = command.get_option_no_throw(name);
    return option && option->get_items_expected_min() > 0;
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    auto word = words[i];
    if (word == "--") { // the flags' end, as getopt has it; behind the image it is the task's
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(i));
      if (i < words.size() && words[i].starts_with('-'))
        usage("\"" + words[i]
              + "\" is not an image: after -- comes the image, then its command; write flags before --");
      break;
    }
    if (word.size() < 2 || word.front() != '-')
      break; // the image: what comes behind it is the task's
    auto equals = word.find('=');
    if (word.starts_with("--") && equals != std::string::npos) {
      if (equals + 1 == word.size() && takes_value(word.substr(0, equals))) {
        words[i] = word.substr(0, equals);
        words.insert(words.begin() + static_cast<std::ptrdiff_t>(++i), "");
      }
    } else if (word.starts_with("--")) {
      i += takes_value(word) ? 1 : 0;
    } else {
      for (std::size_t k = 1; k < word.size(); ++k)
        if (takes_value(std::string{"-"} + word[k])) {
          if (k + 1 == word.size())
            ++i;                       // else the rest of the word is the value
          else if (word[k + 1] == '=') // -e=A=1
            words[i].erase(k + 1, 1);
          break;
        }
    }
  }
  return words;
}

duration read_duration(const std::string& text, const char* flag) {
  auto value = parse_duration(text);
  if (!value)
    usage(std::string{flag} + ": \"" + text + "\" is not a duration such as 500ms, 10s, 5m or 1h30m");
  return *value;
}

namespace {

byte_size read_size(const std::string& text, const char* flag) {
  byte_size value;
  if (!from_string(text, value))
    usage(std::string{flag} + ": \"" + text + "\" is not " + expected_text(value));
  return value;
}

void add_env(task_spec& spec, const std::string& text, const std::string& where) {
  auto equals = text.find('=');
  if (equals == 0 || text.empty())
    usage(where + ": \"" + text + "\" has no name");
  if (equals != std::string::npos)
    spec.env[text.substr(0, equals)] = text.substr(equals + 1);
  else if (auto value = std::getenv(text.c_str()))
    spec.env[text] = value;
}

/// As `docker build --secret` has it; a value is never written on the command line, where every process can see it.
void add_secret(task_spec& spec, const std::string& text) {
  std::string id, variable, file;
  std::istringstream parts{text};
  std::string part;
  if (text.find_first_of("=,") == std::string::npos) {
    id = text;
  } else {
    while (std::getline(parts, part, ',')) {
      auto equals = part.find('=');
      auto key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
      if (key == "id")
        id = value;
      else if (key == "env")
        variable = value;
      else if (key == "src" || key == "source")
        file = value;
      else
        usage("--secret: write NAME, or id=NAME,env=VARIABLE or id=NAME,src=FILE; every process could see the secret "
              "itself");
    }
  }
  if (id.empty())
    usage("--secret: it has no name");
  std::string value;
  if (!file.empty()) {
    std::ifstream in{file, std::ios::binary};
    if (!in)
      usage("--secret " + id + ": " + file + " can't be read");
    value = read_all(in, most_input, "--secret " + id);
  } else if (auto found = std::getenv((variable.empty() ? id : variable).c_str())) {
    value = found;
  } else {
    usage("--secret " + id + ": the variable " + (variable.empty() ? id : variable) + " is not set");
  }
  if (json::detail::valid_utf8(value) != value)
    usage("--secret " + id + ": must be UTF-8 text");
  spec.secrets[id] = {std::move(value), false};
}

mount read_mount(const std::string& text) {
  mount result;
  std::istringstream parts{text};
  std::string part;
  while (std::getline(parts, part, ',')) {
    auto equals = part.find('=');
    auto key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "type") {
      if (!from_string(value, result.type))
        usage("--mount: type must be " + expected_text(result.type));
    } else if (key == "source" || key == "src") {
      result.source = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      result.target = value;
    } else if (key == "readonly" || key == "ro") {
      result.read_only = value.empty() || value == "true" || value == "1";
    } else if (key == "size" || key == "tmpfs-size") {
      result.size = read_size(value, "--mount size");
    } else {
      usage("--mount: \"" + key + "\" is unknown; use type, source, target, readonly or size");
    }
  }
  return result;
}

} // namespace

std::string submission(const task_spec& spec) {
  auto body = json::to_value(spec).as_object();
  json::object secrets;
  for (const auto& [name, hidden] : spec.secrets)
    secrets[name] = json::to_value(hidden.value);
  body["secrets"] = std::move(secrets);
  return json::write(json::value(std::move(body)));
}

task_spec make_spec(const task_flags& flags, std::vector<std::string> rest, const std::string& command) {
  task_spec spec;
  if (rest.empty())
    usage("an image is missing: davit " + command + " [flags] IMAGE [-- COMMAND...]");
  spec.image = rest.front();
  if (spec.image.starts_with('-'))
    usage("\"" + spec.image + "\" is neither a flag nor an image; --help lists the flags");
  rest.erase(rest.begin());
  if (!rest.empty() && rest.front() == "--")
    rest.erase(rest.begin());
  spec.command = std::move(rest);
  for (const auto& file : flags.env_files) {
    std::ifstream in{file};
    if (!in)
      usage("--env-file: " + file + " can't be read");
    std::istringstream lines{read_all(in, most_input, "--env-file " + file)};
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number)
      if (!line.empty() && line.front() != '#')
        add_env(spec, line, file + ":" + std::to_string(number));
  }
  for (const auto& one : flags.env)
    add_env(spec, one, "-e");
  for (const auto& one : flags.secrets)
    add_secret(spec, one);
  for (const auto& one : flags.labels) {
    auto equals = one.find('=');
    if (one.empty() || equals == 0)
      usage("-l: write NAME=VALUE, not \"" + one + "\"");
    spec.labels[one.substr(0, equals)] = equals == std::string::npos ? "" : one.substr(equals + 1);
  }
  for (const auto& one : flags.mounts)
    spec.mounts.push_back(read_mount(one));
  for (const auto& one : flags.tmpfs) {
    mount made;
    made.type = mount_type::tmpfs;
    auto colon = one.find(':');
    made.target = one.substr(0, colon);
    if (colon != std::string::npos) {
      auto rule = one.substr(colon + 1);
      if (!rule.starts_with("size="))
        usage("--tmpfs: write PATH or PATH:size=64m");
      made.size = read_size(rule.substr(5), "--tmpfs");
    }
    spec.mounts.push_back(std::move(made));
  }
  if (!flags.profile.empty()) {
    policy_profile profile{};
    if (!from_string(flags.profile, profile))
      usage("--profile: must be " + expected_text(profile));
    spec.profile = profile;
  }
  spec.cache_scope = flags.cache_scope;
  spec.memo = flags.memo;
  spec.privileged = flags.privileged;
  if (flags.read_only)
    spec.read_only = true;
  spec.cap_add = flags.cap_add;
  spec.cap_drop = flags.cap_drop;
  spec.devices = flags.devices;
  spec.security_opt = flags.security_opt;
  auto pairs = [](const std::vector<std::string>& texts, std::map<std::string, std::string>& into, const char* flag) {
    for (const auto& one : texts) {
      auto equals = one.find('=');
      if (equals == std::string::npos || equals == 0)
        usage(std::string{flag} + ": write NAME=VALUE, not \"" + one + "\"");
      into[one.substr(0, equals)] = one.substr(equals + 1);
    }
  };
  pairs(flags.sysctls, spec.sysctls, "--sysctl");
  pairs(flags.ulimits, spec.ulimits, "--ulimit");
  spec.group_add = flags.group_add;
  spec.extra_hosts = flags.add_hosts;
  spec.dns = flags.dns;
  spec.pid = flags.pid;
  spec.ipc = flags.ipc;
  spec.uts = flags.uts;
  spec.userns_mode = flags.userns;
  spec.cgroup = flags.cgroupns;
  spec.cgroup_parent = flags.cgroup_parent;
  spec.runtime = flags.runtime;
  spec.hostname = flags.hostname;
  if (std::find(flags.engine_labels.begin(), flags.engine_labels.end(), "") != flags.engine_labels.end())
    usage("--engine-label: must not be empty");
  spec.engine.labels = flags.engine_labels;
  spec.workdir = flags.workdir;
  spec.user = flags.user;
  spec.name = flags.name;
  spec.tty = flags.tty;
  if (!flags.init)
    spec.init = false;
  spec.priority = flags.priority;
  if (flags.entrypoint)
    spec.entrypoint
      = flags.entrypoint->empty() ? std::vector<std::string>{} : std::vector<std::string>{*flags.entrypoint};
  if (!flags.network.empty())
    spec.network = flags.network;
  if (!flags.memory.empty())
    spec.resources.memory = read_size(flags.memory, "--memory");
  if (!flags.shm.empty())
    spec.resources.shm = read_size(flags.shm, "--shm-size");
  // 0 is docker's word for "no limit of its own"; what is wrong otherwise, the policy says.
  if (!std::isfinite(flags.cpus))
    usage("--cpus: must be a number, such as 1.5");
  if (flags.cpus != 0)
    spec.resources.cpus = flags.cpus;
  if (flags.pids != 0)
    spec.resources.pids = flags.pids;
  if (flags.retry)
    spec.retry.attempts = *flags.retry;
  if (!flags.timeout.empty())
    spec.timeout = read_duration(flags.timeout, "--timeout");
  if (!flags.stop_timeout.empty())
    spec.stop_timeout = read_duration(flags.stop_timeout, "--stop-timeout");
  if (!flags.pull_timeout.empty())
    spec.pull_timeout = read_duration(flags.pull_timeout, "--pull-timeout");
  if (!flags.pull.empty() && !from_string(flags.pull, spec.pull))
    usage("--pull: must be " + expected_text(spec.pull));
  if (!flags.start.empty() && !from_string(flags.start, spec.start))
    usage("--start: must be " + expected_text(spec.start));
  if (flags.interactive) {
    auto all = read_all(std::cin, 3u << 20, "-i: standard input");
    if (json::detail::valid_utf8(all) != all)
      usage("-i: standard input must be UTF-8 text; put binary data into the image or a volume");
    spec.stdin_text = std::move(all);
  }
  return spec;
}

} // namespace davit
