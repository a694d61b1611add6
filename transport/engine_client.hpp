// The Docker Engine API, each call a coroutine. Knows nothing of tasks or actors.
// Source of paths, parameters and statuses: Docker Engine API reference, v1.41.
#pragma once

#include "messages/log.hpp"
#include "transport/http_client.hpp"
#include "transport/io_runtime.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace davit::transport {

/// The API versions that davit speaks. It takes the highest that the engine has too.
inline constexpr std::string_view least_api_version = "1.40";
inline constexpr std::string_view most_api_version = "1.47";

/// Registry credentials for a pull, as the `X-Registry-Auth` header takes them (base64url of JSON); may be empty.
struct registry_auth {
  std::string header;
};

struct log_options {
  bool follow = true;
  std::string since;    ///< `seconds.nanoseconds`, inclusive; empty: from the beginning.
  std::size_t tail = 0; ///< The last so many records alone, which the engine finds without reading the others; 0: all.
};

struct event_options {
  std::string since;                                        ///< `seconds.nanoseconds`; empty: from now.
  std::string until;                                        ///< Empty: for ever.
  std::vector<std::pair<std::string, std::string>> filters; ///< `{"label", "davit.fleet=x"}`, `{"container", id}`...
};

struct exec_plan {
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::string workdir;
  std::string user;
  bool tty = false;
  bool open_stdin = false;
};

struct exec_status {
  bool running = false;
  std::int64_t exit_code = 0;
};

/// A stream of JSON lines, such as /events.
class event_stream {
public:
  explicit event_stream(std::unique_ptr<response_stream> stream);
  ~event_stream();

  /// The next event; no value at the stream's end.
  awaitable<result<std::optional<engine_event>>> next(deadline until);

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// One engine. All coroutines run on its own strand: co_spawn them on executor(). Keep it in a shared_ptr.
///
/// Errors: a status of 400 and above becomes an error with the engine's own message (404 not_found, 409 conflict, other
/// 4xx refused, 5xx failed).
/// The volume that an engine's id is kept with, and its label.
inline constexpr std::string_view engine_volume = "davit-engine", engine_label = "davit.engine";

class engine_client : public std::enable_shared_from_this<engine_client> {
public:
  engine_client(boost::asio::io_context& context, endpoint where);

  boost::asio::any_io_executor executor() const;
  const endpoint& where() const;

  /// The API version agreed on; empty before connect().
  const std::string& api_version() const noexcept { return api_version_; }

  /// Pings, agrees on a version (from the `Api-Version` header of `/_ping`, and `/version`), reads `/info`.
  awaitable<result<engine_info>> connect(call_options options);

  /// HEAD-less `/_ping`: on a kept connection.
  awaitable<result<void>> ping(call_options options);

  awaitable<result<engine_info>> info(call_options options);

  /// How the engine was known before: an engine that reports this id and has lost its volume is given the same id
  /// again. Thread-safe.
  void remember(std::string reported_id, std::string id);
  awaitable<result<image_info>> inspect_image(std::string name, call_options options);

  /// `progress` is called on the strand. Fails with the engine's (that is, the registry's) message.
  awaitable<result<void>> pull_image(std::string name, registry_auth auth,
                                     std::function<void(const pull_progress&)> progress, call_options options);

  /// Whether the registry gives the image to somebody with these credentials: asked of the registry in any case. A pull
  /// by digest is not, if the engine has what it is to pull. An engine that has no such question (Podman): good.
  awaitable<result<void>> ask_registry(std::string name, registry_auth auth, call_options options);

  /// Takes the name from the image, and the image with its last name. True: done; false: it was not there. One that a
  /// container uses, even one that was only created: conflict.
  awaitable<result<bool>> remove_image(std::string name, call_options options);

  /// The container's id. A name that is taken: conflict.
  awaitable<result<std::string>> create_container(container_plan plan, call_options options);

  /// True: started now; false: it was running already.
  awaitable<result<bool>> start_container(std::string id, call_options options);

  /// Returns when the container does not run. The code is a hint: inspect decides. Call it after start alone: a
  /// container that was only created counts as not running.
  awaitable<result<std::int64_t>> wait_container(std::string id, call_options options);

  awaitable<result<container_status>> inspect_container(std::string id_or_name, call_options options);

  /// How many processes and threads run in it, from its control group; 0 if the engine does not tell.
  awaitable<result<std::uint32_t>> count_processes(std::string id, call_options options);

  /// SIGTERM (or the image's own stop signal), and SIGKILL after `grace`. True: it was running.
  awaitable<result<bool>> stop_container(std::string id, duration grace, call_options options);

  /// A name that is taken: conflict.
  awaitable<result<void>> rename_container(std::string id, std::string name, call_options options);

  awaitable<result<void>> kill_container(std::string id, std::string signal, call_options options);

  /// With its anonymous volumes; a running one is killed. A missing one is not an error.
  awaitable<result<void>> remove_container(std::string id, call_options options);

  /// Those that carry all the labels (`name=value`, or `name` alone), in every state.
  awaitable<result<std::vector<container_summary>>>
  list_containers(std::vector<std::string> labels, call_options options);

  /// Those that carry all the labels.
  awaitable<result<std::vector<volume_summary>>> list_volumes(std::vector<std::string> labels, call_options options);

  /// As it is then: of one whose name is there already, with its own labels and options.
  awaitable<result<volume_summary>> create_volume(volume_plan plan, call_options options);

  /// True: done; false: it was not there. One that a container uses, even one that has ended: conflict.
  awaitable<result<bool>> remove_volume(std::string name, call_options options);

  /// The raw answer of /logs?timestamps=1, for log_parser.
  awaitable<result<std::unique_ptr<response_stream>>> logs(std::string id, log_options what, call_options options);

  awaitable<result<std::unique_ptr<event_stream>>> events(event_options what, call_options options);

  /// Attaches standard input alone, or (for interactive use) all streams.
  awaitable<result<hijacked_stream>> attach(std::string id, bool output, call_options options);

  awaitable<result<std::string>> create_exec(std::string container, exec_plan plan, call_options options);
  awaitable<result<hijacked_stream>> start_exec(std::string exec, bool tty, call_options options);
  awaitable<result<exec_status>> inspect_exec(std::string exec, call_options options);

  /// Where `path` leads in the container, if it is a symbolic link, followed to its end; else empty.
  awaitable<result<std::string>> link_target(std::string container, std::string path, call_options options);

  /// A tar archive of `path` in the container; at most options.max_body bytes.
  awaitable<result<std::string>> download_archive(std::string container, std::string path, call_options options);

  /// Unpacks a tar archive into the folder `path` of the container.
  awaitable<result<void>>
  upload_archive(std::string container, std::string path, std::string tar, call_options options);

  /// The same of an archive of any size, which is read as it comes. Ends early, with an error, if the channel fails.
  awaitable<result<void>>
  upload_stream(std::string container, std::string path, std::shared_ptr<byte_channel> tar, call_options options);

  /// Writes a tar archive of `path` to the channel as it comes, and its end. What can't be had at all is an error, and
  /// so is what ends too early; the channel fails with it.
  awaitable<result<void>>
  download_stream(std::string container, std::string path, std::shared_ptr<byte_channel> to, call_options options);

  /// Closes the connections that wait, for instance after the engine was away.
  void drop_idle();

private:
  /// Gives the engine davit's own id for it: of a volume's label, which is made when it is not there.
  awaitable<result<void>> identify(engine_info& info, call_options options);
  awaitable<result<http_response>> call(std::string method, std::string path, std::string body, call_options options);
  /// Sends what comes through the channel; answers with what the engine says. If that is an error, the channel fails.
  awaitable<result<std::string>>
  send_tar(std::string method, std::string target, std::shared_ptr<byte_channel> tar, call_options options);
  awaitable<result<std::unique_ptr<response_stream>>>
  open(std::string method, std::string path, call_options options,
       std::vector<std::pair<std::string, std::string>> headers = {});
  std::string versioned(const std::string& path) const;

  std::shared_ptr<http_client> http_;
  std::string api_version_;
  std::string api_range_;
  std::mutex known_mutex_;
  std::pair<std::string, std::string> known_; ///< The id that the engine reports, and davit's own for it.
};

/// Compares `1.9` and `1.41` as versions.
std::strong_ordering compare_versions(std::string_view a, std::string_view b);

/// The version to speak with an engine that offers `engine_least`..`engine_most`.
result<std::string> choose_version(std::string_view engine_least, std::string_view engine_most);

/// Splits `registry/name:tag@digest` into what `fromImage` and `tag` of a pull want; no tag becomes `latest`.
std::pair<std::string, std::string> split_image(std::string_view name);

} // namespace davit::transport
