// The command line. Data goes to stdout, all else to stderr.
#include "cli/attest.hpp"
#include "cli/caches.hpp"
#include "cli/copy.hpp"
#include "cli/doctor.hpp"
#include "cli/embedded.hpp"
#include "cli/explain.hpp"
#include "cli/flag_checks.hpp"
#include "cli/file_checks.hpp"
#include "cli/file_flags.hpp"
#include "cli/log_formatter.hpp"
#include "cli/mint.hpp"
#include "cli/outputs.hpp"
#include "cli/print.hpp"
#include "cli/run.hpp"
#include "cli/task_flags.hpp"
#include "cli/token.hpp"
#include "json/write.hpp"

#include <CLI/CLI.hpp>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <poll.h>
#include <thread>
#include <unistd.h>

namespace davit {

namespace {

std::string read_file_or_stdin(const std::string& file, const char* what) {
  std::ifstream in;
  if (file != "-") {
    in.open(file);
    if (!in)
      usage(std::string{what} + ": " + file + " can't be read");
  }
  return read_all(file == "-" ? std::cin : in, most_input, what);
}

int check_config(const std::string& file, bool defaults, bool reference) {
  if (defaults || reference) {
    std::cout << (defaults ? default_configuration() : configuration_reference());
    return 0;
  }
  if (file.empty())
    usage("name a file: davit check-config FILE");
  auto config = read_configuration(file, {}, check_files);
  for (const auto& one : config.mistakes)
    std::cerr << printable(one.text()) << '\n';
  if (!config.mistakes.empty())
    return 2;
  std::cout << file << ": good; " << config.agent.engines.size() << " engine(s)\n";
  return 0;
}

int doctor(const std::string& file, bool as_json) {
  auto config = read_configuration(file, {});
  if (!config.mistakes.empty()) {
    for (const auto& one : config.mistakes)
      std::cerr << printable(one.text()) << '\n';
    return 2;
  }
  bool failed = false;
  std::vector<std::vector<std::string>> rows{{"ENGINE", "CHECK", "VERDICT", "DETAIL"}};
  auto show = [&](const std::vector<finding>& findings) {
    for (const auto& one : findings) {
      failed |= one.verdict == "failed";
      if (as_json)
        std::cout << json_for_stdout(json::write(one)) << '\n';
      else
        rows.push_back({one.engine.empty() ? "-" : one.engine, one.check, one.verdict,
                        printable(one.detail) + (one.fix.empty() ? "" : "; fix: " + one.fix)});
    }
  };
  for (const auto& engine : config.agent.engines)
    show(examine(engine));
  show(examine_files(config.agent));
  if (!as_json)
    print_table(rows);
  return failed ? 1 : 0;
}

int agent(const std::vector<std::string>& arguments) {
  std::string file;
  std::vector<std::string> overrides;
  for (auto one = arguments.begin(); one != arguments.end(); ++one) {
    if (one->starts_with("--config-file="))
      file = one->substr(14);
    else if (*one == "--config-file" && one + 1 != arguments.end())
      file = *++one;
    else
      overrides.push_back(*one);
  }
  auto config = read_configuration(file, overrides, check_files);
  for (const auto& one : config.mistakes)
    std::cerr << printable(one.text()) << '\n';
  return config.mistakes.empty() ? run_agent(std::move(config)) : 2;
}

void drain_agent(api_client& client, const std::string& name, bool await_end, std::optional<duration> limit) {
  json::parser parser;
  auto answer = client.call("POST", "/v1/agents/" + transport::url_encode(name) + "/drain");
  auto whole_name = text_at(parse(parser, answer), "name");
  auto until = limit ? transport::within(*limit) : transport::no_deadline;
  while (await_end) {
    auto text = client.call("GET", "/v1/agents");
    bool busy = false;
    for (auto one : parse(parser, text)["agents"].get_array())
      busy |= text_at(one, "name") == whole_name && text_at(one, "state") == "draining"
           && one["busy"].get_uint64().value() != 0;
    if (!busy)
      return;
    if (std::chrono::steady_clock::now() >= until)
      throw command_failure{"tasks still run on " + whole_name, 124};
    std::this_thread::sleep_for(std::chrono::milliseconds{500});
  }
}

int dispatch(int argc, char** argv) {
  CLI::App app{"davit runs tasks in Docker containers.\n"
               "Exit codes of run and wait: the container's own; 124 timed out; 125 davit or the engine failed; 126 "
               "and 127 as the engine says; 130 cancelled.",
               "davit"};
  app.set_version_flag("--version", "davit " DAVIT_VERSION);
  app.require_subcommand(1);
  app.fallthrough(false);
  std::string host, id, file, state, since, stream, name, wait_timeout, within, spec_file, profile, expires, owner,
    tokens_file, source, folder, output_dir;
  std::vector<std::string> label_filter, scopes;
  task_flags flags;
  bool as_json = false, await_end = false, readiness = false, follow = false, timestamps = false, quiet = false,
       detach = false, defaults = false, reference = false;
  int tail = -1, attempt = 0;
  std::size_t limit = 100;
  auto host_option = [&](CLI::App* command) {
    command->add_option("--host", host, "The agent: host:port, https://host:port or unix:///path (DAVIT_HOST)");
  };
  auto json_option = [&](CLI::App* command) { command->add_flag("--json", as_json, "JSON on stdout"); };

  auto agent_command
    = app.add_subcommand("agent", "The daemon: davit agent [--config-file=FILE] [--davit.agent.name=NAME ...]")
        ->prefix_command();
  auto run_command
    = app
        .add_subcommand("run", "Submit a task, follow it, exit with its code: davit run [flags] IMAGE [-- COMMAND...]")
        ->prefix_command();
  add_task_flags(*run_command, flags);
  run_command->add_flag("-d,--detach", detach, "Print the task's id and exit (needs an agent)");
  run_command->add_option("--output-dir", output_dir,
                          "Write each output that was kept to DIR/NAME when the task has ended");
  run_command->add_flag("-q,--quiet", quiet, "Print no progress and no final message");
  auto submit_command
    = app
        .add_subcommand("submit",
                        "Submit a task and print its id: davit submit [flags] IMAGE [-- COMMAND...], or -f FILE")
        ->prefix_command();
  add_task_flags(*submit_command, flags);
  submit_command->add_option("-f,--file", flags.file, "A task spec as JSON; - for standard input");
  auto ps_command = app.add_subcommand("ps", "List tasks, newest first");
  ps_command->add_option("--state", state, "queued, starting, running or finished");
  ps_command->add_option("-l,--label", label_filter, "Only tasks with the label NAME[=VALUE]")->allow_extra_args(false);
  ps_command->add_option("--name", name, "Only tasks with this name");
  ps_command->add_option("-n,--limit", limit, "Maximum number of tasks")->check(counted)->capture_default_str();
  auto logs_command = app.add_subcommand("logs", "Print a task's output");
  logs_command->add_option("task", id)->required()->check(not_empty);
  logs_command->add_flag("-f,--follow", follow, "Follow the output until the task ends");
  logs_command->add_flag("-t,--timestamps", timestamps);
  logs_command->add_option("--since", since, "Only output since a time, or since a duration before now");
  logs_command->add_option("--tail", tail, "Only this many of the last lines")->check(counted_or_none);
  logs_command->add_option("--stream", stream, "stdout or stderr");
  logs_command->add_option("--attempt", attempt, "Of this attempt")->check(counted);
  auto wait_command = app.add_subcommand("wait", "Wait for a task and exit with its code");
  wait_command->add_option("task", id)->required()->check(not_empty);
  wait_command->add_option("--timeout", wait_timeout, "Give up waiting after this time (exit code 124)");
  auto inspect_command = app.add_subcommand("inspect", "Show everything about a task; for a queued task, why it waits");
  inspect_command->add_option("task", id)->required()->check(not_empty);
  auto outputs_command = app.add_subcommand("outputs", "List what was kept of a task's files");
  outputs_command->add_option("task", id)->required()->check(not_empty);
  cache_flags caches;
  auto caches_command = add_caches_command(app, caches);
  auto cp_command = app.add_subcommand(
    "cp", "Copy files of a task's output, or out of a running task's container, as docker cp does");
  cp_command->add_option("source", source, "TASK:NAME[/PATH] for an output, TASK:/PATH for the container")->required();
  cp_command
    ->add_option("to", folder,
                 "Destination: a folder or a file; for the container an existing folder; - for a "
                 "tar on stdout")
    ->required();
  auto cancel_command = app.add_subcommand("cancel", "Cancel a task");
  cancel_command->add_option("task", id)->required()->check(not_empty);
  cancel_command->add_option("--within", within,
                             "Kill its container within this time, whatever its stop_timeout, also if it is being "
                             "stopped already");
  auto engines_command = app.add_subcommand("engines", "List the engines and their state");
  auto agents_command = app.add_subcommand("agents", "List the agents");
  auto drain_command = app.add_subcommand("drain", "Stop an agent from taking tasks");
  drain_command->add_option("agent", name, "The agent's name; without it, the agent that davit talks to")
    ->check(not_empty);
  drain_command->add_flag("--wait", await_end, "Wait until nothing runs there");
  drain_command->add_option("--timeout", wait_timeout, "Give up waiting after this time (exit code 124)");
  auto health_command
    = app.add_subcommand("health", "Check that the agent works; exit code 0 or 1 (for health checks and probes)");
  health_command->add_flag("--ready", readiness, "Check that it can take tasks, or say what is missing");
  auto events_command = app.add_subcommand("events", "Show what happened to tasks");
  events_command->add_option("task", id, "Show only this task's events")->check(not_empty);
  auto check_command = app.add_subcommand("check-config", "Check a configuration file and name every mistake");
  check_command->add_option("file", file);
  check_command->add_flag("--defaults", defaults, "Print every option with its default, as a configuration file");
  check_command->add_flag("--reference", reference, "Print every option with its default, as a page in Markdown");
  auto explain_command = app.add_subcommand(
    "explain-policy", "Say what the policy allows, refuses and adds in a task spec, and by which rule");
  explain_command->add_option("spec", spec_file, "A task spec as JSON; - for standard input")->required();
  explain_command->add_option("--config-file", file, "The agent's configuration");
  explain_command->add_option("--profile", profile, "Judge by this profile: restricted, baseline or privileged");
  explain_command->add_option("--token", name, "Judge as for the token of this name in api.tokens-file");
  auto token_command = app.add_subcommand("token", "Manage the tokens that may call an agent's API");
  token_command->require_subcommand(1);
  auto create_token_command = token_command->add_subcommand("create", "Make a token and print it");
  create_token_command->add_option("name", name, "A name for people and for the audit log")->required();
  create_token_command
    ->add_option(
      "--scope", scopes,
      "What the token allows: submit, read, cancel (tasks of its owner), read:all, cancel:all (tasks of all), metrics, "
      "admin; separate several with commas")
    ->delimiter(',')
    ->required();
  create_token_command
    ->add_option("--owner", owner,
                 "Whose tasks its tasks are, such as a team; all tokens of an owner see the same tasks")
    ->check(not_empty);
  create_token_command->add_option("--profile", profile, "The widest policy profile for its tasks");
  create_token_command->add_option("--expires", expires, "Expire the token after this time, such as 720h");
  new_token_flags token_flags;
  add_limit_options(*create_token_command, token_flags.ceilings, token_flags.volumes, token_flags.cache_scope);
  auto list_tokens_command = token_command->add_subcommand("list", "List the tokens");
  auto revoke_token_command = token_command->add_subcommand("revoke", "Revoke a token");
  revoke_token_command->add_option("name", name, "Its name or id")->required();
  for (auto command : {create_token_command, list_tokens_command, revoke_token_command}) {
    command->add_option("--tokens-file", tokens_file, "The file that the agent's api.tokens-file names");
    command->add_option("--config-file", file, "The agent's configuration, which names the tokens file");
  }
  attest_flags attest;
  add_attest_commands(app, attest);
  mint_flags mint;
  add_mint_commands(*token_command, mint);
  json_option(list_tokens_command);
  auto doctor_command = app.add_subcommand("doctor", "Check every engine: what is wrong, and how to fix it");
  doctor_command->add_option("--config-file", file,
                             "The agent's configuration; without it, DOCKER_HOST or the default socket");
  auto version_command = app.add_subcommand("version", "Print the version");
  for (auto command :
       {run_command, submit_command, ps_command, logs_command, wait_command, inspect_command, cancel_command,
        cp_command, outputs_command, engines_command, agents_command, drain_command, events_command, health_command,
        caches_command->get_subcommand("ls"), caches_command->get_subcommand("rm"), app.get_subcommand("attest"),
        app.get_subcommand("signing-key")})
    host_option(command);
  for (auto command :
       {run_command, submit_command, ps_command, wait_command, inspect_command, cancel_command, outputs_command,
        caches_command->get_subcommand("ls"), app.get_subcommand("signing-key"), engines_command, agents_command,
        events_command, doctor_command, explain_command, version_command})
    json_option(command);
  try {
    std::vector<std::string> words{argv + 1, argv + argc};
    if (!words.empty() && (words.front() == "run" || words.front() == "submit")) {
      auto command = words.front() == "run" ? run_command : submit_command;
      words = as_docker_has_it(*command, {words.begin() + 1, words.end()});
      words.insert(words.begin(), command->get_name());
    }
    std::reverse(words.begin(), words.end()); // as CLI11 has it
    app.parse(std::move(words));
  } catch (const CLI::Success& e) { // --help and --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    app.exit(e, std::cerr, std::cerr);
    return 2;
  }
  if (*agent_command)
    return agent(agent_command->remaining());
  if (*check_command)
    return check_config(file, defaults, reference);
  if (auto code = run_verify_command(app, attest))
    return *code;
  if (*doctor_command)
    return doctor(file, as_json);
  if (*token_command) {
    if (auto code = run_mint_command(*token_command, mint))
      return *code;
    if (tokens_file.empty() && !file.empty())
      tokens_file = read_configuration(file, {}).agent.access.tokens_file;
    if (tokens_file.empty())
      usage("name the tokens' file: --tokens-file FILE, or --config-file FILE of an agent whose configuration has "
            "api.tokens-file");
    if (*create_token_command)
      return create_token(tokens_file, {name, profile, owner, expires, scopes, token_flags.ceilings,
                                        token_flags.volumes, token_flags.cache_scope});
    return *list_tokens_command ? list_tokens(tokens_file, as_json) : revoke_token(tokens_file, name);
  }
  if (*explain_command) {
    auto config = read_configuration(file, {});
    for (const auto& one : config.mistakes)
      std::cerr << printable(one.text()) << '\n';
    if (!config.mistakes.empty())
      return 2;
    return explain_policy(config, read_file_or_stdin(spec_file, "the task spec"), read_profile(profile), name, as_json);
  }
  if (*version_command) {
    std::cout << (as_json ? R"({"version":")" DAVIT_VERSION "\"}" : "davit " DAVIT_VERSION) << '\n';
    return 0;
  }
  if (*run_command) {
    auto spec = make_spec(flags, run_command->remaining(), "run");
    auto inputs = read_file_flags(flags.inputs, flags.outputs, flags.caches, spec);
    if (!output_dir.empty() && detach)
      usage("--output-dir: with -d nobody waits for the outputs; davit cp TASK:NAME copies them later");
    if (!output_dir.empty() && spec.outputs.empty())
      usage("--output-dir: there is no --output to be written to it");
    if (!output_dir.empty())
      make_output_dir(output_dir);
    auto env = std::getenv("DAVIT_HOST");
    if (!host.empty() || (env && *env)) {
      api_client client{agent_endpoint(host)};
      send_inputs(client, inputs, spec, quiet);
      if (!detach)
        return run_task(client, spec, {quiet, as_json, output_dir});
      json::parser parser;
      auto text = client.call("POST", "/v1/tasks", submission(spec));
      std::cout << (as_json ? json_for_stdout(text) : text_at(parse(parser, text), "id") + "\n");
      return 0;
    }
    if (detach)
      usage("-d needs an agent that outlives this command: start one with davit agent, and name it with --host or "
            "DAVIT_HOST");
    embedded_agent embedded;
    int code = 125;
    {
      api_client client{embedded.where()};
      await_engine(client, std::chrono::seconds{5});
      send_inputs(client, inputs, spec, quiet);
      code = run_task(client, spec, {quiet, as_json, output_dir});
    }
    embedded.drain(std::chrono::seconds{30}); // the container's removal
    return code;
  }
  api_client client{agent_endpoint(host)};
  if (run_attest_command(client, app, attest, as_json))
    return 0;
  if (*health_command) {
    try {
      std::cout << client.call("GET", readiness ? "/readyz" : "/healthz");
      return 0;
    } catch (const command_failure& e) {
      std::cerr << "davit: " << printable(e.message) << '\n';
      return 1;
    }
  }
  if (*submit_command) {
    std::string body;
    if (!flags.file.empty()) {
      if (!flags.inputs.empty() || !flags.outputs.empty() || !flags.caches.empty())
        usage("--input, --output and --cache describe a task without -f; the spec has \"inputs\", \"outputs\" and "
              "\"caches\"");
      body = read_file_or_stdin(flags.file, "-f");
    } else {
      auto spec = make_spec(flags, submit_command->remaining(), "submit");
      send_inputs(client, read_file_flags(flags.inputs, flags.outputs, flags.caches, spec), spec, false);
      body = submission(spec);
    }
    auto text = client.call("POST", "/v1/tasks", body);
    json::parser parser;
    std::cout << (as_json ? json_for_stdout(text) : text_at(parse(parser, text), "id") + "\n");
  } else if (*ps_command) {
    std::string query;
    if (!state.empty())
      query += "&state=" + transport::url_encode(state);
    if (!name.empty())
      query += "&name=" + transport::url_encode(name);
    for (const auto& one : label_filter)
      query += "&label=" + transport::url_encode(one);
    print_tasks(client, query, as_json, limit);
  } else if (*logs_command) {
    std::string query = follow ? "follow=1" : "follow=0";
    if (timestamps)
      query += "&timestamps=1";
    if (!since.empty())
      query += "&since=" + transport::url_encode(since);
    if (tail >= 0)
      query += "&tail=" + std::to_string(tail);
    if (!stream.empty())
      query += "&stream=" + transport::url_encode(stream);
    if (attempt > 0)
      query += "&attempt=" + std::to_string(attempt);
    return print_logs(client, transport::url_encode(id), query);
  } else if (*wait_command) {
    std::optional<transport::deadline> until;
    if (!wait_timeout.empty())
      until = transport::within(read_duration(wait_timeout, "--timeout"));
    while (true) {
      auto left
        = until ? std::chrono::duration_cast<duration>(*until - std::chrono::steady_clock::now()) : duration{60'000};
      auto text = client.call("GET", "/v1/tasks/" + transport::url_encode(id) + "/wait?timeout="
                                       + format_duration(std::clamp(left, duration{0}, duration{60'000})));
      auto now = json::read<task>(std::string_view{text}, json::unknown_fields::ignore);
      if (!now)
        throw command_failure{"the agent's answer is malformed: " + now.error().text()};
      if (now->state == task_state::finished) {
        if (as_json)
          std::cout << json_for_stdout(text);
        else if (!now->message.empty())
          std::cerr << printable(now->message) << '\n';
        return exit_code_of(*now);
      }
      if (until && left.count() <= 0)
        throw command_failure{"the task is still " + to_string(now->state), 124};
    }
  } else if (*inspect_command) {
    auto text = client.call("GET", "/v1/tasks/" + transport::url_encode(id));
    json::parser parser;
    std::cout << json_for_stdout(as_json ? text : json::write_indented(parse(parser, text)) + "\n");
  } else if (*cancel_command) {
    if (!within.empty())
      read_duration(within, "--within"); // says what is wrong better than the agent, which does not know the flag
    auto text = client.call("POST", "/v1/tasks/" + transport::url_encode(id) + "/cancel"
                                      + (within.empty() ? "" : "?within=" + transport::url_encode(within)));
    if (as_json)
      std::cout << json_for_stdout(text);
  } else if (*outputs_command) {
    print_outputs(client, id, as_json);
  } else if (*caches_command) {
    run_caches_command(client, *caches_command, caches, as_json);
  } else if (*cp_command) {
    copy_files(client, source, folder);
  } else if (*engines_command) {
    print_engines(client, as_json);
  } else if (*agents_command) {
    print_agents(client, as_json);
  } else if (*drain_command) {
    drain_agent(client, name.empty() ? "-" : name, await_end,
                wait_timeout.empty() ? std::nullopt : std::optional{read_duration(wait_timeout, "--timeout")});
  } else if (*events_command) {
    print_events(client, transport::url_encode(id), as_json);
  }
  return 0;
}

} // namespace

} // namespace davit

namespace {

/// A standard stream that is closed would be the next file that is opened, and what is printed would get into it. In
/// its place comes one that refuses what the stream is for, so that the loss is told.
void keep_standard_streams() {
  for (auto stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    while (::fcntl(stream, F_GETFD) < 0 && errno == EBADF)
      if (::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
        break;
}

} // namespace

/// jemalloc's. Threads that move files come and go: an arena for each of them would keep what they have freed for ten
/// seconds, some megabytes each.
extern "C" {
extern const char* malloc_conf;                            // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
const char* malloc_conf = "narenas:2,dirty_decay_ms:1000"; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
}

int main(int argc, char** argv) {
  keep_standard_streams();
  spdlog::set_default_logger(spdlog::stderr_color_mt("davit"));
  spdlog::set_formatter(davit::make_log_formatter(false));
  std::signal(SIGPIPE, SIG_IGN); // a write says so itself
  try {
    auto code = davit::dispatch(argc, argv);
    errno = 0;
    if (!std::cout.flush() && code == 0) {
      auto error = errno == 0 ? EIO : errno; // an earlier write may have failed: then it is not known any more why
      pollfd reader{STDOUT_FILENO, POLLOUT, 0};
      return davit::unwritten_output(::poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR) ? EPIPE : error);
    }
    return code;
  } catch (const davit::command_failure& e) {
    std::cerr << "davit: " << davit::printable(e.message) << '\n';
    return e.exit_code;
  } catch (const std::exception& e) {
    std::cerr << "davit: an internal error: " << davit::printable(e.what()) << '\n';
    return 125;
  }
}
