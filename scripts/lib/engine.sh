# Sourced: starts private engines, and makes the images that cannot be pulled.

# await_engine DIR: until the engine of engine_pid answers at its socket.
await_engine() {
  local dir=$1 i
  for i in $(seq 300); do
    curl -sf --max-time 2 --unix-socket "$dir/docker.sock" http://docker/_ping >/dev/null 2>&1 && return 0
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 0.1
  done
  tail -5 "$dir/log" >&2
  die "the engine did not start (its log: $dir/log)"
}

# start_engine DIR [ARGS...]: dockerd with all its paths below DIR; sets engine_pid. It has no bridge, so several can run. engine_prefix: words before it, of a program that
# becomes it at last.
engine_prefix=()
start_engine() {
  local dir=$1; shift
  mkdir -p "$dir"
  rm -f "$dir/pid" "$dir/exec/containerd/containerd.pid"
  # Its own id: engines before 25 take it from this key, which else is the machine's.
  printf '{"deprecated-key-path": "%s"}\n' "$dir/key.json" > "$dir/daemon.json"
  ${engine_prefix[@]+"${engine_prefix[@]}"} dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" -H "unix://$dir/docker.sock" -p "$dir/pid" \
    --bridge=none --iptables=false --ip6tables=false --log-level warn "$@" >"$dir/log" 2>&1 &
  engine_pid=$!
  await_engine "$dir"
}

# stop_engine DIR PID: ends it, its containers and its mounts.
stop_engine() {
  local dir=$1 pid=$2 i
  docker -H "unix://$dir/docker.sock" ps -aq 2>/dev/null | xargs -r docker -H "unix://$dir/docker.sock" rm -f >/dev/null 2>&1 || true
  kill "$pid" 2>/dev/null || true
  for i in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
  pkill -9 -f "$dir/exec" 2>/dev/null || true
  grep -o "${dir}[^ ]*" /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
  rm -rf "$dir"
}

# make_busybox HOST NAME: the image NAME with a static busybox and nothing else.
make_busybox() {
  local host=$1 name=$2 root applet
  root=$(mktemp -d)
  mkdir -p "$root/bin" "$root/tmp"
  chmod 1777 "$root/tmp"
  cp /bin/busybox "$root/bin/"
  for applet in $(/bin/busybox --list | grep -vx busybox); do ln -s busybox "$root/bin/$applet"; done
  tar -C "$root" -c . | docker -H "$host" import -c 'CMD ["sh"]' - "$name" >/dev/null
  rm -rf "$root"
}

# need_dind_root: a root file system with Debian trixie's docker.io (26.1), for an engine in a container; made once.
need_dind_root() { need_engine_root trixie; }

# need_engine_root SUITE: the same with the docker.io of another of Debian's suites; sid's is 28 or newer. Sets dind_root.
need_engine_root() {
  local suite=$1
  dind_root=$davit_deps/dind-$suite.tar
  [ -e "$dind_root" ] && return 0
  say "making a file system with the docker.io of $suite (a minute or two, once)"
  local work mirror; work=$(mktemp -d); mirror=$(debian_mirror)
  debootstrap --variant=minbase --include=docker.io,iptables,ca-certificates "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 \
    || { tail -3 "$work/log" >&2; rm -rf "$work"; return 1; }
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/usr/share/{doc,man,locale}
  tar -C "$work/root" -cf "$dind_root.part" . && mv "$dind_root.part" "$dind_root"
  rm -rf "$work"
}

# clear_leftovers: what a test that was killed has left: its processes (they name its folder), mounts, folders and network namespaces.
clear_leftovers() {
  local folder
  for folder in /tmp/davit-test-*; do
    [ -e "$folder" ] || continue
    pkill -9 -f "$folder" 2>/dev/null || true
    grep -o "${folder}[^ ]*" /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
    rm -rf "$folder"
  done
  ip netns list 2>/dev/null | grep -o '^davit-test-[0-9]*' | xargs -r -n1 ip netns del || true
}
