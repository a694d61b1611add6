# Sourced by bench/run and its like: a private engine with busybox:bench, and an agent on it.
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/setup.sh"
. "$davit_top/scripts/lib/engine.sh"

work='' engine_pid='' agent_pid=''
stop_all() {
  [ -z "$agent_pid" ] || { kill -9 "$agent_pid" 2>/dev/null && wait "$agent_pid" 2>/dev/null; } || true
  [ -z "$engine_pid" ] || stop_engine "$work/engine" "$engine_pid"
  [ -z "$work" ] || rm -rf "$work"
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
      sandboxes = ${sandboxes:-2}
    }
  }
  policy {
    networks {
      default = "none"
    }
  }
}
CONF
  "$davit" agent --config-file="$work/davit.conf" 2>"$work/agent.log" &
  agent_pid=$!
  local i
  for i in $(seq 100); do "$davit" engines 2>/dev/null | grep -q ready && return 0; sleep 0.1; done
  die "the agent's engine is not ready: $(tail -3 "$work/agent.log")"
}
