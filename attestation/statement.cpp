#include "attestation/statement.hpp"

#include "attestation/json_shape.hpp"
#include "encoding/digest.hpp"
#include "json/read.hpp"
#include "json/write.hpp"
#include "policy/image_reference.hpp"

#include <algorithm>

namespace davit::attestation {

namespace {

constexpr std::string_view digest_head = "sha256:";

bool is_sha256(std::string_view hex) {
  return hex.size() == 64 && hex.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

json::object digest_set(std::string_view hex) {
  return {{"sha256", hex}};
}

std::string hex_of(const blobs::digest& digest) {
  return to_text(digest).substr(digest_head.size());
}

/// What is not a letter, a digit or one of `-._~` becomes `%XX`, in capitals (RFC 3986, 2.1 and 6.2.2.1).
std::string uri_part(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : text)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
        || std::string_view{"-._~"}.find(static_cast<char>(c)) != std::string_view::npos)
      out += static_cast<char>(c);
    else
      (out += '%').append({digits[c >> 4], digits[c & 15]});
  return out;
}

/// Boost.JSON keeps the order in which members were added: here it becomes that of their names' bytes.
json::value sorted(const json::value& from) { // NOLINT(misc-no-recursion): as deep as what davit itself has made
  if (const auto* list = from.if_array()) {
    json::array out;
    for (const auto& one : *list)
      out.push_back(sorted(one));
    return out;
  }
  const auto* fields = from.if_object();
  if (!fields)
    return from;
  std::map<std::string_view, const json::value*> ordered;
  for (const auto& one : *fields)
    ordered.emplace(one.key(), &one.value());
  json::object out;
  for (const auto& [name, value] : ordered)
    out.emplace(name, sorted(*value));
  return out;
}

json::object subject(std::string name, std::string_view hex, json::object annotations) {
  json::object one{{"name", json::to_value(name)}, {"digest", digest_set(hex)}};
  if (!annotations.empty())
    one["annotations"] = std::move(annotations);
  return one;
}

json::array subjects_of(const task& of, const log_facts& log) {
  json::array all;
  auto id = to_string(of.id);
  all.push_back(subject(std::string{task_subject}, encoding::sha256_hex(id), {{"davit_id", id}}));
  if (log.state == log_state::whole || log.state == log_state::unfinished) {
    json::object about{{"davit_attempt", log.attempt}};
    all.push_back(subject(std::string{log_subject}, hex_of(log.both), about));
    all.push_back(subject(std::string{out_subject}, hex_of(log.out), about));
    all.push_back(subject(std::string{err_subject}, hex_of(log.err), about));
  }
  if (const auto* from = attempt_with_outputs(of))
    for (const auto& one : from->outputs)
      if (auto tree = blobs::parse_digest(one.tree); tree && one.state == output_state::kept)
        all.push_back(
          subject(std::string{output_subject} + one.name, hex_of(*tree), {{"davit_attempt", from->number}}));
  return all;
}

/// The image by the name that the task has given it, what this name stood for in each attempt, and the inputs.
json::array dependencies_of(const task& of) {
  json::array all;
  auto reference = read_image(of.spec.image);
  std::map<std::string, json::array> ids; // and the attempts
  for (const auto& one : of.attempts)
    if (auto id = whole_image_id(one.image_id))
      ids[*id].emplace_back(one.number);
  auto uri = "docker://" + (reference ? reference->exact() : of.spec.image);
  if (reference && reference->digest.starts_with(digest_head) && is_sha256(reference->digest.substr(7)))
    all.push_back(json::object{{"name", "image manifest"},
                               {"uri", json::to_value(uri)},
                               {"digest", digest_set(reference->digest.substr(digest_head.size()))}});
  for (auto& [id, attempts] : ids)
    all.push_back(json::object{{"name", "image"},
                               {"digest", digest_set(std::string_view{id}.substr(digest_head.size()))},
                               {"annotations", json::object{{"davit_image", json::to_value(of.spec.image)},
                                                            {"davit_attempts", std::move(attempts)}}}});
  if (all.empty())
    all.push_back(json::object{{"name", "image"}, {"uri", json::to_value(uri)}});
  for (const auto& one : of.spec.inputs)
    if (auto tree = blobs::parse_digest(one.tree))
      all.push_back(json::object{{"name", "input"},
                                 {"digest", digest_set(hex_of(*tree))},
                                 {"annotations", json::object{{"davit_path", json::to_value(one.path)}}}});
  return all;
}

json::object log_of(const log_facts& log) {
  json::object about{{"state", to_string(log.state)}};
  if (log.attempt != 0)
    about["attempt"] = log.attempt;
  if (log.state == log_state::whole || log.state == log_state::unfinished) {
    about["bytes"] = log.bytes;
    about["remarks"] = json::to_value(log.remarks);
    about["remark_count"] = log.remark_count;
  }
  return about;
}

json::object run_of(const task& of, const log_facts& log, const statement_signer& signer) {
  json::object metadata{{"invocationId", to_string(of.id)}};
  auto begun = std::find_if(of.attempts.rbegin(), of.attempts.rend(), [](const auto& one) { return one.started_at; });
  if (begun != of.attempts.rend())
    metadata["startedOn"] = format_timestamp(*begun->started_at);
  if (of.finished_at)
    metadata["finishedOn"] = format_timestamp(*of.finished_at);
  return {{"builder", json::object{{"id", "davit:fleet/" + uri_part(signer.fleet)},
                                   {"version", json::object{{"davit", signer.version}}}}},
          {"metadata", std::move(metadata)},
          {"davit_result", json::object{{"outcome", json::to_value(of.outcome)},
                                        {"exit_code", json::to_value(of.exit_code)},
                                        {"message", json::to_value(of.message)},
                                        {"cancel_requested", of.cancel_requested},
                                        {"created_at", format_timestamp(of.created_at)}}},
          {"davit_attempts", json::to_value(of.attempts)},
          {"davit_log", log_of(log)},
          {"davit_signer", json::object{{"agent", json::to_value(signer.agent)}, {"key", signer.key_id}}}};
}

// -- reading

struct shown_subject {
  std::string name;
  std::map<std::string, std::string> digest;
};

template <class Inspector>
bool inspect(Inspector& f, shown_subject& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("digest", x.digest));
}

struct shown_definition {
  std::string type;
};

template <class Inspector>
bool inspect(Inspector& f, shown_definition& x) {
  return f.object(x).fields(f.field("buildType", x.type));
}

struct shown_metadata {
  std::string invocation;
};

template <class Inspector>
bool inspect(Inspector& f, shown_metadata& x) {
  return f.object(x).fields(f.field("invocationId", x.invocation));
}

struct shown_result {
  std::optional<std::string> outcome;
};

template <class Inspector>
bool inspect(Inspector& f, shown_result& x) {
  return f.object(x).fields(f.field("outcome", x.outcome));
}

struct shown_signer {
  std::string agent;
};

template <class Inspector>
bool inspect(Inspector& f, shown_signer& x) {
  return f.object(x).fields(f.field("agent", x.agent));
}

struct shown_run {
  shown_metadata metadata;
  shown_result result;
  shown_signer signer;
};

template <class Inspector>
bool inspect(Inspector& f, shown_run& x) {
  return f.object(x).fields(f.field("metadata", x.metadata), f.field("davit_result", x.result),
                            f.field("davit_signer", x.signer));
}

struct shown_predicate {
  shown_definition definition;
  shown_run run;
};

template <class Inspector>
bool inspect(Inspector& f, shown_predicate& x) {
  return f.object(x).fields(f.field("buildDefinition", x.definition), f.field("runDetails", x.run));
}

struct shown_type {
  std::string type, predicate_type;
};

template <class Inspector>
bool inspect(Inspector& f, shown_type& x) {
  return f.object(x).fields(f.field("_type", x.type), f.field("predicateType", x.predicate_type));
}

struct shown_statement {
  std::vector<shown_subject> subjects;
  shown_predicate predicate;
};

template <class Inspector>
bool inspect(Inspector& f, shown_statement& x) {
  return f.object(x).fields(f.field("subject", x.subjects), f.field("predicate", x.predicate));
}

/// Why it is of another type; empty: it is not.
std::string wrong_type(const std::string& type, std::string_view expected, const char* field) {
  return type == expected ? std::string{}
                          : std::string{field} + " is \"" + type + "\", not \"" + std::string{expected} + '"';
}

} // namespace

const attempt* attempt_with_outputs(const task& of) {
  auto found
    = std::find_if(of.attempts.rbegin(), of.attempts.rend(), [](const auto& one) { return !one.outputs.empty(); });
  return found == of.attempts.rend() ? nullptr : &*found;
}

std::string write_statement(const task& of, const log_facts& log, const statement_signer& signer) {
  json::object definition{{"buildType", task_build_type},
                          {"externalParameters", json::to_value(of.spec)},
                          {"internalParameters", json::object{{"owner", json::to_value(of.owner)}}},
                          {"resolvedDependencies", dependencies_of(of)}};
  json::object whole{
    {"_type", statement_type},
    {"subject", subjects_of(of, log)},
    {"predicateType", provenance_type},
    {"predicate", json::object{{"buildDefinition", std::move(definition)}, {"runDetails", run_of(of, log, signer)}}}};
  return json::write(sorted(whole));
}

std::optional<statement_facts> read_statement(std::string_view text, std::string& why) {
  json::parser parser;
  auto root = parser.parse(text);
  if (!root) {
    why = "it is not JSON: " + root.error().text();
    return std::nullopt;
  }
  why = wrong_shape(*root);
  if (!why.empty())
    return std::nullopt;
  auto type = json::read<shown_type>(*root, json::unknown_fields::ignore);
  why = !type ? type.error().text() : wrong_type(type->type, statement_type, "_type");
  if (why.empty())
    why = wrong_type(type->predicate_type, provenance_type, "predicateType");
  if (!why.empty())
    return std::nullopt;
  auto read = json::read<shown_statement>(*root, json::unknown_fields::ignore);
  why = !read ? read.error().text() : wrong_type(read->predicate.definition.type, task_build_type, "buildType");
  if (!why.empty())
    return std::nullopt;
  statement_facts facts{read->predicate.run.metadata.invocation,
                        read->predicate.run.result.outcome.value_or(""),
                        read->predicate.run.signer.agent,
                        {}};
  for (const auto& one : read->subjects) {
    auto digest = one.digest.find("sha256");
    if (digest == one.digest.end() || !is_sha256(digest->second))
      why = "the subject \"" + one.name + "\" has no SHA-256";
    else if (!facts.subjects.emplace(one.name, digest->second).second)
      why = "two subjects have the name \"" + one.name + '"';
  }
  auto task = facts.subjects.find(std::string{task_subject});
  if (why.empty() && (task == facts.subjects.end() || task->second != encoding::sha256_hex(facts.task)))
    why = "its invocationId is not that of its subject \"task\"";
  if (!why.empty())
    return std::nullopt;
  return facts;
}

} // namespace davit::attestation
