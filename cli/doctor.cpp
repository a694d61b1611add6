#include "cli/doctor.hpp"

#include "cli/containers_folder.hpp"
#include "transport/engine_client.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <net/if.h>

namespace davit {

namespace {

using namespace std::chrono_literals;

/// The smallest MTU of this host's interfaces besides loopback; 0 if there is none.
int smallest_mtu() {
  int least = 0;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator{"/sys/class/net", ec}) {
    auto name = entry.path().filename().string();
    int mtu = 0;
    if (name == "lo" || name.starts_with("docker") || name.starts_with("veth") || name.starts_with("br-"))
      continue;
    if (std::ifstream{entry.path() / "mtu"} >> mtu && mtu >= 576 && (least == 0 || mtu < least))
      least = mtu;
  }
  return least;
}

} // namespace

std::vector<finding> examine(const engine_settings& engine) {
  std::vector<finding> list;
  auto add = [&](std::string check, std::string verdict, std::string detail, std::string fix = {}) {
    list.push_back({engine.name, std::move(check), std::move(verdict), std::move(detail), std::move(fix)});
  };
  auto where = transport::endpoint_of(engine);
  if (!where) {
    add("reachable", "failed", where.error().message, "correct the endpoint in the configuration");
    return list;
  }
  boost::asio::io_context context{1};
  auto client = std::make_shared<transport::engine_client>(context, *where);
  transport::result<engine_info> info;
  transport::result<std::vector<container_summary>> containers;
  auto begun = std::chrono::system_clock::now();
  boost::asio::co_spawn(
    client->executor(),
    [&]() -> transport::awaitable<void> {
      transport::call_options options;
      options.until = transport::within(10s);
      info = co_await client->connect(options);
      if (info && !engine.log_files.empty())
        containers = co_await client->list_containers({}, options);
    },
    transport::rethrow_escaped);
  context.run();
  if (!info) {
    std::string fix = "check that the engine runs and that the endpoint is correct";
    switch (info.error().code) {
      case engine_errc::permission:
        fix = "give davit the socket's group, as the message says";
        break;
      case engine_errc::tls:
        fix = "compare tls-ca, tls-certificate and tls-key with the engine's --tlscacert, --tlscert and --tlsverify";
        break;
      case engine_errc::version:
        fix = "upgrade whichever is older";
        break;
      default:
        break;
    }
    add("reachable", "failed", info.error().message, fix);
    return list;
  }
  add("reachable", "ok", transport::to_string(*where) + " is engine " + info->id + ", version " + info->version);
  if (!where->is_unix() && !where->tls)
    add("tls", "warning",
        "there is no TLS: anyone who reaches " + transport::to_string(*where) + " controls the engine and its host",
        "start the engine with --tlsverify on port 2376, and set tls-ca, tls-certificate and tls-key");
  add("api", "ok", "the engine offers API " + info->api_range + ", davit speaks " + info->api_version);
  auto has_local = std::find(info->log_drivers.begin(), info->log_drivers.end(), "local") != info->log_drivers.end();
  if (has_local)
    add("log-driver", "ok", "logs can be read (driver local)");
  else
    add("log-driver", "failed", "the engine has no log driver \"local\", which davit uses for its containers",
        "upgrade the engine: Docker has it since 18.09");
  if (!engine.log_files.empty())
    list.push_back(judge_containers_folder(engine, info->data_root, containers));
  add("cgroup", info->cgroup_version.empty() ? "warning" : "ok",
      "cgroup version " + (info->cgroup_version.empty() ? "not told" : info->cgroup_version));
  if (info->memory_limit && info->pids_limit)
    add("limits", "ok", "memory and process limits are enforced");
  else
    add("limits", "failed", std::string{"the engine can't limit "} + (info->memory_limit ? "processes" : "memory"),
        "give the engine the cgroup controllers memory and pids (in a container: --cgroupns host, or delegation)");
  if (info->live_restore)
    add("live-restore", "ok", "containers outlive the engine's restart");
  else
    add("live-restore", "warning", "running tasks end as engine_lost when the engine restarts",
        "start the engine with --live-restore");
  if (where->is_unix() || where->host == "127.0.0.1" || where->host == "localhost") {
    std::error_code ec;
    auto space = std::filesystem::space(info->data_root, ec);
    if (!ec && space.capacity != 0) {
      auto percent = space.available * 100 / space.capacity;
      auto unit = space.available >> 30 != 0 ? 30 : 20; // whole GiB, or MiB if there is no more
      auto text = to_string(byte_size{space.available >> unit << unit}) + " (" + std::to_string(percent)
                + " %) free at " + info->data_root;
      if (percent < 10)
        add("disk", "warning", text, "docker system prune, or a larger disk");
      else
        add("disk", "ok", text);
    }
  }
  if (auto mtu = smallest_mtu(); mtu != 0 && mtu < 1500)
    add("mtu", "warning",
        "this host's network has MTU " + std::to_string(mtu) + ", Docker's networks use 1500 by default",
        "start the engine with --mtu=" + std::to_string(mtu));
  else
    add("mtu", "ok", "no interface is below 1500");
  if (info->system_time) {
    auto now = std::chrono::system_clock::now();
    auto skew = *info->system_time < begun ? begun - *info->system_time
              : *info->system_time > now   ? *info->system_time - now
                                           : 0ns;
    auto text = "the engine's clock differs by " + format_duration(std::chrono::duration_cast<duration>(skew));
    if (skew > 2s)
      add("clock", "warning", text, "synchronise both clocks (NTP)");
    else
      add("clock", "ok", text);
  }
  return list;
}

} // namespace davit
