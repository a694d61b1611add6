// What takes more than one call to an engine. Knows nothing of tasks or actors.
#pragma once

#include "transport/engine_client.hpp"

#include <filesystem>
#include <mutex>
#include <set>

namespace davit::transport {

/// Pulls with these credentials (a docker config.json), or else those that the file has for the image's registry.
/// `as_proof`: success is to prove that the registry gives the image to whoever has them. `conceal` gets the words of a
/// refusal, which may repeat the credentials, and those as JSON.
awaitable<result<void>>
pull_with(std::shared_ptr<engine_client> client, std::filesystem::path docker_config, std::string own,
          std::string image, bool as_proof, std::function<void(const pull_progress&)> progress,
          std::function<std::string(std::string, const std::string&)> conceal, call_options options);

/// What the engine remembers of a container's events since a time.
awaitable<result<std::vector<engine_event>>>
read_history(std::shared_ptr<engine_client> client, std::string container, timestamp since, call_options options);

/// What the engine remembers of all creations of containers between two times by its own clock; its memory holds 256
/// events and ends with its process.
awaitable<result<std::vector<engine_event>>>
read_creations(std::shared_ptr<engine_client> client, timestamp since, timestamp last, call_options options);

/// Reads an event stream to its end, which is the engine's. `opened` is called once the engine has begun to answer,
/// `heard` with each creation, removal and pruning of containers and volumes: both on the client's strand.
awaitable<result<void>> watch_events(std::shared_ptr<engine_client> client, std::function<void()> opened,
                                     std::function<void(const engine_event&)> heard, call_options options);

/// The first record of a container's standard output, as far as there is one.
awaitable<result<std::string>>
read_first_output(std::shared_ptr<engine_client> client, std::string container, call_options options);

// -- sandboxes
// ---------------------------------------------------------------------------------------------------------

/// Puts the init's bytes into the volume, as `init`, and sees that they are there; what holds exactly them already is
/// left as it is. A container that is never started carries them there: `helper` is its plan, with the volume mounted
/// at `folder`.
awaitable<result<void>> install_init(std::shared_ptr<engine_client> client, container_plan helper, std::string folder,
                                     std::string bytes, call_options options);

/// Pairs of an image's id and a path of it that were looked at, and are no links to `/`. An image never changes.
class checked_paths {
public:
  bool has(const std::string& image, const std::string& path) const;
  void add(const std::string& image, const std::string& path);

private:
  mutable std::mutex mutex_;
  std::set<std::pair<std::string, std::string>> known_;
};

/// That none of these paths of the image `helper.image` is a link to `/`. A container of the image that is never
/// started, and has no mounts, shows it: `helper` is its plan.
awaitable<result<void>> check_paths(std::shared_ptr<engine_client> client, container_plan helper,
                                    std::vector<std::string> paths, std::shared_ptr<checked_paths> known,
                                    call_options options);

struct made_sandbox {
  std::string id;
  /// To the init's standard input. When it closes, the init reads the end of its input.
  std::shared_ptr<byte_stream> line;
};

/// Makes a container, attaches to its standard input, unpacks a tar into it (if there is one), and starts it. What
/// fails leaves no container.
awaitable<result<made_sandbox>>
make_sandbox(std::shared_ptr<engine_client> client, container_plan plan, std::string tar, call_options options);

/// Unpacks a tar into a container, if there is one, and starts it. True: started now; false: it was running already.
awaitable<result<bool>>
start_with(std::shared_ptr<engine_client> client, std::string id, std::string tar, call_options options);

} // namespace davit::transport
