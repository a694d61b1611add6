#include "cli/attest.hpp"

#include "attestation/envelope.hpp"
#include "attestation/statement.hpp"
#include "blobs/manifest.hpp"
#include "blobs/scan.hpp"
#include "cli/file_failure.hpp"
#include "cli/flag_checks.hpp"
#include "cli/outputs.hpp"
#include "cli/print.hpp"
#include "messages/regular_file.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <unistd.h>

namespace davit {

namespace {

using attestation::statement_facts;

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return text;
}

/// A fingerprint has 64 hexadecimal digits; everything else is a file's name.
attestation::trusted_keys read_keys(const std::vector<std::string>& flags) {
  if (flags.empty())
    usage("verify: name whom you trust: --key FILE (a public key in PEM) or --key FINGERPRINT; davit signing-key "
          "shows an agent's");
  attestation::trusted_keys keys;
  for (const auto& one : flags) {
    auto id = lower_case(one.starts_with("sha256:") ? one.substr(7) : one);
    if (id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string::npos) {
      keys.ids.push_back(std::move(id));
      continue;
    }
    regular_file file{one};
    auto text = file.read();
    std::string why;
    auto key = text ? attestation::public_key::read_pem(*text, why) : std::nullopt;
    if (!key)
      throw command_failure{one + ' ' + (text ? why : file.wrong())};
    keys.keys.push_back(*key);
  }
  return keys;
}

/// Reads on until there are more bytes than there may be.
std::string read_file(const std::string& name) {
  constexpr auto most = attestation::longest_envelope;
  if (name != "-") {
    regular_file file{name, most};
    auto text = file.read();
    if (!text)
      throw command_failure{name + ' ' + file.wrong()};
    return std::move(*text);
  }
  std::string text;
  std::vector<char> part(64 << 10);
  while (text.size() <= most) {
    auto count = ::read(STDIN_FILENO, part.data(), part.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      throw command_failure{std::string{"standard input can't be read: "} + std::strerror(errno)};
    if (count == 0)
      break;
    text.append(part.data(), static_cast<std::size_t>(count));
  }
  return text;
}

std::string hex_of(const blobs::digest& digest) {
  return to_text(digest).substr(7);
}

/// The file's SHA-256. Reads it piece by piece.
std::string hash_of(const std::string& name) {
  blobs::descriptor file{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (auto wrong = wrong_kind(name); !wrong.empty())
    throw command_failure{name + ' ' + wrong};
  blobs::hasher hash;
  std::vector<char> part(256 << 10);
  while (true) {
    auto count = ::read(file.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      throw failure_of(blobs::system_error(name, "read", errno));
    if (count == 0)
      return hex_of(hash.finish());
    hash.add({part.data(), static_cast<std::size_t>(count)});
  }
}

/// Whether the folder is the tree of this digest. A file may have holes here that it did not have there: they are
/// zeros.
bool is_tree(const std::string& folder, const std::string& digest) {
  blobs::scan_options options;
  options.skip_special = true;
  auto scanned = blobs::scan_folder(folder, options);
  if (!scanned)
    throw failure_of(scanned.error());
  if (scanned->skipped_count != 0)
    throw command_failure{scanned->skipped.front() + ": no output has such a thing"};
  if (hex_of(blobs::tree_digest(scanned->entries)) == digest)
    return true;
  for (auto& one : scanned->entries.entries)
    one.holes.clear();
  return hex_of(blobs::tree_digest(scanned->entries)) == digest;
}

/// What was compared, and with which result.
class verdict {
public:
  void good(const std::string& text) { std::cout << printable(text) << '\n'; }
  void bad(const std::string& text) {
    std::cerr << "davit: " << printable(text) << '\n';
    code_ = 1;
  }
  int code() const { return code_; }

private:
  int code_ = 0;
};

const std::string* digest_of(const statement_facts& facts, const std::string& subject) {
  auto found = facts.subjects.find(subject);
  return found == facts.subjects.end() ? nullptr : &found->second;
}

void check_output(const statement_facts& facts, const std::string& flag, verdict& so_far) {
  auto equals = flag.find('=');
  auto name = flag.substr(0, equals);
  if (equals == std::string::npos || equals + 1 == flag.size() || !is_output_name(name))
    usage("--output: write NAME=FOLDER, not \"" + flag + '"');
  auto folder = flag.substr(equals + 1);
  const auto* digest = digest_of(facts, std::string{attestation::output_subject} + name);
  if (!digest)
    return so_far.bad("the statement says nothing about an output " + name);
  if (is_tree(folder, *digest))
    so_far.good("output " + name + ": " + folder + " is its tree sha256:" + *digest);
  else
    so_far.bad(folder + " is not the output " + name + ", whose tree is sha256:" + *digest);
}

void check_log(const statement_facts& facts, const std::string& file, verdict& so_far) {
  const auto* digest = digest_of(facts, std::string{attestation::log_subject});
  if (!digest)
    return so_far.bad("the statement says that the task has no log");
  auto hash = hash_of(file);
  if (hash == *digest)
    return so_far.good("log: " + file + " is it (sha256:" + hash + ')');
  for (auto part : {attestation::out_subject, attestation::err_subject})
    if (const auto* other = digest_of(facts, std::string{part}); other && hash == *other)
      return so_far.bad(file + " is " + std::string{part.substr(part.find('/') + 1)}
                        + " alone, not the whole log; davit logs TASK >FILE 2>&1 writes both");
  so_far.bad(file + " is not the task's log, which is sha256:" + *digest);
}

int verify(const attest_flags& flags) {
  auto keys = read_keys(flags.keys);
  auto where = flags.file == "-" ? std::string{"standard input"} : flags.file;
  std::string why;
  auto sealed = attestation::read_envelope(read_file(flags.file), why);
  if (!sealed)
    throw command_failure{where + ": " + why};
  auto signer = attestation::signer_of(*sealed, keys);
  if (!signer)
    throw command_failure{where + ": no key that you trust has signed it", 1};
  if (sealed->payload_type != attestation::statement_payload)
    throw command_failure{where + ": what is signed is not an in-toto statement, but " + sealed->payload_type, 1};
  auto facts = attestation::read_statement(sealed->payload, why);
  if (!facts)
    throw command_failure{where + ": what is signed is not davit's statement about a task: " + why, 1};
  verdict so_far;
  so_far.good("signed with the key " + signer->id() + " by the agent " + facts->signer);
  if (!flags.about.empty() && lower_case(flags.about) != facts->task)
    so_far.bad("the statement is about the task " + facts->task + ", not " + flags.about);
  else
    so_far.good("task " + facts->task + ": " + facts->outcome);
  for (const auto& one : flags.outputs)
    check_output(*facts, one, so_far);
  if (!flags.log.empty())
    check_log(*facts, flags.log, so_far);
  return so_far.code();
}

/// A reader sees the old file or the whole new one.
void write_file(const std::string& name, const std::string& text) {
  auto part = name + ".part";
  if (auto wrong = wrong_kind(name); !wrong.empty())
    throw command_failure{name + ' ' + wrong};
  blobs::descriptor out{::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
  std::size_t done = 0;
  while (out && done < text.size()) {
    auto count = ::write(out.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR)
      break;
    done += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  if (out && done == text.size() && ::rename(part.c_str(), name.c_str()) == 0)
    return;
  auto error = errno;
  ::unlink(part.c_str());
  throw failure_of(blobs::system_error(name, "written", error));
}

} // namespace

void add_attest_commands(CLI::App& app, attest_flags& flags) {
  auto attest = app.add_subcommand("attest", "Print what the agent says about a finished task, signed with its key");
  attest->add_option("task", flags.task)->required()->check(not_empty);
  attest->add_option("-o,--output", flags.to, "Write it to this file")->check(not_empty);
  app.add_subcommand("signing-key", "Print the public key of the agent's signatures, as PEM");
  auto verify = app.add_subcommand(
    "verify", "Check what davit attest has written; needs no agent. Exit code 0: verified; 1: not; 125: can't tell");
  verify->add_option("file", flags.file, "The signed statement; - for standard input")->required()->check(not_empty);
  verify
    ->add_option(
      "--key", flags.keys,
      "A key that you trust: a file with a public key in PEM, or a fingerprint. One of them must have signed")
    ->allow_extra_args(false);
  verify->add_option("--task", flags.about, "It must be about the task with this id")->check(not_empty);
  verify
    ->add_option("--output", flags.outputs, "NAME=FOLDER: the folder must be the task's output of this name, unchanged")
    ->allow_extra_args(false);
  verify->add_option("--log", flags.log, "The file must be the task's log: davit logs TASK >FILE 2>&1")
    ->check(not_empty);
}

std::optional<int> run_verify_command(const CLI::App& app, const attest_flags& flags) {
  return app.got_subcommand("verify") ? std::optional{verify(flags)} : std::nullopt;
}

bool run_attest_command(api_client& client, const CLI::App& app, const attest_flags& flags, bool as_json) {
  if (app.got_subcommand("signing-key")) {
    auto text = client.call("GET", "/v1/signing-key");
    json::parser parser;
    std::string_view pem;
    if (!as_json && parse(parser, text)["public_key"].get(pem) != simdjson::SUCCESS)
      throw command_failure{"the agent's answer is malformed"};
    std::cout << (as_json ? json_for_stdout(text) : std::string{pem});
    return true;
  }
  if (!app.got_subcommand("attest"))
    return false;
  auto text = client.call("GET", "/v1/tasks/" + transport::url_encode(flags.task) + "/attestation");
  if (flags.to.empty() || flags.to == "-")
    std::cout << text;
  else
    write_file(flags.to, text);
  return true;
}

} // namespace davit
