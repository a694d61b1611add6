// Commands, users, images and signals that are to end alike, however their task is started.
#pragma once

#include "fixture/test_engine.hpp"
#include "messages/task.hpp"

#include <string>
#include <vector>

namespace davit::test {

/// One spec, and what is known to be another with docker.
struct same_case {
  std::string name;
  task_spec spec;
  std::vector<std::string> docker; ///< The same, as arguments of `docker run`, before the image.
  /// Why docker's end is not compared (docs/task-spec.md, "Warm, cold and docker run"); empty: it is.
  std::string differs;
};

/// Images with what an image can say: `plain:test`, `entry:test`, `full:test` and `bare:test`.
inline void make_images(const test_engine& engine) {
  auto import = [&](const std::string& changes, const std::string& name) {
    return "tar -C $d -c . | docker -H unix://" + engine.socket() + " import " + changes + " - " + name
         + " >/dev/null && ";
  };
  shell(
    "d=$(mktemp -d) && mkdir -p $d/bin $d/tmp $d/etc $d/home/joe $d/bad/dir $d/vol && chmod 1777 $d/tmp && cp "
    "/bin/busybox $d/bin/ && for a in $(/bin/busybox --list | grep -vx busybox); do ln -sf busybox $d/bin/$a; done && "
    "printf 'root:x:0:0:root:/root:/bin/sh\\njoe:x:12:34:joe:/home/joe:/bin/sh\\n' > $d/etc/passwd && printf "
    "'root:x:0:\\nstaff:x:34:\\nwheel:x:99:joe\\n' > $d/etc/group && "
    "printf 'echo no format\\n' > $d/bad/format && printf '#!/no/such/interpreter\\n' > $d/bad/interpreter && printf "
    "'#!/bad\\n' > $d/bad/folder && printf 'echo' > $d/bad/mode && : > $d/bad/empty && "
    "head -c 5000 /dev/urandom > $d/bad/binary && printf '#!/bin/sh\\necho \"script $*\"; exit 9\\n' > $d/bin/good && "
    "ln -s loop $d/bad/loop && chmod 755 $d/bad/format $d/bad/interpreter $d/bad/folder $d/bad/empty $d/bad/binary "
    "$d/bin/good && "
    "chmod 644 $d/bad/mode && echo kept > $d/vol/file && chown -R 12:34 $d/home/joe && "
    + import("", "plain:test")
    + import(R"(-c 'ENTRYPOINT ["/bin/sh","-c"]' -c 'CMD ["echo from the image; exit 3"]' -c 'ENV A=image B=image')",
             "entry:test")
    + R"(printf 'FROM plain:test\nUSER joe\nWORKDIR /srv/here\nVOLUME /vol\nSTOPSIGNAL SIGUSR1\nHEALTHCHECK CMD false\nONBUILD RUN false\nENV PATH=/bin HOME=/vol\nCMD id; pwd; echo $HOME; ls -ld /vol | cut -c1-43; cat /vol/file\n' | DOCKER_BUILDKIT=0 docker -H unix://)"
    + engine.socket() + " build -q -t full:test - >/dev/null && "
    + "rm -rf $d/bad $d/etc $d/home $d/vol $d/tmp && mkdir $d/one && cp $d/bin/busybox $d/one/echo && rm -rf $d/bin && "
    + import(R"(-c 'ENTRYPOINT ["/one/echo"]')", "bare:test") + "rm -rf $d");
}

inline task_spec on(std::string image, std::vector<std::string> command) {
  task_spec spec;
  spec.image = std::move(image);
  spec.command = std::move(command);
  return spec;
}

inline task_spec script(std::string text) {
  return on("plain:test", {"sh", "-c", std::move(text)});
}

inline std::vector<same_case> all_cases() {
  std::vector<same_case> all;
  auto add = [&](std::string name, task_spec spec, std::vector<std::string> docker = {}, std::string differs = {}) {
    all.push_back({std::move(name), std::move(spec), std::move(docker), std::move(differs)});
  };
  const std::string not_run = "docker run says on stderr what could not be executed, davit as the task's message";
  // -- how a command ends
  for (auto code : {0, 1, 2, 77, 119, 126, 127, 137, 143, 255})
    add("exit " + std::to_string(code), script("echo out; echo err >&2; exit " + std::to_string(code)));
  for (auto signal : {"HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
                      "ALRM", "TERM", "XCPU", "SYS"})
    add(std::string{"ends by SIG"} + signal,
        script(std::string{"echo before; kill -"} + signal + " $$; sleep 1; echo after"));
  add("signals that it ignores",
      script("trap '' TERM HUP PIPE; kill -TERM $$; kill -HUP $$; kill -PIPE $$; echo alive"));
  add("a signal that it catches", script("trap 'echo caught; exit 5' USR1; kill -USR1 $$; sleep 5"));
  add("a child that is killed", script("sh -c 'kill -SEGV $$'; echo $?"));
  add("what it leaves running", script("echo out; (sleep 30; echo never) & exit 4"));
  add("what it leaves, ignoring signals",
      script("(trap '' TERM HUP INT; sleep 30; echo never) & (trap '' TERM; while :; do sleep 1; done) & exit 6"));
  add("zombies", script("for i in 1 2 3 4 5; do (sleep 0.01 &); done; sleep 0.3; ls /proc > /tmp/list; grep -c "
                        "'^[0-9]' /tmp/list; ps -o stat | grep -c Z"));
  {
    auto spec = script("setuidgid joe sleep 40 & sleep 0.1; echo left; exit 3");
    spec.cap_drop = {"KILL"};
    add("leaves a process of a user that it may not kill", spec, {"--cap-drop", "KILL"});
  }
  // -- what can't be executed
  for (auto one : {"no-such-program", "/no/such/program", "/bin/sh/below", "/bad", "/bad/mode", "/bad/loop",
                   "/bad/format", "/bad/interpreter", "/bad/folder", "/bad/empty", "/bad/binary", ""})
    add(std::string{"can't be executed: "} + one, on("plain:test", {one, "argument"}), {}, not_run);
  add("an argument that is too long", on("plain:test", {"echo", std::string(200'000, 'x')}), {}, not_run);
  {
    auto spec = on("plain:test", {"echo"});
    for (int i = 0; i < 30; ++i)
      spec.command.emplace_back(100'000, 'a');
    add("arguments that are too many", spec, {}, not_run);
  }
  add("a script", on("plain:test", {"good", "a", "b c", ""}));
  add("words that look like options of an init", on("plain:test", {"echo", "--", "-n", "run", "x"}));
  add("a folder of the path that is not there",
      [] {
        auto s = on("plain:test", {"good"});
        s.env = {{"PATH", "/none::/bin"}};
        return s;
      }(),
      {"-e", "PATH=/none::/bin"});
  add("an empty path",
      [] {
        auto s = on("plain:test", {"/bin/sh", "-c", "/bin/echo \"$PATH.\""});
        s.env = {{"PATH", ""}};
        return s;
      }(),
      {"-e", "PATH="});
  // -- images
  add("an image's own command", on("entry:test", {}));
  add("a command behind an image's entrypoint", on("entry:test", {"echo $A $B; exit 8"}));
  add(
    "an entrypoint that hides the image's",
    [] {
      auto s = on("entry:test", {"x", "y"});
      s.entrypoint = std::vector<std::string>{"/bin/echo", "-n"};
      return s;
    }(),
    {}, "docker's flag takes one word");
  add("an entrypoint without a command",
      [] {
        auto s = on("entry:test", {});
        s.entrypoint = std::vector<std::string>{"/bin/pwd"};
        return s;
      }(),
      {"--entrypoint", "/bin/pwd"});
  add("an entrypoint that is empty, in place of the image's",
      [] {
        auto s = on("entry:test", {"echo", "alone"});
        s.entrypoint = std::vector<std::string>{};
        return s;
      }(),
      {"--entrypoint", ""});
  add("an entrypoint of one empty word",
      [] {
        auto s = on("entry:test", {"echo", "alone"});
        s.entrypoint = std::vector<std::string>{""};
        return s;
      }(),
      {"--entrypoint", ""});
  add("no command at all", on("plain:test", {}), {}, "docker run says so on stderr");
  add("user, folder, volume, health check, stop signal", on("full:test", {}));
  add("without a shell", on("bare:test", {"bare", "image"}));
  add(
    "without a shell, not found",
    [] {
      auto s = on("bare:test", {});
      s.entrypoint = std::vector<std::string>{"sh"};
      return s;
    }(),
    {"--entrypoint", "sh"}, not_run);
  // -- users
  const std::string who
    = "id; echo \"$HOME\"; pwd; umask; touch /tmp/x && ls -n /tmp/x | cut -d' ' -f1-20 | awk '{print $1,$3,$4}'";
  for (auto user : {"0", "root", "joe", "12", "joe:wheel", "4711", "4711:4712", "0:99", "65534"}) {
    auto spec = script(who);
    spec.user = user;
    add(std::string{"user "} + user, spec, {"--user", user});
  }
  for (auto user : {"nobody-knows", "joe:nobody-knows"}) {
    auto spec = script(who);
    spec.user = user;
    add(std::string{"user "} + user, spec, {"--user", user}, "docker run says so on stderr");
  }
  add("more groups",
      [&] {
        auto s = script(who);
        s.user = "joe";
        s.group_add = {"55"};
        return s;
      }(),
      {"--user", "joe", "--group-add", "55"});
  for (auto home : {"", "/elsewhere"}) {
    auto spec = script("echo \"${HOME-unset}\"; env | grep -c ^HOME=");
    spec.env = {{"HOME", home}};
    add(std::string{"HOME="} + home, spec, {"-e", std::string{"HOME="} + home});
  }
  // -- what it finds
  add("variables",
      [] {
        auto s = script("env | grep -v '^DAVIT' | sort");
        s.env = {{"A", "b c"}, {"EMPTY", ""}, {"LINES_", "1\n2"}, {"HOSTNAME", "mine"}};
        return s;
      }(),
      {"-e", "A=b c", "-e", "EMPTY=", "-e", "LINES_=1\n2", "-e", "HOSTNAME=mine"});
  add("variables of others", script("tr '\\0' '\\n' < /proc/1/environ | grep -c ="), {},
      "docker's init shows the variables to all of the container");
  add("what it writes into all that its init has open",
      script("for f in /proc/1/fd/*; do case $(readlink $f) in pipe:*) [ ${f##*/} -lt 3 ] || { echo open $f; printf "
             "'\\0\\0\\0\\0' > $f; };; esac; done; echo alive; exit 3"));
  for (auto signal : {"HUP",  "INT",  "QUIT", "ILL",  "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1",
                      "SEGV", "PIPE", "ALRM", "TERM", "SYS",  "STOP", "34",  "35",  "40",   "64"})
    add(std::string{"sends its init SIG"} + signal,
        script(std::string{"echo before; /bin/kill -"} + signal + " 1; sleep 0.3; echo after; exit 5"));
  add("its session and its group", script("awk '{print ($5 == $1), $6}' /proc/$$/stat"));
  add("what the init is", script("tr '\\0' ' ' < /proc/1/cmdline | sed 's/ *$//; s/-[0-9a-f]*\\//-.../'"), {},
      "docker has another"); // in a folder of each container's own name
  add("its command, found once",
      script("ps -o args > /tmp/list; grep -c '[u]nusual-mark' /tmp/list; true unusual-mark"), {},
      "docker's init shows the command a second time");
  add("limits",
      [] {
        auto s = script("ulimit -a; ulimit -Hn");
        s.ulimits = {{"nofile", "321:654"}, {"core", "0"}};
        return s;
      }(),
      {"--ulimit", "nofile=321:654", "--ulimit", "core=0"});
  add("files that may have no bytes",
      [] {
        auto s = script("echo hi; echo x > /tmp/f; echo after");
        s.ulimits = {{"fsize", "0"}};
        return s;
      }(),
      {"--ulimit", "fsize=0"});
  add("rights and signals", script("grep -E '^(Cap|NoNewPrivs|Seccomp:|Sig[BIC]|Groups|Uid|Gid)' /proc/self/status"));
  add("rights that were dropped",
      [] {
        auto s = script("grep -E '^Cap' /proc/self/status");
        s.cap_drop = {"ALL"};
        return s;
      }(),
      {"--cap-drop", "ALL"});
  add("open files", script("ls /proc/self/fd | wc -l; readlink /proc/self/fd/0; for i in 1 2; do readlink "
                           "/proc/self/fd/$i | cut -d: -f1; done"));
  add("hosts", script("cat /etc/hosts; ls /sys/class/net; nc -w1 127.0.0.1 1 2>&1 | grep -q refused && echo reached"));
  add(
    "mounts",
    script("awk '{print $2, $3}' /proc/mounts | grep -v -e '^/[.]davit-' -e '^/sbin/docker-init ' -e '^/etc/' | sort"));
  add("devices and what is masked",
      script(
        "ls /dev; cat /proc/kcore 2>&1 | head -c 100; ls -ld /proc/acpi | cut -c1-43; echo x > /proc/sysrq-trigger"));
  add("a root that is read-only",
      [] {
        auto s = script("touch /x; echo $?; touch /dev/shm/x; echo $?");
        s.read_only = true;
        return s;
      }(),
      {"--read-only"});
  add("folders",
      [] {
        auto s = script("pwd; ls -ld . | awk '{print $1,$3,$4}'");
        s.workdir = "/made/for/it";
        s.user = "joe";
        return s;
      }(),
      {"--workdir", "/made/for/it", "--user", "joe"});
  add("shared memory and tmpfs",
      [] {
        auto s = script("df -k /dev/shm | tail -1 | awk '{print $2}'; ls -ld /t | awk '{print $1,$3,$4}'");
        s.resources.shm = byte_size{8u << 20};
        mount t;
        t.type = mount_type::tmpfs;
        t.target = "/t";
        s.mounts = {t};
        return s;
      }(),
      {"--shm-size", "8m", "--mount", "type=tmpfs,target=/t,tmpfs-mode=1777"});
  add(
    "killed for memory",
    [] {
      auto s = script("echo begin; tail /dev/zero; echo $?");
      s.resources.memory = byte_size{16u << 20};
      return s;
    }(),
    {"--memory", "16m", "--memory-swap", "16m"}, "the kernel may choose the shell");
  // -- input and output
  add("input",
      [] {
        auto s = script("wc -c; readlink /proc/self/fd/0 | cut -d: -f1");
        s.stdin_text = std::string(300'000, 'x');
        return s;
      }(),
      {"-i"});
  add(
    "input that is not read",
    [] {
      auto s = script("echo out; exit 2");
      s.stdin_text = std::string(300'000, 'x');
      return s;
    }(),
    {"-i"}, "docker run may end before it has written");
  for (auto length : {16383, 16384, 16385, 20000, 32768, 49153})
    for (auto end : {"", "; echo"})
      add("a last line of " + std::to_string(length) + end,
          script("head -c " + std::to_string(length) + " /dev/zero | tr '\\0' x" + end));
  add("lines without an end in both streams",
      script("printf out; sleep 0.05; printf err >&2; sleep 0.05; printf more"));
  add("bytes of every value", script("i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %o $i)\"; i=$((i+1)); done"));
  add("words as an init may say them",
      script("echo 'davit-init x exited 0 0;'; echo 'davit-init ' >&2; printf 'davit-init'"));
  add("much", on("plain:test", {"head", "-c", "3000000", "/dev/zero"}));
  add("output that it has closed", script("exec >&- 2>&-; sleep 0.2; exit 12"));
  add("output of a child behind its end", script("(sleep 0.2; echo late) & exec >&-; exit 0"));
  return all;
}

} // namespace davit::test
