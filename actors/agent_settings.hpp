// The settings of an agent: plain values, read once from its configuration.
#pragma once

#include "messages/access.hpp"
#include "messages/engine.hpp"
#include "messages/log.hpp"
#include "messages/units.hpp"
#include "messages/uuid.hpp"
#include "policy/policy.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace davit {

/// How the agents of a fleet reach each other. Certificates are PEM files, and not optional.
struct fleet_settings {
  std::string listen;    ///< host:port; empty: this agent has no peers, and hears of news from the store alone.
  std::string advertise; ///< host:port that others reach it at; empty: as `listen`.
  std::vector<std::string> peers; ///< Beside those that the store names.
  std::string tls_ca, tls_certificate, tls_key;
};

/// Files that tasks take in and give out.
struct file_settings {
  std::string url;                     ///< `s3://bucket/prefix`; empty: a folder in the data directory.
  std::string endpoint;                ///< Of S3, if it is not AWS's.
  std::string region;                  ///< Empty: what AWS's environment says.
  bool path_style = false;             ///< How S3 is asked for the bucket.
  std::string tls_ca;                  ///< PEM file; empty: the system's authorities.
  byte_size quota{50ull << 30};        ///< Per owner.
  duration unused{24LL * 3600 * 1000}; ///< How long what no task uses is kept.
  byte_size most_input{16ull << 30};   ///< Of one tree.
  byte_size most_output{1ull << 30};   ///< Of one output that does not say `max`; and the most that it may say.
  std::uint32_t most_files = 100'000;  ///< In one tree.
  byte_size most_caches{10ull << 30};  ///< Of an owner, all together.
  duration caches_unused{7LL * 24 * 3600 * 1000}; ///< How long a cache that no task begins with is kept.
};

struct log_settings {
  byte_size max_bytes{4ull << 30}; ///< Per attempt; 0: no limit.
  duration in_memory{1000}; ///< How long a log may be in memory alone. If its agent is killed meanwhile, it is read
                            ///< from the engine again.
  std::vector<sink_settings> sinks;
};

/// The `davit` group of the configuration (docs/configuration.md tells what each means). What the members begin with
/// are the options' defaults.
struct agent_settings {
  std::string name;
  std::filesystem::path data_dir{"/var/lib/davit"};
  bool private_tasks = false; ///< Runs the tasks that it accepted itself and no others.
  /// Agents that will never come back: their tasks are cancelled, their containers removed.
  std::vector<std::string> dead_agents;
  duration drain_timeout{600'000};
  std::string drain_action = "leave";          ///< What happens to tasks that still run then: "leave" or "stop".
  std::string log_format = "text";             ///< Of what the agent itself has to say: "text" or "json".
  duration retention{30LL * 24 * 3600 * 1000}; ///< Of finished tasks and their logs; 0: for ever.
  byte_size min_free_disk{256ull << 20};       ///< With less in the data directory, nothing is claimed.
  std::string store_url;
  std::vector<std::string> api_listen{"127.0.0.1:7300"};
  access_settings access;
  std::string fleet = "default";
  bool shared_store = false; ///< Found out at the start: other agents may work with the store.
  duration lease{20'000};    ///< How long after an agent's last heartbeat others take over its attempts.
  uuid home;                 ///< Of the data directory.
  fleet_settings peers;
  placement_rules placement;
  std::filesystem::path secrets_key;   ///< File; empty: secrets.key in the data directory.
  std::filesystem::path signing_key;   ///< File; empty: signing.key in the data directory.
  std::filesystem::path docker_config; ///< A docker config.json with registry credentials; empty: none.
  duration pull_timeout{1'800'000};
  std::vector<engine_settings> engines;
  policy_settings policy;
  log_settings logs;
  file_settings files;

  std::filesystem::path secrets_key_file() const {
    return secrets_key.empty() ? data_dir / "secrets.key" : secrets_key;
  }
  std::filesystem::path signing_key_file() const {
    return signing_key.empty() ? data_dir / "signing.key" : signing_key;
  }
  std::filesystem::path log_folder() const { return data_dir / "logs"; }
  std::filesystem::path blob_folder() const { return data_dir / "blobs"; }
};

} // namespace davit
