#include "cli/embedded.hpp"

#include "cli/print.hpp"
#include "cli/task_flags.hpp"
#include "store/private_files.hpp"
#include "transport/endpoint.hpp"

#include <spdlog/spdlog.h>

#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <thread>
#include <unistd.h>

namespace davit {

/// Holds a lock for as long as this process lives, so that its successors can see whether it does.
class liveness_lock {
public:
  liveness_lock(const std::filesystem::path& folder, const std::string& name)
    : path_((folder / (name + ".alive")).string()) {
    // Locked before it has the name that others look for.
    auto unborn = path_ + ".new";
    fd_ = ::open(unborn.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0)
      ::rename(unborn.c_str(), path_.c_str());
  }
  ~liveness_lock() {
    ::unlink(path_.c_str());
    ::close(fd_);
  }
  liveness_lock(const liveness_lock&) = delete;
  liveness_lock& operator=(const liveness_lock&) = delete;

  /// The names of those that died without a farewell. Each is told to one caller alone.
  static std::vector<std::string> dead(const std::filesystem::path& folder) {
    std::vector<std::string> names;
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator{folder, ec}) {
      if (entry.path().extension() != ".alive")
        continue;
      auto fd = ::open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
      if (fd < 0)
        continue;
      if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::unlink(entry.path().c_str()) == 0)
        names.push_back(entry.path().stem().string());
      ::close(fd);
    }
    return names;
  }

private:
  std::string path_;
  int fd_ = -1;
};

namespace {

std::filesystem::path state_folder() {
  if (auto text = std::getenv("XDG_STATE_HOME"); text && *text)
    return std::filesystem::path{text} / "davit";
  if (auto home = std::getenv("HOME"); home && *home)
    return std::filesystem::path{home} / ".local/state/davit";
  usage("neither XDG_STATE_HOME nor HOME is set: the embedded agent has no place for its store; set one of them");
}

/// Where docker's own command line has its credentials; empty if there is no such file.
std::filesystem::path docker_config_file() {
  std::filesystem::path file;
  if (auto text = std::getenv("DOCKER_CONFIG"); text && *text)
    file = std::filesystem::path{text} / "config.json";
  else if (auto home = std::getenv("HOME"); home && *home)
    file = std::filesystem::path{home} / ".docker/config.json";
  std::error_code ec;
  return std::filesystem::exists(file, ec) ? file : std::filesystem::path{};
}

} // namespace

embedded_agent::embedded_agent() {
  hide_memory();
  auto folder = state_folder();
  std::error_code ec;
  std::filesystem::create_directories(folder.parent_path(), ec);
  store::make_private_folder(folder); // the agent says what is wrong with it
  auto name = "run-" + to_string(uuid::make_v7());
  auto socket = folder / (name.substr(name.size() - 12) + ".sock");
  auto config = read_configuration("", {"--davit.agent.name=\"" + name + "\"",
                                        "--davit.agent.data-dir=\"" + folder.string() + "\"",
                                        "--davit.api.listen=\"unix://" + socket.string() + "\"",
                                        "--davit.store.url=\"sqlite://" + (folder / "davit.db").string() + "\""});
  // Who may speak to the engine may give a container its host's network anyway.
  config.agent.policy.networks_allow = {"none", "bridge", "host"};
  if (!config.mistakes.empty())
    usage(config.mistakes.front().text());
  config.agent.private_tasks = true;
  for (auto& engine : config.agent.engines) // nothing comes after this task
    engine.sandboxes = engine.images_ahead = 0;
  config.agent.docker_config = docker_config_file();
  config.agent.dead_agents = liveness_lock::dead(folder);
  alive_ = std::make_unique<liveness_lock>(folder, name);
  spdlog::set_level(spdlog::level::critical);
  auto parsed = transport::parse_endpoint("unix://" + socket.string());
  if (!parsed)
    usage(parsed.error().message + " (set XDG_STATE_HOME to a shorter path)");
  where_ = *parsed;
  std::string error;
  process_ = agent_process::start(std::move(config), error);
  if (!process_)
    throw command_failure{error};
}

embedded_agent::~embedded_agent() = default;

void await_engine(api_client& client, duration limit) {
  // Of an engine that is silent nothing is known but that.
  auto silent
    = transport::engine_from_environment([](const char* name) -> const char* { return std::getenv(name); }).endpoint
    + " has not answered within " + format_duration(limit);
  auto until = std::chrono::steady_clock::now() + limit;
  while (true) {
    auto text = client.call("GET", "/v1/engines");
    json::parser parser;
    std::string why;
    for (auto one : list_at(parse(parser, text), "engines")) {
      if (text_at(one, "state") == "ready")
        return;
      auto message = text_at(one, "message");
      why += (why.empty() ? "" : "; ") + (message.empty() ? silent : message);
    }
    if (std::chrono::steady_clock::now() > until)
      throw command_failure{"no engine is ready: " + why + " (DOCKER_HOST names another)"};
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
}

} // namespace davit
