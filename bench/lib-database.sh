# Sourced by benches after scripts/lib/setup.sh: a PostgreSQL of their own, that ends with the script.
work=$(mktemp -d /tmp/davit-bench-XXXXXX)
pids=()
stop_all() {
  local one
  for one in "${pids[@]}"; do kill -9 "$one" 2>/dev/null && wait "$one" 2>/dev/null || true; done
  su postgres -s /bin/sh -c "/usr/lib/postgresql/15/bin/pg_ctl -D $work/pg -m immediate stop" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap stop_all EXIT
pg() { su postgres -s /bin/sh -c "cd /; $*"; }
url() { echo "postgresql://davit@127.0.0.1:$port/$1"; }
database() { psql -qh 127.0.0.1 -p "$port" -U davit postgres -c "CREATE DATABASE $1" >/dev/null; }

# start_database CONNECTIONS: sets port.
start_database() {
  mkdir "$work/pg"; chown postgres "$work/pg"; chmod 755 "$work"
  port=$((20000 + RANDOM % 20000))
  pg "/usr/lib/postgresql/15/bin/initdb -D $work/pg -A trust -U davit" >/dev/null
  pg "/usr/lib/postgresql/15/bin/pg_ctl -D $work/pg -w -o '-p $port -k $work/pg -c listen_addresses=127.0.0.1 -c max_connections=$1' -l $work/pg/log start" >/dev/null
}
