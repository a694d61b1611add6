// Files with secrets: nobody else may read or change them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace davit::secrets {

/// Empty: the file is there, only its owner may write it, and only its owner and its group may read it. Else what is
/// wrong and what to do. The group may read, because that is how Kubernetes hands files to a user that is not root.
std::string wrong_secret_file(const std::filesystem::path& file);

/// Its text; none: `error` says what is wrong and what to do. `maker` is the command that makes such a file.
std::optional<std::string>
read_secret_file(const std::filesystem::path& file, const std::string& maker, std::string& error);

/// Makes a file with the text and mode 0600, and the folders above it, if there is none. It is durable, and nobody sees
/// a part of it; if others make it at the same time, the first one counts. Empty: the file is there; else what went
/// wrong.
std::string make_secret_file(const std::filesystem::path& file, const std::string& text);

/// Writes it so that a reader sees the old or the new one, with mode 0600. Empty: done; else what went wrong.
std::string write_secret_file(const std::filesystem::path& file, const std::string& text);

} // namespace davit::secrets
