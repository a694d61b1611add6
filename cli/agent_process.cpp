#include "cli/agent_process.hpp"

#include "actors/file_medium.hpp"

#include "actors/metrics.hpp"
#include "actors/roll_call.hpp"
#include "api/api_server.hpp"
#include "attestation/signing_key.hpp"
#include "cli/log_formatter.hpp"
#include "store/private_files.hpp"
#include "store/task_store.hpp"
#include "transport/io_runtime.hpp"
#include "secrets/secret_box.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <spdlog/formatter.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <poll.h>
#include <thread>
#include <unistd.h>

namespace davit {

namespace {

/// Ends the process if what should end by itself does not, whatever is stuck.
class watchdog {
public:
  watchdog() : thread_([this](std::stop_token stop) { watch(stop); }) {}

  void set(duration time, std::string why) {
    std::lock_guard lock{mutex_};
    if (until_)
      return;
    until_ = std::chrono::steady_clock::now() + time;
    why_ = std::move(why);
    changed_.notify_all();
  }

private:
  void watch(std::stop_token stop) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, stop, [this] { return until_.has_value(); });
    if (stop.stop_requested())
      return;
    changed_.wait_until(lock, stop, *until_, [] { return false; });
    if (stop.stop_requested())
      return;
    // Not through spdlog: whoever is stuck may hold its lock.
    auto text = "davit: " + why_ + ", but " + stuck() + "; the process exits now\n";
    [[maybe_unused]] auto written = ::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(1);
  }

  /// By now all that could end have ended.
  static std::string stuck() {
    std::string names;
    for (const auto& one : present())
      names += (names.empty() ? "" : ", ") + one;
    return names.empty() ? "a part of it is stuck" : "does not come to an end of: " + names;
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<std::chrono::steady_clock::time_point> until_;
  std::string why_;
  std::jthread thread_; ///< Last: it uses the others.
};

/// From a failure that can't be healed, or from the last step of an orderly end, to the end of the process.
constexpr duration shutdown_deadline{20'000};

} // namespace

struct agent_process::state {
  configuration config;
  int lock = -1;
  transport::io_runtime io;
  std::unique_ptr<caf::actor_system> system;
  supervisor_actor supervisor;
  std::shared_ptr<std::atomic<bool>> down = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<std::string> down_reason = std::make_shared<std::string>();
  bool stopped = false;
  std::shared_ptr<watchdog> dog = std::make_shared<watchdog>();
};

agent_process::agent_process(std::unique_ptr<state> s) : state_(std::move(s)) {}

namespace {

/// The id of a data directory, made when it is first used.
bool read_home(const std::filesystem::path& file, uuid& home, std::string& error) {
  std::string text;
  std::ifstream{file} >> text;
  if (from_string(text, home))
    return true;
  home = uuid::make_v4();
  auto ec = store::replace_private_file(file, to_string(home) + '\n');
  if (ec)
    error = file.string() + " can't be written: " + ec.message();
  return !ec;
}

/// Makes the data directory, which is nobody else's business: what tasks print is in it. Empty: it is ready.
std::string make_data_folder(const std::filesystem::path& folder) {
  std::error_code ec;
  std::filesystem::create_directories(folder.parent_path(), ec); // what is missing above it is everybody's
  if (!ec)
    ec = store::make_private_folder(folder);
  if (ec)
    return "the data directory " + folder.string() + " can't be made: " + ec.message() + "; set davit.agent.data-dir";
  std::vector<std::string> remarks;
  auto wrong = store::close_to_others(folder, remarks);
  for (const auto& one : remarks)
    spdlog::warn("{}", one);
  return wrong;
}

} // namespace

std::unique_ptr<agent_process>
agent_process::start(configuration config, std::string& error, const api_factory& make_api) {
  auto s = std::make_unique<state>();
  s->config = std::move(config);
  auto& settings = s->config.agent;
  error = make_data_folder(settings.data_dir);
  if (!error.empty())
    return nullptr;
  auto lock_name = settings.data_dir / "agent.lock";
  s->lock = ::open(lock_name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, store::private_file_mode);
  if (s->lock < 0) {
    error = lock_name.string() + ": " + std::strerror(errno) + "; can this user write to the data directory?";
    return nullptr;
  }
  if (!settings.private_tasks && ::flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
    error = "another agent uses the data directory " + settings.data_dir.string() + " (it holds agent.lock)";
    ::close(s->lock);
    return nullptr;
  }
  // Looked at before any actor starts, so that a store that can't be used is one clear sentence.
  auto store = store::task_store::open(settings.store_url);
  if (!store) {
    error = store.error().message;
    ::close(s->lock);
    return nullptr;
  }
  settings.shared_store = (*store)->shared();
  // A host's name changes with its container; what is in the data directory stays this agent's.
  if (!settings.shared_store && !settings.private_tasks) {
    auto taken = (*store)->take_name(settings.name);
    if (!taken) {
      error = taken.error().message;
      ::close(s->lock);
      return nullptr;
    }
    if (*taken != 0)
      spdlog::info("goes on with {} open attempts of an agent with another name", *taken);
  }
  store->reset();
  if (!settings.private_tasks && !read_home(settings.data_dir / "agent.id", settings.home, error)) {
    ::close(s->lock);
    return nullptr;
  }
  auto secrets = secrets::secret_box::open(settings.secrets_key_file(), error);
  if (!secrets) {
    ::close(s->lock);
    return nullptr;
  }
  auto signer = attestation::signing_key::open(settings.signing_key_file(), error);
  if (!signer) {
    ::close(s->lock);
    return nullptr;
  }
  auto files = open_medium(settings);
  if (!files) {
    error = files.error().message;
    ::close(s->lock);
    return nullptr;
  }
  s->system = std::make_unique<caf::actor_system>(*s->config.caf);
  std::string wrong;
  auto rules = policy::make(settings.policy, wrong);
  auto context = std::make_shared<agent_context>(
    agent_context{settings, s->io, rules, std::make_shared<metrics>(*s->system), secrets, *files, signer});
  s->supervisor = spawn_supervisor(
    *s->system, context, plan_agent(context, real_spawns(*s->system, context, make_api ? make_api : spawn_api)));
  s->supervisor->attach_functor([down = s->down, reason = s->down_reason, dog = s->dog](const caf::error& why) {
    *reason = text_of(why);
    *down = true;
    dog->set(shutdown_deadline, "the agent ends: " + *reason);
  });
  bool good = false;
  {
    caf::scoped_actor self{*s->system}; // the system waits for its end too
    self->request(s->supervisor, std::chrono::seconds{60}, start_atom_v)
      .receive([&] { good = true; }, [&](const caf::error& e) { error = text_of(e); });
  }
  std::unique_ptr<agent_process> process{new agent_process{std::move(s)}};
  if (!good) {
    if (error.empty())
      error = "the agent did not start";
    return nullptr;
  }
  return process;
}

agent_process::~agent_process() {
  stop();
}

bool agent_process::drain(duration limit) {
  caf::scoped_actor self{*state_->system};
  bool done = false;
  self->request(state_->supervisor, limit, drain_atom_v).receive([&] { done = true; }, [](const caf::error&) {});
  return done;
}

void agent_process::stop_tasks() {
  caf::anon_send(state_->supervisor, stop_atom_v);
}

bool agent_process::alive(std::string& reason) {
  if (!*state_->down)
    return true;
  reason = *state_->down_reason;
  return false;
}

caf::actor_system& agent_process::system() {
  return *state_->system;
}

directory agent_process::addresses() {
  caf::scoped_actor self{*state_->system};
  directory found;
  self->request(state_->supervisor, std::chrono::seconds{5}, find_atom_v)
    .receive([&](directory& now) { found = std::move(now); }, [](const caf::error&) {});
  return found;
}

namespace {

/// What has been printed by now is sent, if the sinks take it; what is not sent within a few seconds is sent by the
/// next start.
void flush_sinks(caf::scoped_actor& self, const directory& addresses) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds{5};
  for (const auto& [name, sink] : addresses.sinks) {
    std::uint64_t sent = 0;
    for (int quiet = 0; quiet < 5 && std::chrono::steady_clock::now() < until;) {
      sink_status status;
      status.message = "it does not answer";
      self->request(sink, std::chrono::seconds{1}, ping_atom_v)
        .receive([&](const sink_status& now) { status = now; }, [](const caf::error&) {});
      if (status.backlog == 0 || !status.message.empty())
        break;
      quiet = status.records == sent ? quiet + 1 : 0;
      sent = status.records;
      std::this_thread::sleep_for(std::chrono::milliseconds{100});
    }
  }
}

} // namespace

void agent_process::stop() {
  auto& s = *state_;
  if (std::exchange(s.stopped, true))
    return;
  s.dog->set(shutdown_deadline, "the agent has been told to end");
  if (s.system) {
    {
      auto addresses = this->addresses();
      caf::scoped_actor self{*s.system};
      flush_sinks(self, addresses);
      // Whoever is left may have what still runs here, and need not wait for the lease's end.
      if (addresses.scheduler)
        self->request(addresses.scheduler, std::chrono::seconds{3}, retire_atom_v)
          .receive([] {}, [](const caf::error&) {});
      // Its end is everybody's.
      caf::anon_send_exit(s.supervisor, caf::exit_reason::user_shutdown);
      self->wait_for(s.supervisor);
    }
    s.supervisor = nullptr;
    s.system.reset(); // waits for the last actor
  }
  s.io.stop();
  if (s.lock >= 0)
    ::close(s.lock);
}

namespace {

/// What containers are given to end when they are stopped at the end of a drain: more than most stop_timeouts.
constexpr duration stop_limit{60'000};

} // namespace

void hide_memory() {
#ifndef __SANITIZE_ADDRESS__ // the leak check looks into its own process
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
#endif
}

int run_agent(configuration config, const api_factory& make_api) {
  hide_memory();
  if (rlimit files{}; ::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max; // shells are often given 1024, for programs that use select
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  spdlog::set_formatter(make_log_formatter(config.agent.log_format == "json"));
  // Blocked before any thread starts, so that all inherit it, and read from a descriptor: no handler runs anywhere.
  sigset_t signals;
  ::sigemptyset(&signals);
  for (auto one : {SIGTERM, SIGINT, SIGQUIT, SIGHUP})
    ::sigaddset(&signals, one);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto fd = ::signalfd(-1, &signals, SFD_CLOEXEC);
  auto settings = config.agent;
  std::string error;
  auto process = agent_process::start(std::move(config), error, make_api);
  if (!process) {
    spdlog::critical("{}", error);
    return 1;
  }
  spdlog::info("agent {} is up, with {} engine(s)", settings.name, settings.engines.size());
  auto next_signal = [&](int wait_ms) -> int {
    pollfd poller{fd, POLLIN, 0};
    if (::poll(&poller, 1, wait_ms) <= 0)
      return 0;
    signalfd_siginfo info{};
    if (::read(fd, &info, sizeof info) != sizeof info)
      return 0;
    if (info.ssi_signo != SIGHUP)
      return static_cast<int>(info.ssi_signo);
    spdlog::info("SIGHUP changes nothing: certificates, keys and tokens are read again whenever they change, all other "
                 "settings at the next start");
    return 0;
  };
  int signal = 0;
  std::string reason;
  while ((signal = next_signal(500)) == 0)
    if (!process->alive(reason)) {
      spdlog::critical("the agent ends: {}", reason);
      return 1;
    }
  auto limit = signal == SIGQUIT ? duration{std::chrono::hours{24 * 365}} : settings.drain_timeout;
  spdlog::info("draining: no new tasks; running tasks have {} to end (signal again to exit at once)",
               format_duration(limit));
  std::atomic<bool> drained{false};
  std::thread drainer{[&] { drained = process->drain(limit + stop_limit); }};
  bool forced = false;
  auto wait = [&](duration time) {
    auto until = std::chrono::steady_clock::now() + time;
    while (!drained && std::chrono::steady_clock::now() < until && !forced && process->alive(reason))
      forced = next_signal(100) != 0;
  };
  wait(limit);
  if (!drained && !forced && process->alive(reason) && settings.drain_action == "stop") {
    spdlog::warn("the drain timeout is over: running tasks are stopped");
    process->stop_tasks();
    wait(stop_limit);
  }
  if (!drained && process->alive(reason))
    spdlog::warn("{}: running tasks continue, and the next start recovers them",
                 forced ? "leaving at once" : "the drain timeout is over");
  auto failed = !process->alive(reason);
  // Ending the scheduler ends the request that the drainer waits for.
  process->stop();
  drainer.join();
  if (failed) {
    spdlog::critical("the agent ends: {}", reason);
    return 1;
  }
  spdlog::info("agent {} has ended", settings.name);
  return 0;
}

} // namespace davit
