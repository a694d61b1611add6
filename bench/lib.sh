# Sourced by bench/run and its like: a private engine with busybox:bench, and an agent on it.
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/setup.sh"
. "$davit_top/scripts/lib/engine.sh"

work='' engine_pid='' agent_pid='' namespace=''
stop_all() {
  [ -z "$agent_pid" ] || { kill -9 "$agent_pid" 2>/dev/null && wait "$agent_pid" 2>/dev/null; } || true
  [ -z "$engine_pid" ] || stop_engine "$work/engine" "$engine_pid"
  [ -z "$namespace" ] || ip netns del "$namespace" 2>/dev/null || true
  [ -z "$work" ] || rm -rf "$work"
}

# with_network: the engine to be started gets a network namespace of its own, and in it a network named bench.
with_network() {
  need_packages iproute2
  namespace=davit-bench-$$
  ip netns add "$namespace"
  ip netns exec "$namespace" ip link set lo up
  engine_prefix=(nsenter "--net=/run/netns/$namespace")
}

# start_all SLOTS: sets DOCKER_HOST, DAVIT_HOST, agent_pid, davit.
start_all() {
  need_build_tools
  need_packages "${engine_packages[@]}"
  build release
  davit=$davit_top/build/release/davit
  work=$(mktemp -d /tmp/davit-bench-XXXXXX)
  trap stop_all EXIT
  start_engine "$work/engine"
  export DOCKER_HOST=unix://$work/engine/docker.sock
  [ -z "$namespace" ] || docker network create --subnet 10.213.78.0/24 bench >/dev/null
  make_busybox "$DOCKER_HOST" busybox:bench
  export DAVIT_HOST=127.0.0.1:$((20000 + RANDOM % 10000))
  cat > "$work/davit.conf" <<CONF
davit {
  agent {
    name = "bench"
    data-dir = "$work/data"
  }
  api {
    listen = "$DAVIT_HOST"
  }
  engines {
    bench {
      endpoint = "$DOCKER_HOST"
      slots = $1
      profile = "privileged"
      sandboxes = ${sandboxes:-2}
      prepared-trees = "${prepared_trees:-4g}"
    }
  }
  policy {
    networks {
      default = "none"
      allow = ["none", "bench", "host"]
    }
  }
}
CONF
  start_agent
  local i
  for i in $(seq 100); do "$davit" engines 2>/dev/null | grep -q ready && return 0; sleep 0.1; done
  die "the agent's engine is not ready: $(tail -3 "$work/agent.log")"
}

start_agent() {
  "$davit" agent --config-file="$work/davit.conf" 2>>"$work/agent.log" &
  agent_pid=$!
}

kill_agent() {
  kill -9 "$agent_pid"; wait "$agent_pid" 2>/dev/null || true
}

metric() { curl -s "http://$DAVIT_HOST/metrics" | awk -v n="$1" '$1 == n { print $2 + 0; found = 1 } END { if (!found) print 0 }'; }

# resident KEY: megabytes of the agent (VmRSS, VmHWM).
resident() { awk -v k="$1" '$1 == k":" { printf "%.1f", $2 / 1024 }' "/proc/$agent_pid/status"; }
