#include "actors/engine_connection.hpp"

#include "actors/container_plan.hpp"
#include "actors/engine_connection_state.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/program.hpp"

namespace davit {

namespace connection {

namespace {

/// What is to be looked at in an image before a container with davit's init is made of it.
struct image_check {
  container_plan helper;
  std::vector<std::string> paths;
  std::shared_ptr<transport::checked_paths> known;

  awaitable<result<void>> operator()(std::shared_ptr<engine_client> client, call_options options) const {
    return transport::check_paths(std::move(client), helper, paths, known, std::move(options));
  }
};

image_check check_of(self_pointer self, const container_plan& plan) {
  return {never_started(self->state.context->settings, plan.image), targets_in_root(plan), self->state.checked};
}

awaitable<result<std::string>> check_and_create(std::shared_ptr<engine_client> client, image_check check,
                                                container_plan plan, call_options options,
                                                std::shared_ptr<transport::made_sandbox> kept) {
  auto checked = co_await check(client, options);
  if (!checked)
    co_return checked.error();
  if (!plan.open_stdin)
    co_return co_await client->create_container(std::move(plan), std::move(options));
  auto made = co_await transport::create_attached(std::move(client), std::move(plan), std::move(options));
  if (!made)
    co_return made.error();
  *kept = std::move(*made);
  co_return kept->id;
}

caf::result<std::string> create(self_pointer self, const container_plan& plan) {
  auto kept = std::make_shared<transport::made_sandbox>();
  return call<std::string>(
    self, "create", 60s, {},
    [=, client = self->state.client, check = check_of(self, plan)](call_options options) {
      return check_and_create(client, check, plan, options, kept);
    },
    subject::image,
    [=, name = plan.name] {
      if (kept->line)
        self->state.lines[kept->id] = {std::move(kept->line), name};
    });
}

/// One whose standard input is closed already is not started.
awaitable<result<bool>> start_attached(std::shared_ptr<engine_client> client,
                                       std::shared_ptr<transport::byte_stream> line, std::string id, std::string tar,
                                       call_options options) {
  if (line && !line->idle_and_alive())
    co_return transport::error{engine_errc::conflict, 0, "the connection to its standard input was lost"};
  co_return co_await transport::start_with(std::move(client), std::move(id), std::move(tar), std::move(options));
}

std::shared_ptr<transport::byte_stream> line_to(self_pointer self, const std::string& id) {
  auto found = self->state.lines.find(id);
  return found == self->state.lines.end() ? nullptr : found->second.stream;
}

/// make_sandbox, with the line left in `kept` for the actor.
awaitable<result<std::string>> make_and_keep(std::shared_ptr<engine_client> client, image_check check,
                                             container_plan plan, std::string tar, call_options options,
                                             std::shared_ptr<transport::made_sandbox> kept) {
  auto checked = co_await check(client, options);
  if (!checked)
    co_return checked.error();
  auto made = co_await transport::make_sandbox(std::move(client), std::move(plan), std::move(tar), std::move(options));
  if (!made)
    co_return made.error();
  *kept = std::move(*made);
  co_return kept->id;
}

caf::result<std::string> make_sandbox(self_pointer self, const container_plan& plan, const std::string& tar) {
  auto kept = std::make_shared<transport::made_sandbox>();
  return call<std::string>(
    self, "sandbox", 120s, {},
    [=, client = self->state.client, check = check_of(self, plan)](call_options options) {
      return make_and_keep(client, check, plan, tar, options, kept);
    },
    subject::image,
    [=] {
      self->state.lines[kept->id] = {std::move(kept->line), {}};
    });
}

awaitable<result<void>>
write_message(std::shared_ptr<transport::byte_stream> line, std::string message, call_options options) {
  if (!line->idle_and_alive())
    co_return transport::error{engine_errc::not_found, 0, "the engine has closed the connection to the sandbox's init"};
  auto written = co_await line->write(message, options.until);
  if (!written)
    co_return written.error();
  co_return result<void>{};
}

caf::result<void> hand_over(self_pointer self, const std::string& id, const std::string& message, bool more) {
  auto& state = self->state;
  auto found = state.lines.find(id);
  if (found == state.lines.end())
    return make_failure(engine_errc::not_found, "the connection to the sandbox's init is closed");
  auto line = found->second.stream;
  if (!more)
    state.lines.erase(found);
  auto after = [=] {
    if (!more) // closed in good order, whenever the engine comes to it
      spawn_call<void>(self, transport::close_line(line, within(60s)), [](result<void>) {});
  };
  return call<void>(
    self, "hand_over", 30s, {}, [=](call_options options) { return write_message(line, message, options); },
    subject::container, after);
}

caf::result<void>
deliver_input(self_pointer self, const attempt_key& key, const std::string& id, const std::string& bytes) {
  auto& state = self->state;
  auto kept = state.lines.extract(id); // to a sandbox, its task's input comes behind the task
  if (kept.empty())
    return make_failure(engine_errc::lost, "the connection to it is closed");
  auto line = std::move(kept.mapped().stream);
  auto answer = call<void>(self, "attach", 30s, key, [=, client = state.client](call_options options) {
    return transport::deliver_input(client, line, id, bytes, options);
  });
  state.calls[state.last_call].until_end = true;
  return answer;
}

/// Ends an attempt's calls of some kind.
template <class Which>
void cancel(self_pointer self, const attempt_key& key, Which which) {
  for (auto& [id, call] : self->state.calls)
    if (call.owner == key && which(call))
      call.control->cancel();
}

engine_actor::behavior_type engine_connection(self_pointer self, context_ptr context, engine_settings settings,
                                              engine_handles handles, health_settings limits) {
  auto& state = self->state;
  state.context = context;
  state.settings = settings;
  state.limits = limits;
  state.handles = std::move(handles);
  state.status.name = settings.name;
  state.status.labels = settings.labels;
  state.status.slots = settings.slots;
  state.status.grace = settings.grace;
  state.status.profile = settings.profile.value_or(context->settings.policy.profile);
  state.status.since = std::chrono::system_clock::now();
  auto where = transport::endpoint_of(settings);
  if (!where) { // the configuration was checked before
    self->quit(to_caf(where.error()));
    return engine_actor::behavior_type::make_empty_behavior();
  }
  auto client = state.client = std::make_shared<engine_client>(context->io.context(), *where);
  state.continuity.load(state.place_file());
  if (auto place = state.continuity.place())
    client->remember(place->reported, place->engine);
  tell(self);
  hear(self, heard::beginning{});
  return {
    [=](ping_atom) { return self->state.status; },
    [=](pull_atom, const attempt_key& key, const std::string& image, duration limit, const secret& credentials) {
      return pull_image(self, key, image, limit, credentials);
    },
    [=](find_atom, const std::string& image) {
      return call<image_info>(
        self, "image", 30s, {}, [=](call_options options) { return client->inspect_image(image, options); },
        subject::image);
    },
    [=](images_atom, remove_atom, const std::string& image) {
      return call<bool>(
        self, "remove_image", 60s, {}, [=](call_options options) { return client->remove_image(image, options); },
        subject::image);
    },
    [=](create_atom, const container_plan& plan) { return create(self, plan); },
    [=](start_atom, const std::string& id, const std::string& tar) {
      return call<bool>(self, "start", 120s, {}, [=, line = line_to(self, id)](call_options options) {
        return start_attached(client, line, id, tar, options);
      });
    },
    [=](init_atom, const std::string& volume, const std::string& image) {
      auto helper = init_carrier(self->state.context->settings, volume, image);
      return call<void>(
        self, "init", 60s, {},
        [=](call_options options) {
          return transport::install_init(client, helper, helper.mounts.front().target,
                                         std::string{init::program_bytes()}, options);
        },
        subject::image);
    },
    [=](init_atom, const container_plan& plan, const std::string& tar) { return make_sandbox(self, plan, tar); },
    [=](init_atom, const std::string& id, const std::string& message, bool more) {
      return hand_over(self, id, message, more);
    },
    [=](rename_atom, const std::string& id, const std::string& name) {
      return call<void>(self, "rename", 30s, {},
                        [=](call_options options) { return client->rename_container(id, name, options); });
    },
    [=](count_atom, const std::string& id) {
      return call<std::uint32_t>(self, "stats", 15s, {},
                                 [=](call_options options) { return client->count_processes(id, options); });
    },
    [=](wait_atom, const attempt_key& key, const std::string& id) {
      return call<std::int64_t>(self, "wait", {}, key,
                                [=](call_options options) { return client->wait_container(id, options); });
    },
    [=](inspect_atom, const std::string& id) {
      return call<container_status>(self, "inspect", 30s, {},
                                    [=](call_options options) { return client->inspect_container(id, options); });
    },
    [=](stop_atom, const std::string& id, duration grace) {
      return call<bool>(self, "stop", grace + 30s, {},
                        [=](call_options options) { return client->stop_container(id, grace, options); });
    },
    [=](remove_atom, const std::string& id) {
      self->state.lines.erase(id);
      return call<void>(self, "remove", 60s, {},
                        [=](call_options options) { return client->remove_container(id, options); });
    },
    [=](list_atom, const std::vector<std::string>& labels) {
      return call<std::vector<container_summary>>(
        self, "list", 60s, {}, [=](call_options options) { return client->list_containers(labels, options); });
    },
    [=](volumes_atom, list_atom, const std::vector<std::string>& labels) {
      return call<std::vector<volume_summary>>(
        self, "list_volumes", 60s, {}, [=](call_options options) { return client->list_volumes(labels, options); });
    },
    [=](volumes_atom, create_atom, const volume_plan& plan) {
      return call<volume_summary>(self, "create_volume", 60s, {},
                                  [=](call_options options) { return client->create_volume(plan, options); });
    },
    [=](volumes_atom, remove_atom, const std::string& name) {
      return call<bool>(self, "remove_volume", 60s, {},
                        [=](call_options options) { return client->remove_volume(name, options); });
    },
    [=](attach_atom, const attempt_key& key, const std::string& id, const std::string& bytes) {
      return deliver_input(self, key, id, bytes);
    },
    [=](files_atom, const std::string& id, const std::string& path, std::uint64_t most) {
      return call<std::string>(self, "archive", 60s, {}, [=](call_options options) {
        options.max_body = most;
        return client->download_archive(id, path, options);
      });
    },
    [=](files_atom, fill_atom, const attempt_key& key, const std::string& id, const std::string& folder,
        const file_stream& from) {
      return call<void>(self, "put_archive", {}, key, [=, tar = from.channel](call_options options) {
        return client->upload_stream(id, folder, tar, options);
      });
    },
    [=](files_atom, collect_atom, const attempt_key& key, const std::string& id, const std::string& path,
        const file_stream& to) {
      return call<void>(self, "archive", {}, key, [=, tar = to.channel](call_options options) {
        return client->download_stream(id, path, tar, options);
      });
    },
    [=](history_atom, const std::string& id, timestamp since) {
      return call<std::vector<engine_event>>(self, "events", 15s, {}, [=](call_options options) {
        return transport::read_history(client, id, since, options);
      });
    },
    [=](log_atom, start_atom, const std::string& id) {
      return call<std::string>(self, "logs", 30s, {},
                               [=](call_options options) { return transport::read_first_output(client, id, options); });
    },
    [=](log_atom, const log_request& request) { return follow_log(self, request); },
    [=](log_atom, ended_atom, const attempt_key& key) {
      end_log(self, key);
      cancel(self, key, [](const pending_call& call) { return call.until_end; });
    },
    [=](withdraw_atom, const attempt_key& key) {
      withdraw_pull(self, key);
      cancel(self, key, [](const pending_call&) { return true; });
      std::erase_if(self->state.lines,
                    [name = container_name(key)](const auto& one) { return one.second.name == name; });
      if (auto log = self->state.logs.find(key); log != self->state.logs.end())
        log->second.follower->cancel();
    },
    [](const continuation& work) { work.run(); },
    [=](tick_atom, std::uint64_t number) {
      if (number == self->state.tick)
        hear(self, heard::tick{});
    },
    [=](wire_atom, const engine_handles& now) {
      self->state.handles = now;
      tell(self);
    },
  };
}

} // namespace

} // namespace connection

engine_actor spawn_engine_connection(caf::actor_system& system, context_ptr context, engine_settings settings,
                                     engine_handles handles, health_settings limits) {
  return system.spawn(connection::engine_connection, std::move(context), std::move(settings), std::move(handles),
                      limits);
}

} // namespace davit
