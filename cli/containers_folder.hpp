// Whether an engine's option containers-folder names what it should.
#pragma once

#include "cli/doctor.hpp"
#include "transport/error.hpp"

namespace davit {

/// Looks for the engine's containers in the folder. `containers` are all that the engine has, or why it does not say.
finding judge_containers_folder(const engine_settings& engine, const std::string& data_root,
                                const transport::result<std::vector<container_summary>>& containers);

} // namespace davit
