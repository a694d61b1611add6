#include "cli/file_flags.hpp"

#include "cli/outputs.hpp"
#include "cli/progress_line.hpp"
#include "cli/tree_upload.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sys/stat.h>

namespace davit {

namespace {

constexpr auto usual_place = "/workspace";

wanted_input read_input(const std::string& text, task_spec& spec) {
  wanted_input input;
  auto colon = text.rfind(":/");
  input.source = text.substr(0, colon);
  if (input.source.empty())
    usage("--input: write DIR, DIR:/PATH or TASK/NAME:/PATH, not \"" + text + "\"");
  if (colon != std::string::npos) {
    input.path = text.substr(colon + 1);
    return input;
  }
  if (spec.workdir.empty())
    spec.workdir = usual_place;
  if (!spec.workdir.starts_with('/'))
    usage("--input " + text + ": the working directory \"" + spec.workdir + "\" is not absolute; write --input " + text
          + ":/PATH");
  input.path = spec.workdir;
  return input;
}

void read_output(const std::string& text, task_spec& spec) {
  auto equals = text.find('=');
  auto name = text.substr(0, equals);
  if (equals == std::string::npos || !is_output_name(name))
    usage("--output: write NAME=/PATH, not \"" + text
          + "\"; a name has letters, digits, \"_\", \".\" and \"-\", and begins with a letter or a digit");
  task_output output;
  auto rest = text.substr(equals + 1);
  auto comma = rest.find(',');
  output.path = rest.substr(0, comma);
  if (!output.path.starts_with('/'))
    usage("--output " + name + ": \"" + output.path + "\" is not an absolute path in the container");
  while (comma != std::string::npos) {
    rest.erase(0, comma + 1);
    comma = rest.find(',');
    auto part = rest.substr(0, comma);
    auto sign = part.find('=');
    auto key = part.substr(0, sign), value = sign == std::string::npos ? "" : part.substr(sign + 1);
    if (key == "when") {
      if (!from_string(value, output.when))
        usage("--output " + name + ": when must be " + expected_text(output.when));
    } else if (key == "required" && (sign == std::string::npos || value == "true" || value == "false")) {
      output.required = value != "false";
    } else if (key == "max") {
      byte_size size;
      if (output.max)
        usage("--output " + name + ": max stands there twice");
      if (!from_string(value, size))
        usage("--output " + name + ": max: \"" + value + "\" is not " + expected_text(size));
      output.max = size;
    } else {
      usage("--output " + name + ": \"" + part
            + "\" is unknown; use when=always|success|failure, required or max=SIZE (a path with a comma goes into a "
              "spec: davit submit -f FILE)");
    }
  }
  if (!spec.outputs.emplace(name, std::move(output)).second)
    usage("--output " + name + ": there are two of this name");
}

/// The next of these characters that is not inside of {}.
std::size_t find_outside(const std::string& text, const std::string& what, std::size_t from = 0) {
  int depth = 0;
  for (auto at = from; at < text.size(); ++at) {
    if (depth == 0 && text.compare(at, what.size(), what) == 0)
      return at;
    depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
  }
  return std::string::npos;
}

void read_cache(const std::string& text, task_spec& spec) {
  auto equals = find_outside(text, "=/");
  if (equals == std::string::npos || equals == 0)
    usage("--cache: write KEY=/PATH, not \"" + text + '"');
  task_cache cache;
  cache.key = text.substr(0, equals);
  auto comma = find_outside(text, ",", equals);
  cache.path = text.substr(equals + 1, comma == std::string::npos ? comma : comma - equals - 1);
  while (comma != std::string::npos) {
    auto next = find_outside(text, ",", comma + 1);
    auto part = text.substr(comma + 1, next == std::string::npos ? next : next - comma - 1);
    comma = next;
    if (part.starts_with("restore=")) {
      cache.restore.push_back(part.substr(8));
    } else if (part.starts_with("max=")) {
      byte_size size;
      if (cache.max)
        usage("--cache " + cache.key + ": max stands there twice");
      if (!from_string(part.substr(4), size))
        usage("--cache " + cache.key + ": max: \"" + part.substr(4) + "\" is not " + expected_text(size));
      cache.max = size;
    } else {
      usage("--cache " + cache.key + ": \"" + part + "\" is unknown; use restore=PREFIX or max=SIZE");
    }
  }
  spec.caches.push_back(std::move(cache));
}

} // namespace

std::vector<wanted_input> read_file_flags(const std::vector<std::string>& inputs,
                                          const std::vector<std::string>& outputs,
                                          const std::vector<std::string>& caches, task_spec& spec) {
  std::vector<wanted_input> wanted;
  wanted.reserve(inputs.size());
  for (const auto& one : inputs)
    wanted.push_back(read_input(one, spec));
  for (const auto& one : outputs)
    read_output(one, spec);
  for (const auto& one : caches)
    read_cache(one, spec);
  return wanted;
}

bool is_task_output(const std::string& source) {
  auto slash = source.find('/');
  uuid task;
  return slash != std::string::npos && from_string(source.substr(0, slash), task)
      && is_output_name(source.substr(slash + 1));
}

void send_inputs(api_client& client, const std::vector<wanted_input>& inputs, task_spec& spec, bool quiet) {
  progress_line line{!quiet};
  upload_options options;
  options.cache_folder = tree_cache_folder();
  options.progress = [&line](const std::string& text) { line.show(text); };
  for (const auto& one : inputs) {
    struct stat status {};
    try {
      if (::stat(one.source.c_str(), &status) != 0) {
        if (!is_task_output(one.source))
          throw command_failure{std::string{std::strerror(errno)}
                                + " (and it is not TASK/NAME, another task's output)"};
        auto slash = one.source.find('/');
        spec.inputs.push_back(
          {tree_of_output(client, one.source.substr(0, slash), one.source.substr(slash + 1)), one.path});
        continue;
      }
      auto what = look_at(one.source, options);
      if (!quiet && !what.remarks.empty()) {
        line.clear();
        for (const auto& remark : what.remarks)
          write_to(2, "davit: " + printable(remark) + '\n');
      }
      spec.inputs.push_back({send_tree(client, what, options).tree, one.path});
    } catch (command_failure& e) {
      line.finish();
      e.message = "--input " + one.source + ": " + e.message;
      throw;
    }
  }
}

void make_output_dir(const std::string& folder) {
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  if (!std::filesystem::is_directory(folder, ec))
    usage("--output-dir: " + folder + (ec ? " can't be made: " + ec.message() : " is not a folder"));
}

} // namespace davit
