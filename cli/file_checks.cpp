#include "cli/file_checks.hpp"

#include "api/jwks_source.hpp"
#include "api/minted.hpp"
#include "api/tokens.hpp"
#include "attestation/signing_key.hpp"
#include "configuration/file_reader.hpp"
#include "secrets/secret_box.hpp"
#include "secrets/secret_file.hpp"
#include "store/private_files.hpp"
#include "transport/server_certificate.hpp"

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

/// Loads the files as a server does; what it says begins with the name of the file that is wrong.
void check_tls(const std::string& group, const transport::tls_settings& files, const std::string& ca_option,
               mistake_list& mistakes) {
  const std::pair<std::string, const std::string*> options[] = {{group + ".tls-certificate", &files.certificate},
                                                                {group + ".tls-key", &files.key},
                                                                {group + '.' + ca_option, &files.ca}};
  for (const auto& [option, file] : options)
    if (mistakes.has(option)) // it can't be read, or is not given
      return;
  auto loaded = transport::server_certificate{files}.current();
  if (loaded)
    return;
  const auto& wrong = loaded.error().message;
  for (const auto& [option, file] : options)
    if (!file->empty() && wrong.starts_with(*file + ' '))
      return mistakes.add(option, wrong);
  mistakes.add(options[0].first, wrong);
}

} // namespace

void check_files(const agent_settings& agent, mistake_list& mistakes) {
  std::string wrong;
  if (is_there(agent.secrets_key_file()) && !secrets::secret_box::read(agent.secrets_key_file(), wrong))
    mistakes.add("davit.agent.secrets-key", wrong);
  if (is_there(agent.signing_key_file()) && !attestation::signing_key::read(agent.signing_key_file(), wrong))
    mistakes.add("davit.agent.signing-key", wrong);
  if (is_there(agent.access.tokens_file) && !token_list::load(agent.access.tokens_file, wrong))
    mistakes.add("davit.api.tokens-file", wrong);
  if (is_there(agent.access.mint_key) && !api::mint_key_list::load(agent.access.mint_key, wrong))
    mistakes.add("davit.api.mint-key", wrong);
  for (const auto& one : agent.access.issuers)
    if (is_there(one.jwks_file) && !api::load_keys(one.jwks_file, wrong))
      mistakes.add("davit.api.issuers." + one.name + ".jwks-file", wrong);
  const auto& access = agent.access;
  if (!access.tls_certificate.empty())
    check_tls("davit.api", {access.tls_client_ca, access.tls_certificate, access.tls_key}, "tls-client-ca", mistakes);
  const auto& peers = agent.peers;
  if (!peers.listen.empty() && !mistakes.has("davit.fleet.listen"))
    check_tls("davit.fleet", {peers.tls_ca, peers.tls_certificate, peers.tls_key}, "tls-ca", mistakes);
}

std::vector<finding> examine_files(const agent_settings& agent) {
  std::vector<finding> list{judge_data_folder(agent.data_dir)};
  if (is_there(agent.secrets_key_file()))
    list.push_back(judge_secret_file("secrets-key", agent.secrets_key_file()));
  if (is_there(agent.signing_key_file()))
    list.push_back(judge_secret_file("signing-key", agent.signing_key_file()));
  if (is_there(agent.access.tokens_file))
    list.push_back(judge_secret_file("tokens-file", agent.access.tokens_file));
  if (is_there(agent.access.mint_key))
    list.push_back(judge_secret_file("mint-key", agent.access.mint_key));
  return list;
}

} // namespace davit
