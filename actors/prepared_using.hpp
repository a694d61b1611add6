// Volumes of trees that are ready, for a container: what threads of the file keeper do. It blocks.
#pragma once

#include "actors/file_transfer.hpp"
#include "actors/prepared_plan.hpp"
#include "encoding/archive.hpp"

namespace davit {

/// Trees that an attempt's container is to have.
struct use_order {
  attempt_key attempt;
  std::string base;                                        ///< The id of its image.
  std::vector<std::pair<std::string, std::string>> wanted; ///< Keys, and the places' paths.
};

struct used_trees {
  prepared_trees ready;
  std::vector<std::string> gone; ///< The keys of those that are not there any more.
};

/// Makes the container's volumes. What can't be had is left out.
used_trees use_prepared(const transfer& with, const use_order& order);

/// The volumes of a fleet with the key, as the engine lists them.
caf::expected<std::vector<volume_summary>> volumes_of_tree(const transfer& with, const std::string& key);

/// The lower volume of a tree that is whole; none: there is no such tree.
const volume_summary* whole_tree(const std::vector<volume_summary>& all, const std::string& key);

/// An overlay of a lower volume, for a container of this name. An error leaves nothing of it.
caf::expected<prepared_tree>
make_overlay(const transfer& with, const std::string& key, const volume_summary& lower, const std::string& used_by);

/// Removes volumes as far as it can be done now.
void remove_volumes(const transfer& with, const std::vector<std::string>& names);

/// Removes what `use_prepared` has made for an attempt's container, which is gone.
void release_prepared(const transfer& with, const attempt_key& attempt);

/// Looks whether the trees that a container was made with are what they are to be, and gives their folders the owner
/// and mode that unpacking would give them. Answers with their paths. Errors: files_errc::unprepared, or the engine's.
caf::expected<std::vector<std::string>>
take_prepared(const transfer& with, const fill_order& order, const container_status& container);

/// The folder that a container has at a path; none if there is nothing. A link or a file is refused.
caf::expected<std::optional<encoding::archive_folder>>
folder_at(const transfer& with, const std::string& container, const std::string& path);

} // namespace davit
