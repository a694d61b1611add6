// Every way from a container to its host that Docker's API offers, as far as a task spec can ask for it: refused by
// baseline, by name. And what continuous integration asks for every day: allowed. Sources: the Engine API's HostConfig
// (v1.47), Kubernetes' Pod Security Standards, the rules of public policy plugins for Docker and Kubernetes.
#include "json/read.hpp"
#include "policy/placement.hpp"
#include "policy/policy.hpp"

#include <catch2/catch_test_macros.hpp>

#include <set>

using namespace davit;

namespace {

task_spec spec_of(const std::string& fields) {
  auto text = "{\"image\":\"alpine:3\"" + (fields.empty() ? "" : "," + fields) + "}";
  auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
  INFO(text << (spec ? std::string{} : spec.error().text()));
  REQUIRE(spec.has_value());
  return *spec;
}

std::set<std::string> rules_broken(policy_profile profile, const task_spec& spec) {
  std::set<std::string> rules;
  for (const auto& one : check_profile(profile, spec)) {
    CHECK_FALSE(one.field.empty());
    CHECK_FALSE(one.message.empty());
    rules.insert(one.rule);
  }
  return rules;
}

struct row {
  std::string fields;
  std::string rule;
};

std::string json_text(const std::string& text) {
  return '"' + text + '"';
}

std::string bind_of(const std::string& source) {
  return R"("mounts":[{"type":"bind","source":")" + source + R"(","target":"/m"}])";
}

/// Refused by baseline; allowed by privileged unless `never`.
struct table {
  std::vector<row> wide, never;
};

table hostile() {
  table all;
  auto& wide = all.wide;
  auto& never = all.never;
  wide.push_back({R"("privileged":true)", "privileged"});
  // Capabilities: every one of capabilities(7) that is not a container's own, in each way to write it; and all of them.
  for (std::string name : {"ALL",
                           "AUDIT_CONTROL",
                           "AUDIT_READ",
                           "BLOCK_SUSPEND",
                           "BPF",
                           "CHECKPOINT_RESTORE",
                           "DAC_READ_SEARCH",
                           "IPC_LOCK",
                           "IPC_OWNER",
                           "LEASE",
                           "LINUX_IMMUTABLE",
                           "MAC_ADMIN",
                           "MAC_OVERRIDE",
                           "NET_ADMIN",
                           "NET_BROADCAST",
                           "NET_RAW",
                           "PERFMON",
                           "SYSLOG",
                           "SYS_ADMIN",
                           "SYS_BOOT",
                           "SYS_MODULE",
                           "SYS_NICE",
                           "SYS_PACCT",
                           "SYS_PTRACE",
                           "SYS_RAWIO",
                           "SYS_RESOURCE",
                           "SYS_TIME",
                           "SYS_TTY_CONFIG",
                           "WAKE_ALARM"})
    for (std::string written : {name, "CAP_" + name, std::string{"cap_"} + name, "Cap_" + name}) {
      wide.push_back({R"("cap_add":[")" + written + R"("])", "capabilities"});
      wide.push_back({R"("cap_add":["CHOWN",")" + written + R"("],"cap_drop":["ALL"])", "capabilities"});
    }
  std::string lower = "sys_admin";
  wide.push_back({R"("cap_add":[")" + lower + R"("])", "capabilities"});
  // The host's files.
  for (std::string path : {"/etc",
                           "/etc/shadow",
                           "/root",
                           "/root/.ssh",
                           "/home",
                           "/boot",
                           "/lib/modules",
                           "/sys",
                           "/sys/fs/cgroup",
                           "/sys/kernel/debug",
                           "/dev",
                           "/dev/sda",
                           "/dev/mem",
                           "/dev/kmsg",
                           "/var/lib/docker",
                           "/var/lib/docker/overlay2",
                           "/var/lib/containerd",
                           "/var/lib/kubelet",
                           "/var/lib/davit",
                           "/var/log",
                           "/etc/cron.d",
                           "/etc/systemd/system",
                           "/usr/bin",
                           "/tmp",
                           "/mnt",
                           "/opt",
                           "/srv",
                           "/etc/docker",
                           "/etc/kubernetes",
                           "/var/spool/cron",
                           "/lib/systemd",
                           "/etc/ld.so.preload",
                           "/usr/sbin/runc",
                           "/cgroup",
                           "/host"})
    wide.push_back({bind_of(path), "mounts.bind"});
  wide.push_back({R"("mounts":[{"type":"bind","source":"/etc","target":"/m","read_only":true}])", "mounts.bind"});
  // The engine's own socket, or what holds it, in every way to write it.
  for (std::string path : {"/",
                           "//",
                           "/.",
                           "/./",
                           "/var",
                           "/var/",
                           "/var/run",
                           "/run",
                           "/run/",
                           "//run",
                           "/run/.",
                           "/var/../run",
                           "/etc/..",
                           "/etc/../",
                           "/var/run/docker.sock",
                           "/run/docker.sock",
                           "/run//docker.sock",
                           "/run/./docker.sock",
                           "/var/run/../run/docker.sock",
                           "/tmp/../run/docker.sock",
                           "/run/containerd",
                           "/run/containerd/containerd.sock",
                           "/run/docker",
                           "/run/docker/containerd/containerd.sock",
                           "/var/run/docker/metrics.sock",
                           "/run/podman",
                           "/run/podman/podman.sock",
                           "/run/user",
                           "/run/crio/crio.sock",
                           "/var/run/crio",
                           "/run/cri-dockerd.sock",
                           "/var/run/dockershim.sock",
                           "/run/buildkit/buildkitd.sock",
                           "/proc",
                           "/proc/1/root",
                           "/proc/1/root/run",
                           "/proc/self/root",
                           "/custom/docker.sock",
                           "/var/run/docker.sock/",
                           "/home/x/docker.sock.bak"})
    (path == "/var/run/docker/metrics.sock" ? wide : never)
      .push_back({bind_of(path), path == "/var/run/docker/metrics.sock" ? "mounts.bind" : "mounts.engine-socket"});
  for (std::string path : {"", "etc", "../etc", "~/.ssh", "C:\\\\", "\\\\\\\\.\\\\pipe\\\\docker_engine"})
    never.push_back({bind_of(path), "mounts.source"});
  // A volume whose name is a path is a bind by another name.
  for (std::string name : {"/", "/etc", "./etc", "../etc", "a/../../etc", ".", "..", "-v", "a b", "a:b", "a\\nb",
                           "/run/docker.sock", "C:\\\\"})
    never.push_back({R"("mounts":[{"type":"volume","source":")" + name + R"(","target":"/m"}])", "mounts.volume-name"});
  never.push_back({R"("mounts":[{"type":"tmpfs","source":"/etc","target":"/m"}])", "mounts.tmpfs"});
  for (std::string target : {"", "m", "/", "//", "/.", "/m/..", "/m/../", "/a/../../etc", "../m", "/m/../../../proc"})
    never.push_back({R"("mounts":[{"type":"volume","source":"v","target":")" + target + R"("}])", "mounts.target"});
  for (std::string target : {"/proc", "/proc/sys", "/proc/", "/proc/sysrq-trigger", "/proc/./kcore", "//proc", "/sys",
                             "/sys/fs/cgroup", "/sys/firmware", "/proc/self/attr"})
    for (std::string type : {"volume", "tmpfs"})
      wide.push_back({R"("mounts":[{"type":")" + type + R"(","target":")" + target + R"("}])", "mounts.target"});
  // Devices.
  for (std::string device : {"/dev/sda",         "/dev/sda:/dev/sda", "/dev/sda:/dev/xvda:r",
                             "/dev/mem",         "/dev/kmem",         "/dev/port",
                             "/dev/kvm",         "/dev/fuse",         "/dev/nvme0n1",
                             "/dev/vda1:/d:rwm", "/dev/net/tun",      "/dev/dri",
                             "/dev/kmsg",        "/dev/mapper/root",  "/dev/loop-control",
                             "/dev/loop0",       "/dev/snd",          "/dev/vfio/vfio",
                             "/dev/uinput",      "/dev/bus/usb"})
    wide.push_back({R"("devices":[")" + device + R"("])", "devices"});
  for (std::string device : {"", "sda", "/etc/shadow", "/dev/../etc/shadow", "/dev/a/../../etc", "/dev/sda:x",
                             "/dev/sda:/d:rwx", "/", "/dev/", "vendor.com/class=gpu"})
    never.push_back({R"("devices":[")" + device + R"("])", "devices"});
  // Namespaces.
  for (std::string field : {"pid", "ipc", "uts", "userns_mode", "cgroup"})
    for (std::string value :
         {"host", "container:abc", "container:davit", "HOST", "shareable", "ns:/proc/1/ns/net", " host", "service:x"})
      wide.push_back({json_text(field) + ":" + json_text(value), "namespaces." + field});
  for (std::string value : {"host", "container:abc", "container:", "ns:/proc/1/ns/net"})
    wide.push_back({R"("network":)" + json_text(value), "network"});
  for (std::string value : {"/", "/system.slice", "docker", "../..", "/kubepods"})
    wide.push_back({R"("cgroup_parent":)" + json_text(value), "cgroup-parent"});
  // Security options.
  for (std::string value : {"seccomp=unconfined",
                            "seccomp:unconfined",
                            "seccomp={}",
                            "seccomp=/tmp/all.json",
                            "seccomp={\\\"defaultAction\\\":\\\"SCMP_ACT_ALLOW\\\"}",
                            "apparmor=unconfined",
                            "apparmor:unconfined",
                            "apparmor=",
                            "apparmor=mine",
                            "label=disable",
                            "label:disable",
                            "label=type:spc_t",
                            "label=type:container_runtime_t",
                            "label=user:root",
                            "label=level:s0",
                            "systempaths=unconfined",
                            "no-new-privileges=false",
                            "no-new-privileges:false",
                            "credentialspec=file://x",
                            "writable-cgroups=true",
                            "",
                            "unknown",
                            "SECCOMP=unconfined",
                            "seccomp =unconfined"})
    wide.push_back({R"("security_opt":[")" + value + R"("])", "security-opt"});
  // Kernel parameters that are the host's, or not safe.
  for (std::string name : {"kernel.core_pattern",
                           "kernel.modprobe",
                           "kernel.panic",
                           "kernel.sysrq",
                           "kernel.shmmax",
                           "kernel.msgmax",
                           "kernel.sem",
                           "kernel.randomize_va_space",
                           "kernel.yama.ptrace_scope",
                           "kernel.unprivileged_bpf_disabled",
                           "kernel.dmesg_restrict",
                           "kernel.hostname",
                           "kernel.domainname",
                           "fs.mqueue.queues_max",
                           "fs.suid_dumpable",
                           "fs.file-max",
                           "fs.binfmt_misc.register",
                           "vm.overcommit_memory",
                           "vm.swappiness",
                           "vm.panic_on_oom",
                           "vm.drop_caches",
                           "net.ipv4.ip_forward",
                           "net.ipv4.conf.all.route_localnet",
                           "net.core.somaxconn",
                           "net.core.bpf_jit_enable",
                           "net.ipv6.conf.all.forwarding",
                           "net.ipv4.tcp_rmem",
                           "user.max_user_namespaces",
                           "kernel/core_pattern",
                           "net/ipv4/ip_forward",
                           "dev.cdrom.info"})
    wide.push_back({R"("sysctls":{)" + json_text(name) + R"(:"1"})", "sysctls"});
  for (std::string name :
       {"", "kernel", "../kernel.panic", "kernel.panic=1", "kernel..x", "KERNEL.panic", "kernel.panic\\n"})
    never.push_back({R"("sysctls":{)" + json_text(name) + R"(:"1"})", "sysctls"});
  for (std::string name : {"nice", "rtprio", "rttime", "msgqueue"})
    wide.push_back({R"("ulimits":{)" + json_text(name) + R"(:"-1"})", "ulimits"});
  for (std::string value : {R"("nofile":"many")", R"("nofile":"1:2:3")", R"("nofile":"")", R"("nofiles":"1")",
                            R"("NOFILE":"1")", R"("nofile":"1;2")"})
    never.push_back({R"("ulimits":{)" + value + "}", "ulimits"});
  for (std::string value :
       {"runc", "runsc", "nvidia", "kata", "sysbox-runc", "io.containerd.runc.v2", "../runc", "youki"})
    wide.push_back({R"("runtime":)" + json_text(value), "runtime"});
  for (std::string value : {"host:host-gateway", "host.docker.internal:host-gateway", "a=host-gateway"})
    wide.push_back({R"("extra_hosts":[)" + json_text(value) + "]", "extra-hosts"});
  for (std::string value : {"", "a", ":1.2.3.4", "a:", "a b:1.2.3.4"})
    never.push_back({R"("extra_hosts":[)" + json_text(value) + "]", "extra-hosts"});
  for (std::string value : {"", "name server", "8.8.8.8,1.1.1.1", "8.8.8.8\\noptions x"})
    never.push_back({R"("dns":[)" + json_text(value) + "]", "dns"});
  for (std::string value :
       {"a b", "-a", "a.b/c", "a\\nb", "a123456789b123456789c123456789d123456789e123456789f123456789g123456789"})
    never.push_back({R"("hostname":)" + json_text(value), "hostname"});
  // Names of davit's own, by which it knows its containers.
  for (std::string name : {"davit", "davit.task", "davit.attempt", "davit.agent", "davit.fleet", "davit.anything"}) {
    never.push_back({R"("labels":{)" + json_text(name) + R"(:"x"})", "labels.reserved"});
    if (name != "davit")
      never.push_back({R"("engine":{"labels":[)" + json_text(name + "=privileged") + "]}", "labels.reserved"});
  }
  for (std::string name : {"", "CAP SYS", "CAP-ADMIN", "x", "CAP_;"})
    never.push_back({R"("cap_add":[)" + json_text(name) + "]", "capabilities"});
  return all;
}

} // namespace

TEST_CASE("hundreds of ways from a container to its host: baseline refuses each by name, and restricted too") {
  auto all = hostile();
  CHECK(all.wide.size() + all.never.size() > 450);
  for (const auto& one : all.wide) {
    INFO(one.fields);
    auto spec = spec_of(one.fields);
    CHECK(rules_broken(policy_profile::baseline, spec).contains(one.rule));
    CHECK_FALSE(rules_broken(policy_profile::restricted, spec).empty());
    CHECK(rules_broken(policy_profile::privileged, spec).empty());
    CHECK(least_profile(spec) == policy_profile::privileged);
  }
  for (const auto& one : all.never) {
    INFO(one.fields);
    auto spec = spec_of(one.fields);
    for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged})
      CHECK(rules_broken(profile, spec).contains(one.rule));
    CHECK_FALSE(least_profile(spec));
  }
}

TEST_CASE("fields of the engine's API that a task spec does not have are refused by their names") {
  for (std::string field : {"Privileged",
                            "HostConfig",
                            "Binds",
                            "VolumesFrom",
                            "volumes_from",
                            "Mounts",
                            "CapAdd",
                            "PidMode",
                            "IpcMode",
                            "UTSMode",
                            "UsernsMode",
                            "CgroupnsMode",
                            "CgroupParent",
                            "SecurityOpt",
                            "NetworkMode",
                            "Devices",
                            "DeviceRequests",
                            "device_requests",
                            "DeviceCgroupRules",
                            "device_cgroup_rules",
                            "OomKillDisable",
                            "oom_kill_disable",
                            "OomScoreAdj",
                            "oom_score_adj",
                            "Sysctls",
                            "Ulimits",
                            "Runtime",
                            "AutoRemove",
                            "RestartPolicy",
                            "restart",
                            "PublishAllPorts",
                            "PortBindings",
                            "ports",
                            "Links",
                            "VolumeDriver",
                            "volume_driver",
                            "MaskedPaths",
                            "masked_paths",
                            "ReadonlyPaths",
                            "LogConfig",
                            "logging",
                            "Isolation",
                            "StorageOpt",
                            "storage_opt",
                            "Init",
                            "ContainerIDFile",
                            "GroupAdd",
                            "NetworkingConfig",
                            "MacAddress",
                            "mac_address",
                            "Healthcheck",
                            "healthcheck",
                            "BlkioDeviceReadBps",
                            "CpusetCpus",
                            "KernelMemory",
                            "MemorySwap",
                            "PidsLimit",
                            "Annotations",
                            "volumes",
                            "build",
                            "env_file",
                            "expose",
                            "gpus"}) {
    auto text = "{\"image\":\"a\",\"" + field + "\":null}";
    INFO(text);
    auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
    REQUIRE_FALSE(spec.has_value());
    CHECK(spec.error().text().starts_with(field + ": unknown field"));
  }
}

TEST_CASE(
  "what continuous integration asks for every day is allowed by baseline, and what needs no root by restricted") {
  for (std::string fields :
       {R"("command":["make","test"])",
        R"("command":["sh","-c","apt-get update && apt-get install -y curl"])",
        R"("entrypoint":["/bin/bash","-eo","pipefail"],"command":["-c","true"])",
        R"("env":{"CI":"true","GITHUB_TOKEN":"x","PATH":"/usr/bin"})",
        R"("workdir":"/builds/group/project")",
        R"("user":"0")",
        R"("user":"root")",
        R"("user":"node")",
        R"("user":"1000:1000")",
        R"("network":"bridge")",
        R"("network":"none")",
        R"("mounts":[{"type":"volume","source":"m2-cache","target":"/root/.m2"}])",
        R"("mounts":[{"type":"volume","target":"/cache"}])",
        R"("mounts":[{"type":"tmpfs","target":"/tmp","size":"1g"}])",
        R"("mounts":[{"type":"volume","source":"go.mod_cache-1","target":"/go/pkg/mod","read_only":true}])",
        R"("mounts":[{"type":"tmpfs","target":"/dev/shm"}])",
        R"("mounts":[{"type":"tmpfs","target":"/run"}])",
        R"("mounts":[{"type":"volume","source":"vol","target":"/process/data"}])",
        R"("resources":{"cpus":2,"memory":"4g","pids":4096,"shm":"1g"})",
        R"("tty":true)",
        R"("stdin":"data")",
        R"("timeout":"1h","retry":{"attempts":2})",
        R"("labels":{"team":"web","com.example.job":"7"})",
        R"("labels":{"davits":"x","mydavit.x":"y"})",
        R"("cap_drop":["ALL"])",
        R"("cap_drop":["NET_RAW","MKNOD"])",
        R"("cap_add":["CHOWN","CAP_SETUID","setgid"])",
        R"("cap_add":["NET_BIND_SERVICE"])",
        R"("read_only":true)",
        R"("read_only":false)",
        R"("security_opt":["no-new-privileges"])",
        R"("security_opt":["apparmor=docker-default","no-new-privileges:true"])",
        R"("pid":"private")",
        R"("ipc":"private")",
        R"("ipc":"none")",
        R"("cgroup":"private")",
        R"("ulimits":{"nofile":"65536:65536"})",
        R"("ulimits":{"nofile":"1024","core":"0","stack":"-1:-1"})",
        R"("group_add":["docker","0","27"])",
        R"("sysctls":{"net.ipv4.ip_unprivileged_port_start":"0","net.ipv4.ping_group_range":"0 2147483647"})",
        R"("extra_hosts":["db:10.0.0.5","api.test:127.0.0.1","v6:::1"])",
        R"("dns":["8.8.8.8","2001:4860:4860::8888"])",
        R"("hostname":"builder-1")",
        R"("pull":"always")",
        R"("engine":{"labels":["dind","gpu"]})",
        R"("validator":{"type":"outputRegex","regex":"OK"})",
        R"("profile":"restricted")"}) {
    INFO(fields);
    CHECK(rules_broken(policy_profile::baseline, spec_of(fields)).empty());
  }
  for (std::string fields : {"", R"("command":["make","test"])", R"("user":"1000")", R"("user":"1000:1000")",
                             R"("cap_add":["NET_BIND_SERVICE"])", R"("read_only":true)", R"("network":"bridge")",
                             R"("group_add":["100"])"}) {
    INFO(fields);
    CHECK(rules_broken(policy_profile::restricted, spec_of(fields)).empty());
  }
  for (auto [fields, rule] : std::vector<row>{{R"("user":"0")", "user"},
                                              {R"("user":"root")", "user"},
                                              {R"("user":"node")", "user"},
                                              {R"("user":"00")", "user"},
                                              {R"("user":"0:1000")", "user"},
                                              {R"("user":"1000:0")", "user"},
                                              {R"("user":"1000:root")", "user"},
                                              {R"("user":"+0")", "user"},
                                              {R"("user":"1000:00")", "user"},
                                              {R"("user":"0x0")", "user"},
                                              {R"("read_only":false)", "read-only"},
                                              {R"("cap_add":["CHOWN"])", "capabilities"},
                                              {R"("group_add":["0"])", "group-add"},
                                              {R"("group_add":["00"])", "group-add"},
                                              {R"("group_add":["disk"])", "group-add"}}) {
    INFO(fields);
    CHECK(rules_broken(policy_profile::restricted, spec_of(fields)).contains(rule));
    CHECK(least_profile(spec_of(fields)) == policy_profile::baseline);
  }
}

TEST_CASE("restricted fills in what it wants, and says so; a task may name a stricter profile than the engine's, not a "
          "wider one") {
  std::string error;
  auto rules = policy::make({}, error);
  auto spec = spec_of("");
  auto judged = rules->judge(spec, policy_profile::restricted);
  CHECK(judged.violations.empty());
  const auto& made = judged.effective;
  CHECK(made.user == "65534:65534");
  CHECK(made.read_only == true);
  CHECK(made.cap_drop == std::vector<std::string>{"ALL"});
  CHECK(made.network == "none");
  REQUIRE(made.mounts.size() == 1);
  CHECK(made.mounts[0].target == "/tmp");
  std::set<std::string> fields;
  for (const auto& one : judged.additions)
    fields.insert(one.field);
  for (std::string field : {"user", "read_only", "cap_drop", "network", "mounts"})
    CHECK(fields.contains(field));
  spec.profile = policy_profile::restricted;
  spec.user = "root";
  CHECK(rules->judge(spec, policy_profile::privileged).violations.front().rule == "user");
  spec = spec_of(R"("privileged":true,"profile":"privileged")");
  CHECK(rules->judge(spec, policy_profile::baseline).violations.front().rule == "privileged");
  CHECK(rules->judge(spec, policy_profile::privileged).violations.empty());
}

TEST_CASE("an engine is chosen whose profile allows the task; why others are not is told") {
  engine_status engine;
  engine.state = engine_state::ready;
  engine.slots = 1;
  auto wide = spec_of(R"("privileged":true)");
  CHECK(why_not(wide, engine).find("profile baseline") != std::string::npos);
  engine.profile = policy_profile::privileged;
  CHECK(why_not(wide, engine) == "");
  std::vector<engine_settings> engines(2);
  engines[0].labels = {"host"};
  engines[1].labels = {"dind"};
  engines[1].profile = policy_profile::privileged;
  CHECK(widest_profile(engines, policy_profile::baseline, wide) == policy_profile::privileged);
  wide.engine.labels = {"host"};
  CHECK(widest_profile(engines, policy_profile::baseline, wide) == policy_profile::baseline);
  wide.engine.labels = {"none"};
  CHECK(widest_profile(engines, policy_profile::restricted, wide) == policy_profile::restricted);
  std::vector<engine_offer> offers{{"host", "1", labels_of(policy_profile::baseline), 4, 4},
                                   {"dind", "2", labels_of(policy_profile::privileged), 4, 1}};
  CHECK(choose_engine(offers, {label_wanted(spec_of(R"("privileged":true)"))})->name == "dind");
  CHECK(choose_engine(offers, {label_wanted(spec_of(""))})->name == "host");
}

TEST_CASE("an image can be asked for by digest alone") {
  policy_settings settings;
  settings.require_digest = true;
  std::string error;
  auto rules = policy::make(settings, error);
  CHECK(rules->judge(spec_of(""), policy_profile::baseline).violations.front().rule == "images.digest");
  auto spec = spec_of("");
  spec.image = "alpine@sha256:" + std::string(64, 'a');
  CHECK(rules->judge(spec, policy_profile::baseline).violations.empty());
  spec.image = "sha256:" + std::string(64, 'a');
  CHECK(rules->judge(spec, policy_profile::baseline).violations.empty());
}
