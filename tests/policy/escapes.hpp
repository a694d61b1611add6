// Ways from a container to its host, each as fields of a task spec and the rule that refuses it.
#pragma once

#include <string>
#include <vector>

namespace davit::test {

struct row {
  std::string fields;
  std::string rule;
};

inline std::string json_text(const std::string& text) {
  return '"' + text + '"';
}

inline std::string bind_of(const std::string& source) {
  return R"("mounts":[{"type":"bind","source":")" + source + R"(","target":"/m"}])";
}

/// Refused by baseline; allowed by privileged unless `never`.
struct table {
  std::vector<row> wide, never;
};

inline table hostile() {
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
    for (const std::string& written : {name, "CAP_" + name, std::string{"cap_"} + name, "Cap_" + name}) {
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

} // namespace davit::test
