// What tasks have left behind: listed, copied, written where `davit run` was told to.
#pragma once

#include "cli/client.hpp"
#include "messages/task.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit {

class interrupts;

/// One output of a task's last attempt, as `GET /v1/tasks/ID/outputs` has it.
struct listed_output {
  std::string name;
  std::int32_t attempt = 0;
  std::string state; ///< kept, missing, failed or skipped.
  std::string tree;  ///< Of a kept one.
  std::uint64_t files = 0, bytes = 0;
  std::string message;
  std::optional<test_counts> tests{};
};

template <class Inspector>
bool inspect(Inspector& f, listed_output& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("attempt", x.attempt), f.field("state", x.state),
                            f.field("tree", x.tree), f.field("files", x.files), f.field("bytes", x.bytes),
                            f.field("message", x.message), f.field("tests", x.tests));
}

/// `412 tests, 3 failed, 1 skipped`
std::string tests_text(const test_counts& tests);

/// `output reports: 412 tests, 3 failed; failed: net.Retry: timed out; net.Send; and 1 more`, for each with tests.
std::vector<std::string> tests_of_run(const task& finished);

/// `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`.
bool is_output_name(std::string_view text);

/// Of a finished task. Throws a command_failure.
std::vector<listed_output> outputs_of(api_client& client, const std::string& task);

/// The digest of a kept output's tree. Throws a command_failure that says why there is none.
std::string tree_of_output(api_client& client, const std::string& task, const std::string& name);

void print_outputs(api_client& client, const std::string& task, bool as_json);

/// `davit cp TASK:NAME/PATH TO`, by the rules of `docker cp`: a folder is copied under its name into a folder that is
/// there, or becomes one that is not; with `/.` behind it only what is in it is copied. `-`: a tar on stdout.
void copy_output(api_client& client, const std::string& task, const std::string& name, const std::string& path,
                 const std::string& to);

/// Writes each kept output to FOLDER/NAME, and says on stderr what was written, and what there was not. False: one that
/// is kept could not be written. An agent that is being restarted is asked again, after a pause. `stop`: see http_body.
bool write_outputs(api_client& client, const std::string& task, const std::string& folder, bool quiet,
                   const interrupts* stop, duration pause = duration{500});

} // namespace davit
