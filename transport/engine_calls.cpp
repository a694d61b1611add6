#include "transport/engine_calls.hpp"

#include "encoding/archive.hpp"
#include "encoding/base64.hpp"
#include "transport/log_parser.hpp"
#include "transport/registry_credentials.hpp"

namespace davit::transport {

awaitable<result<void>>
pull_with(std::shared_ptr<engine_client> client, std::filesystem::path docker_config, std::string own,
          std::string image, bool as_proof, std::function<void(const pull_progress&)> progress,
          std::function<std::string(std::string, const std::string&)> conceal, call_options options) {
  auto config = own.empty() ? registry_credentials::load(docker_config)
                            : registry_credentials::parse_own(own, "the secret DOCKER_AUTH_CONFIG");
  if (!config)
    co_return config.error();
  auto auth = co_await config->of_image(image, options.until);
  if (!auth)
    co_return auth.error();
  result<void> outcome;
  if (as_proof && image.find('@') != std::string::npos)
    outcome = co_await client->ask_registry(image, *auth, options);
  if (outcome)
    outcome = co_await client->pull_image(image, *auth, std::move(progress), options);
  if (outcome)
    co_return outcome;
  auto why = outcome.error();
  auto header = auth->header.substr(0, auth->header.find_last_not_of('=') + 1);
  why.message = conceal(std::move(why.message), encoding::base64url_decode_bare(header).value_or(""));
  co_return why;
}

namespace {

std::string engine_time(timestamp at) {
  auto count = at.time_since_epoch().count();
  auto fraction = std::to_string(count % 1'000'000'000);
  return std::to_string(count / 1'000'000'000) + '.' + std::string(9 - fraction.size(), '0') + fraction;
}

} // namespace

namespace {

/// All events that the engine has by now.
awaitable<result<std::vector<engine_event>>> read_past(std::shared_ptr<engine_client> client, event_options what,
                                                       timestamp since, timestamp last, call_options options) {
  what.since = engine_time(since);
  what.until = engine_time(last);
  auto until = options.until;
  auto opened = co_await client->events(std::move(what), std::move(options));
  if (!opened)
    co_return opened.error();
  auto stream = std::move(*opened);
  std::vector<engine_event> events;
  while (true) {
    auto event = co_await stream->next(until);
    if (!event)
      co_return event.error();
    if (!*event)
      break;
    events.push_back(std::move(**event));
  }
  co_return events;
}

} // namespace

awaitable<result<std::vector<engine_event>>>
read_history(std::shared_ptr<engine_client> client, std::string container, timestamp since, call_options options) {
  event_options what;
  what.filters = {{"type", "container"}, {"container", container}};
  co_return co_await read_past(std::move(client), std::move(what), since, std::chrono::system_clock::now(),
                               std::move(options));
}

awaitable<result<std::vector<engine_event>>>
read_creations(std::shared_ptr<engine_client> client, timestamp since, timestamp last, call_options options) {
  event_options what;
  what.filters = {{"type", "container"}, {"event", "create"}};
  co_return co_await read_past(std::move(client), std::move(what), since, last, std::move(options));
}

awaitable<result<std::string>>
read_first_output(std::shared_ptr<engine_client> client, std::string container, call_options options) {
  auto until = options.until;
  log_options what;
  what.follow = false;
  auto opened = co_await client->logs(std::move(container), std::move(what), std::move(options));
  if (!opened)
    co_return opened.error();
  auto stream = std::move(*opened);
  std::string first;
  auto look = [&](const log_record& record) {
    if (first.empty() && record.stream == log_stream::out)
      first = record.bytes;
  };
  log_parser parser{false};
  while (first.empty()) {
    auto piece = co_await stream->read(until);
    if (!piece)
      co_return piece.error();
    if (piece->empty())
      break;
    auto fed = parser.feed(*piece, look);
    if (!fed)
      co_return fed.error();
  }
  co_return first;
}

awaitable<result<void>> watch_events(std::shared_ptr<engine_client> client, std::function<void()> opened,
                                     std::function<void(const engine_event&)> heard, call_options options) {
  event_options what;
  what.filters = {{"type", "container"}, {"type", "volume"},  {"event", "create"},
                  {"event", "destroy"},  {"event", "remove"}, {"event", "prune"}}; // `remove`: as Podman calls it
  auto opening = options;
  opening.until = within(std::chrono::seconds{10});
  auto answer = co_await client->events(std::move(what), std::move(opening));
  if (!answer)
    co_return answer.error();
  auto stream = std::move(*answer);
  opened();
  while (true) {
    auto event = co_await stream->next(no_deadline);
    if (!event)
      co_return event.error();
    if (!*event)
      co_return result<void>{};
    heard(**event);
  }
}

namespace {

/// Whether the container has this program there, to the byte, and nobody but its owner may change it.
awaitable<bool> holds_program(std::shared_ptr<engine_client> client, std::string id, std::string path,
                              const encoding::archive_file& program, call_options options) {
  options.max_body = program.bytes.size() + 64 * 1024;
  auto there = co_await client->download_archive(std::move(id), std::move(path), std::move(options));
  auto file = there ? encoding::only_file(*there) : std::nullopt;
  co_return file && file->path == program.path && file->mode == program.mode && file->bytes == program.bytes;
}

} // namespace

awaitable<result<void>> install_init(std::shared_ptr<engine_client> client, container_plan helper, std::string folder,
                                     std::string bytes, call_options options) {
  auto created = co_await client->create_container(std::move(helper), options);
  if (!created)
    co_return created.error();
  auto id = *created;
  result<void> outcome;
  std::vector<encoding::archive_file> files(1);
  auto& program = files[0];
  program.path = "init";
  program.mode = 0755;
  program.bytes = std::move(bytes);
  auto path = folder + "/init";
  auto there = co_await holds_program(client, id, path, program, options);
  if (!there) {
    outcome = co_await client->upload_archive(id, folder, encoding::pack(files), options);
    if (outcome)
      there = co_await holds_program(client, id, path, program, options);
    if (outcome && !there)
      outcome = error{engine_errc::failed, 0, "the volume of davit's init has something else in it"};
  }
  auto removed = co_await client->remove_container(id, options);
  co_return outcome ? removed : outcome;
}

bool checked_paths::has(const std::string& image, const std::string& path) const {
  std::lock_guard guard{mutex_};
  return known_.contains({image, path});
}

void checked_paths::add(const std::string& image, const std::string& path) {
  constexpr std::size_t most = 4096;
  std::lock_guard guard{mutex_};
  if (known_.size() >= most)
    known_.clear();
  known_.emplace(image, path);
}

awaitable<result<void>> check_paths(std::shared_ptr<engine_client> client, container_plan helper,
                                    std::vector<std::string> paths, std::shared_ptr<checked_paths> known,
                                    call_options options) {
  if (paths.empty())
    co_return result<void>{};
  auto image = co_await client->inspect_image(helper.image, options);
  if (!image)
    co_return image.error();
  std::erase_if(paths, [&](const auto& one) { return known->has(image->id, one); });
  if (paths.empty())
    co_return result<void>{};
  auto name = helper.image;
  helper.image = image->id;
  auto created = co_await client->create_container(std::move(helper), options);
  if (!created)
    co_return created.error();
  result<void> outcome;
  for (const auto& path : paths) {
    auto target = co_await client->link_target(*created, path, options);
    if (!target && target.error().code != engine_errc::not_found)
      outcome = target.error();
    else if (target && *target == "/")
      outcome = error{engine_errc::refused, 0,
                      path + " is a link to / in the image " + name + ": nothing can be mounted there"};
    if (!outcome)
      break;
  }
  // Then it was there all the time, and what was not found is not in the image.
  if (outcome && !co_await client->inspect_container(*created, options))
    outcome = error{engine_errc::lost, 0, "somebody has removed the container to look into the image by"};
  auto removed = co_await client->remove_container(*created, options);
  if (!outcome || !removed)
    co_return outcome ? removed : outcome;
  for (const auto& path : paths)
    known->add(image->id, path);
  co_return result<void>{};
}

awaitable<result<bool>>
start_with(std::shared_ptr<engine_client> client, std::string id, std::string tar, call_options options) {
  if (!tar.empty()) {
    auto unpacked = co_await client->upload_archive(id, "/", std::move(tar), options);
    if (!unpacked && is_connection_trouble(unpacked.error().code))
      co_return unpacked.error();
    // An image in which there is no place for the files gets none.
  }
  co_return co_await client->start_container(std::move(id), std::move(options));
}

awaitable<result<made_sandbox>>
make_sandbox(std::shared_ptr<engine_client> client, container_plan plan, std::string tar, call_options options) {
  auto created = co_await client->create_container(std::move(plan), options);
  if (!created)
    co_return created.error();
  auto id = *created;
  error trouble;
  auto attached = co_await client->attach(id, false, options);
  if (attached) {
    auto started = co_await start_with(client, id, std::move(tar), options);
    if (started) {
      made_sandbox made;
      made.id = std::move(id);
      made.line = std::move(attached->stream);
      co_return made;
    }
    trouble = started.error();
  } else {
    trouble = attached.error();
  }
  call_options last;
  last.until = within(std::chrono::seconds{30});
  co_await client->remove_container(id, last);
  co_return trouble;
}

} // namespace davit::transport
