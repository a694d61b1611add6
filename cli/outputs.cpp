#include "cli/outputs.hpp"

#include "cli/file_failure.hpp"
#include "cli/http_body.hpp"
#include "cli/interrupts.hpp"
#include "cli/print.hpp"
#include "cli/progress_line.hpp"
#include "cli/unpack.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <poll.h>
#include <sys/stat.h>

namespace davit {

namespace {

constexpr int most_failures = 60;

struct output_list {
  std::vector<listed_output> outputs;
};

template <class Inspector>
bool inspect(Inspector& f, output_list& x) {
  return f.object(x).fields(f.field("outputs", x.outputs));
}

/// Those of the last attempt that has any.
std::vector<collected_output> last_outputs(const task& finished) {
  for (auto one = finished.attempts.rbegin(); one != finished.attempts.rend(); ++one)
    if (!one->outputs.empty())
      return one->outputs;
  return {};
}

std::string outputs_target(const std::string& task) {
  return "/v1/tasks/" + transport::url_encode(task) + "/outputs";
}

/// Makes the folder of an output, if it is not there. A link that is there is not followed.
void make_output_folder(const std::string& path) {
  struct stat status {};
  if (::mkdir(path.c_str(), 0777) == 0)
    return;
  if (errno != EEXIST)
    throw failure_of(blobs::system_error(printable(path), "made", errno));
  if (::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    throw command_failure{path + " is there, and is not a folder: a symbolic link is not followed"};
}

void write_output(api_client& client, const std::string& task, const std::string& name, const std::string& folder,
                  const interrupts* stop) {
  http_body tar{client, client.request("GET", outputs_target(task) + '/' + name), stop};
  make_output_folder(folder);
  auto done = unpack_tar(tar, folder);
  if (!done && tar.lost() && !tar.interrupted())
    throw passing_failure{failure_of(done.error())};
  if (!done)
    throw failure_of(done.error());
}

std::vector<listed_output> read_list(std::string_view text) {
  auto read = json::read<output_list>(text, json::unknown_fields::ignore);
  if (!read)
    throw command_failure{"the agent's answer is malformed: " + read.error().text()};
  for (const auto& one : read->outputs)
    if (!is_output_name(one.name)) // it becomes the name of a folder
      throw command_failure{"the agent's answer is malformed: \"" + one.name + "\" is not the name of an output"};
  return std::move(read->outputs);
}

/// Tries again what may pass. A signal ends the pause.
void patiently(const interrupts* stop, duration pause, const std::function<void()>& work) {
  for (int failures = 0;; ++failures) {
    try {
      return work();
    } catch (const passing_failure&) {
      pollfd signal{stop ? stop->descriptor() : -1, POLLIN, 0};
      if (failures == most_failures || ::poll(&signal, 1, static_cast<int>(pause.count())) > 0)
        throw;
    }
  }
}

/// `3 reports`; as many as there are.
std::string counted(std::uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + ' ' + (number == 1 ? one : many);
}

std::string seconds_text(double seconds) {
  char text[40];
  if (seconds < 1)
    std::snprintf(text, sizeof text, "%.0f ms", seconds * 1000);
  else
    std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

std::string failed_text(const failed_test& one) {
  return one.name + (one.message.empty() ? "" : ": " + one.message);
}

/// What of an output's tests comes below it in the list.
std::vector<std::string> tests_lines(const test_counts& tests) {
  std::vector<std::string> lines{tests_text(tests)};
  if (!tests.slowest.empty())
    lines[0] += "; slowest " + seconds_text(tests.slowest[0].seconds) + ": " + tests.slowest[0].name;
  for (const auto& one : tests.failed)
    lines.push_back("  failed: " + failed_text(one));
  if (auto all = tests.failures + tests.errors; all > tests.failed.size())
    lines.push_back("  failed: " + std::to_string(all - tests.failed.size()) + " more");
  return lines;
}

void say(const std::string& text) {
  write_to(2, "davit: " + printable(text) + '\n');
}

} // namespace

std::string tests_text(const test_counts& tests) {
  auto text = counted(tests.tests, "test", "tests");
  if (tests.failures > 0)
    text += ", " + std::to_string(tests.failures) + " failed";
  if (tests.errors > 0)
    text += ", " + counted(tests.errors, "error", "errors");
  if (tests.skipped > 0)
    text += ", " + std::to_string(tests.skipped) + " skipped";
  if (tests.unread > 0)
    text += ", " + counted(tests.unread, "report", "reports") + " not read";
  return text;
}

std::vector<std::string> tests_of_run(const task& finished) {
  constexpr std::size_t most = 3;
  std::vector<std::string> lines;
  for (const auto& one : last_outputs(finished)) {
    if (!one.tests)
      continue;
    auto& line = lines.emplace_back("output " + one.name + ": " + tests_text(*one.tests));
    const auto& failed = one.tests->failed;
    for (std::size_t i = 0; i < std::min(most, failed.size()); ++i)
      line += (i == 0 ? "; failed: " : "; ") + failed_text(failed[i]);
    if (auto all = one.tests->failures + one.tests->errors; all > most && !failed.empty())
      line += "; and " + std::to_string(all - most) + " more";
  }
  return lines;
}

bool is_output_name(std::string_view text) {
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 64 && plain(text.front())
      && std::all_of(text.begin(), text.end(), [&](char c) { return plain(c) || c == '_' || c == '.' || c == '-'; });
}

std::vector<listed_output> outputs_of(api_client& client, const std::string& task) {
  return read_list(client.call("GET", outputs_target(task)));
}

std::string tree_of_output(api_client& client, const std::string& task, const std::string& name) {
  for (const auto& one : outputs_of(client, task)) {
    if (one.name != name)
      continue;
    if (one.state == "kept")
      return one.tree;
    throw command_failure{"the output " + name + " of the task " + task + " is " + one.state
                          + (one.message.empty() ? "" : ": " + one.message)};
  }
  throw command_failure{"the task " + task + " has no output " + name + "; davit outputs " + task + " lists them"};
}

void print_outputs(api_client& client, const std::string& task, bool as_json) {
  if (as_json) {
    auto text = client.call("GET", outputs_target(task));
    json::parser parser;
    for (auto one : list_at(parse(parser, text), "outputs"))
      std::cout << json_for_stdout(simdjson::minify(one)) << '\n';
    return;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "STATE", "FILES", "SIZE", "MESSAGE"}};
  std::map<std::size_t, std::vector<std::string>> tests;
  for (const auto& one : outputs_of(client, task)) {
    auto kept = one.state == "kept";
    if (one.tests)
      tests[rows.size()] = tests_lines(*one.tests);
    rows.push_back(
      {one.name, one.state, kept ? std::to_string(one.files) : "", kept ? size_text(one.bytes) : "", one.message});
  }
  print_table(rows, tests);
}

bool write_outputs(api_client& client, const std::string& task, const std::string& folder, bool quiet,
                   const interrupts* stop, duration pause) {
  bool all = true;
  std::vector<listed_output> outputs;
  try {
    patiently(stop, pause, [&] {
      http_body list{client, client.request("GET", outputs_target(task)), stop};
      std::string text;
      std::vector<char> buffer(64 << 10);
      while (true) {
        auto got = list.read(buffer);
        if (!got)
          throw passing_failure{failure_of(got.error())};
        if (*got == 0)
          break;
        text.append(buffer.data(), *got);
      }
      outputs = read_list(text);
    });
  } catch (const command_failure& e) {
    say("the outputs are not known: " + e.message + "; davit outputs " + task + " may say more later");
    return false;
  }
  for (const auto& one : outputs) {
    if (one.state != "kept") {
      if (!quiet)
        say("output " + one.name + ": " + one.state + (one.message.empty() ? "" : ": " + one.message));
      continue;
    }
    auto place = folder + '/' + one.name;
    try {
      patiently(stop, pause, [&] { write_output(client, task, one.name, place, stop); });
      if (!quiet)
        say("output " + one.name + ": " + files_text(one.files, one.bytes) + " in " + place);
    } catch (const command_failure& e) {
      say("output " + one.name + " was not written: " + e.message + "; davit cp " + task + ":" + one.name
          + " copies it");
      all = false;
    }
  }
  return all;
}

} // namespace davit
