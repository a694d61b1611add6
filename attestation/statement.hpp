// What an agent says about a finished task: an in-toto statement (v1) with SLSA provenance (v1). docs/attestation.md
// describes it. Pure.
#pragma once

#include "attestation/log_digest.hpp"
#include "messages/task.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace davit::attestation {

inline constexpr std::string_view statement_type = "https://in-toto.io/Statement/v1";
inline constexpr std::string_view provenance_type = "https://slsa.dev/provenance/v1";
inline constexpr std::string_view task_build_type = "davit:task/v1"; ///< How a task is run: docs/attestation.md.

/// Names of subjects. An output's name has no slash, so that none of them can be another one.
inline constexpr std::string_view task_subject = "task", log_subject = "log", out_subject = "log/stdout",
                                  err_subject = "log/stderr", output_subject = "output/";

/// Who says it.
struct statement_signer {
  std::string fleet;
  std::string agent;
  std::string version; ///< Of davit.
  std::string key_id;
};

/// Those of the last attempt that has any, and this attempt; none: null.
const attempt* attempt_with_outputs(const task& of);

/// The statement, as JSON with sorted keys and without blanks. Of the same task, log and signer always the same bytes:
/// it does not say when it was made. Secrets are as in the API: `***`.
std::string write_statement(const task& of, const log_facts& log, const statement_signer& signer);

/// What somebody who checks one needs of it.
struct statement_facts {
  std::string task; ///< Its id.
  std::string outcome;
  std::string signer;                          ///< The agent that has made it.
  std::map<std::string, std::string> subjects; ///< Name and SHA-256 (hexadecimal).
};

/// None: it is not a statement of davit's about a task; `why` says what is wrong. Fields that are not known are passed
/// over, also those of a later davit.
std::optional<statement_facts> read_statement(std::string_view text, std::string& why);

} // namespace davit::attestation
