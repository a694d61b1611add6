#include "cli/file_checks.hpp"

#include "api/tokens.hpp"
#include "configuration/file_reader.hpp"
#include "secrets/secret_box.hpp"
#include "secrets/secret_file.hpp"
#include "store/private_files.hpp"

#include <sys/stat.h>

namespace davit {

namespace {

bool is_there(const std::filesystem::path& file) {
  std::error_code ec;
  return !file.empty() && (std::filesystem::exists(file, ec) || ec);
}

finding judge_data_folder(const std::filesystem::path& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0)
    return {"", "data-dir", "ok", folder.string() + " is not there yet; the agent makes it", ""};
  auto found = store::find_open_paths(folder, info.st_uid);
  auto count = [](const std::vector<store::owned_path>& all) {
    return all.size() == 1 ? std::string{} : " and " + std::to_string(all.size() - 1) + " more";
  };
  if (!found.foreign.empty())
    return {"", "data-dir", "failed",
            found.foreign.front().path.string() + count(found.foreign) + " belongs to another user than "
              + folder.string(),
            "chown -R --no-dereference --reference=" + folder.string() + ' ' + folder.string()};
  for (const auto* open : {&found.open, &found.roots})
    if (!open->empty())
      return {"", "data-dir", "warning",
              open->back().path.string() + " (mode " + store::mode_text(open->back().mode) + ')' + count(*open)
                + " is open to other users",
              "start the agent again, which corrects what is its own; or chmod -R go= " + folder.string()};
  return {"", "data-dir", "ok", folder.string() + " is closed to other users", ""};
}

finding judge_secret_file(const char* check, const std::filesystem::path& file) {
  auto wrong = secrets::wrong_secret_file(file);
  if (wrong.empty())
    return {"", check, "ok", file.string() + " is closed to other users", ""};
  return {"", check, "failed", std::move(wrong), ""};
}

} // namespace

void check_files(const agent_settings& agent, mistake_list& mistakes) {
  std::string wrong;
  if (is_there(agent.secrets_key_file()) && !secrets::secret_box::read(agent.secrets_key_file(), wrong))
    mistakes.add("davit.agent.secrets-key", wrong);
  if (is_there(agent.access.tokens_file) && !token_list::load(agent.access.tokens_file, wrong))
    mistakes.add("davit.api.tokens-file", wrong);
}

std::vector<finding> examine_files(const agent_settings& agent) {
  std::vector<finding> list{judge_data_folder(agent.data_dir)};
  if (is_there(agent.secrets_key_file()))
    list.push_back(judge_secret_file("secrets-key", agent.secrets_key_file()));
  if (is_there(agent.access.tokens_file))
    list.push_back(judge_secret_file("tokens-file", agent.access.tokens_file));
  return list;
}

} // namespace davit
