// Trees that an engine has ready, so that a container has them without unpacking (docs/decisions/0020). Pure.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace davit {

/// The trees of a task's inputs, and of what its caches begin with, that an engine could have ready: the command would
/// see the same. Where that is not sure, they are unpacked. `start: warm` and `start: cold` ask for something else.
std::vector<tree_place> places_of(const task_spec& spec, const std::vector<used_cache>& caches);

/// The plan of a container for whose inputs and caches volumes are made, with these in their place; and with what they
/// consist of, under a folder of davit's, so that no engine removes it while the container is there.
container_plan with_prepared(container_plan plan, const prepared_trees& ready);

/// What distinguishes a tree at a place from all others in a fleet: whose it is, for which image and user, and where.
std::string prepared_key(const std::string& fleet, const std::string& owner, const std::string& user,
                         const std::string& image_id, const tree_place& place);

/// Says that a volume is davit's, and has to do with a tree: the tree's key. An engine that makes a volume anew because
/// a container asks for its name does not write it.
inline constexpr const char* tree_label = "davit.tree";
/// Of a mark: which volume has the tree, and how many bytes its files have.
inline constexpr const char* lower_label = "davit.lower";
inline constexpr const char* bytes_label = "davit.bytes";
/// Of a container's own volumes: the container's name.
inline constexpr const char* user_label = "davit.used-by";

/// What a volume's name says.
struct tree_volume {
  enum class role {
    mark,  ///< Empty: that it is there says that the tree is whole.
    lower, ///< Has the tree.
    tree,  ///< A container's overlay of it.
    upper, ///< What the container changes.
    work   ///< The kernel's, for that.
  };
  role is = role::mark;
  std::string key;
  std::string nonce; ///< Not of a mark.
};

std::string name_of_volume(const tree_volume& volume);
std::optional<tree_volume> read_tree_volume(std::string_view name);

/// Where a container has the parts of an overlay of this name. No image can know it.
enum class tree_part { lower, upper, work };
std::string part_path(const std::string& overlay, tree_part which);

/// The trees that a container has, as its volumes say, by their places. `volumes`: names by path.
std::vector<prepared_tree> prepared_in(const std::map<std::string, std::string>& volumes);

/// A path without `.`, double slashes and a slash at its end.
std::string plain_path(const std::string& path);

/// Whether a path is the other, or in it.
bool is_below(std::string_view path, std::string_view folder);

} // namespace davit
