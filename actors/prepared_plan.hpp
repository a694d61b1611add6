// Containers whose inputs are in their image already, instead of in volumes (docs/decisions/0020). Pure.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"

#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace davit {

/// Of each container with inputs: the id of the task's image, if its own image is a prepared one; else empty. An image
/// can't say it in davit's place.
inline constexpr const char* prepared_label = "davit.prepared";

/// Whether the inputs of a task could be in its image: the container would look the same to its command. Where that is
/// not sure, they could not. `start: warm` and `start: cold` ask for something else.
bool may_be_prepared(const task_spec& spec);

/// The same of what only the image tells: none of the paths is, is in, or has in it one of the image's volumes.
bool keeps_clear_of(const std::set<std::string>& volumes, const std::vector<task_input>& inputs);

/// The plan of a container whose inputs have volumes, made one of a prepared image.
container_plan with_prepared(container_plan plan, const task_spec& spec, const prepared_image& image);

/// The repository of a fleet's prepared images.
std::string prepared_repository(std::string_view fleet);

/// What distinguishes a task's inputs from all others on the same image: whose they are, where, and for which user.
std::string prepared_key(const std::string& owner, const std::string& user, const std::vector<task_input>& inputs);

/// The tag of the image with these inputs on a base.
std::string prepared_tag(std::string_view base_id, std::string_view key);

/// The id of the image that one with this tag was made from, and the key. None: the tag is not davit's.
std::optional<std::pair<std::string, std::string>> read_prepared_tag(std::string_view tag);

/// A path without `.`, double slashes and a slash at its end.
std::string plain_path(const std::string& path);

} // namespace davit
