# Sourced: an engine with a network in a namespace of its own, and stand-ins for the public images that docker-compose.yml names.

# What the image's last stage installs: read from the Dockerfile, so that a library that is missing there is missing here too.
runtime_packages() {
  sed -n '/^FROM debian:12-slim$/,/rm -rf/p' "$davit_top/Dockerfile" | tr '\\\n' '  ' | grep -oE 'recommends .* >/dev/null' | sed 's/recommends //; s/ >.*//'
}

# need_standin_root: a Debian 12 with what davit's image, PostgreSQL and Prometheus need; made once.
need_standin_root() {
  local packages sum
  packages=$(runtime_packages | xargs | tr ' ' ',')
  sum=$(printf %s "$packages" | sha256sum | cut -c1-8)
  standin_root=$davit_deps/standin-bookworm-$sum.tar
  [ -e "$standin_root" ] && return 0
  say "making the file system of the stand-in images (a minute or two, once)"
  local work; work=$(mktemp -d)
  debootstrap --variant=minbase --include="$packages,postgresql-15,prometheus" bookworm "$work/root" "$(debian_mirror)" >"$work/log" 2>&1 \
    || { tail -3 "$work/log" >&2; rm -rf "$work"; return 1; }
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/usr/share/{doc,man,locale} "$work"/root/var/lib/postgresql/15
  tar -C "$work/root" -cf "$standin_root.part" . && mv "$standin_root.part" "$standin_root"
  rm -rf "$work"
}

# start_networked_engine NAMESPACE DIR: dockerd with bridges and published ports, all within the namespace; sets engine_pid.
start_networked_engine() {
  local ns=$1 dir=$2
  ip netns add "$ns" && ip netns exec "$ns" ip link set lo up
  mkdir -p "$dir"
  printf '{"deprecated-key-path": "%s"}\n' "$dir/key.json" > "$dir/daemon.json"
  # nsenter, not `ip netns exec`: that would hide the control groups.
  nsenter --net="/var/run/netns/$ns" dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" -H "unix://$dir/docker.sock" -p "$dir/pid" --log-level warn >"$dir/log" 2>&1 &
  engine_pid=$!
  await_engine "$dir"
}

# make_standin_images DAVIT: the images of docker-compose.yml, under their names, on the engine of DOCKER_HOST.
make_standin_images() {
  local davit=$1 work; work=$(mktemp -d /tmp/davit-test-images-XXXXXX)
  docker import "$standin_root" standin:bookworm >/dev/null
  docker import "$dind_root" standin:trixie >/dev/null
  cp "$davit" "$work/davit"; cp "$davit_top/scripts/setup-fleet" "$davit_top/config/container.conf" "$work/"
  cp /bin/busybox "$work/busybox"; cp "$(command -v docker)" "$work/docker" # Debian 13 has the client in another package
  # davit's: the Dockerfile's last stage, whose packages are in the root already.
  { echo 'FROM standin:bookworm'
    sed -n '/^FROM debian:12-slim$/,$p' "$davit_top/Dockerfile" | tail -n +2 \
      | sed -e '/^RUN apt-get/,/rm -rf/d' -e 's#^ && groupadd#RUN groupadd#' -e 's#COPY --from=build /davit#COPY davit#' -e 's#COPY scripts/setup-fleet#COPY setup-fleet#' -e 's#COPY config/container.conf#COPY container.conf#'
  } > "$work/Dockerfile"
  DOCKER_BUILDKIT=0 docker build -q -t davit:latest "$work" >/dev/null 2>&1 || return 1
  # postgres: the official image's promises that the compose file relies on.
  cat > "$work/postgres.sh" <<'SH'
#!/bin/bash
set -e
bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/data
chown postgres:postgres "$data"; chmod 700 "$data"
mkdir -p /var/run/postgresql; chown postgres:postgres /var/run/postgresql
if [ ! -e "$data/PG_VERSION" ]; then
  su postgres -c "$bin/initdb -D $data -A scram-sha-256 --pwfile=<(printf %s '$POSTGRES_PASSWORD') -U '$POSTGRES_USER' >/dev/null"
  echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
  su postgres -c "$bin/pg_ctl -D $data -o '-c listen_addresses=' -w start >/dev/null"
  su postgres -c "PGPASSWORD='$POSTGRES_PASSWORD' createdb -U '$POSTGRES_USER' '$POSTGRES_DB'"
  su postgres -c "$bin/pg_ctl -D $data -w stop >/dev/null"
fi
exec su postgres -c "exec $bin/postgres -D $data -c listen_addresses='*'"
SH
  printf 'FROM standin:bookworm\nCOPY postgres.sh /postgres.sh\nENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin\nENTRYPOINT ["/bin/bash", "/postgres.sh"]\n' > "$work/Dockerfile"
  DOCKER_BUILDKIT=0 docker build -q -t postgres:15 "$work" >/dev/null 2>&1 || return 1
  printf 'FROM standin:bookworm\nENTRYPOINT ["/usr/bin/prometheus", "--storage.tsdb.path=/prometheus"]\n' > "$work/Dockerfile"
  DOCKER_BUILDKIT=0 docker build -q -t prom/prometheus:v2.53.0 "$work" >/dev/null 2>&1 || return 1
  # docker:dind: makes its certificates as the official image does, and listens with TLS.
  cat > "$work/dockerd-entrypoint.sh" <<'SH'
#!/bin/sh
set -e
# Where `privileged` is refused (compose.override.yml), what it would have left open is opened here.
sed -n 's/^[^ ]* \(\/proc\/[^ ]*\) .*/\1/p' /proc/mounts | while read -r path; do umount "$path" 2>/dev/null || true; done
mount -o remount,rw /sys 2>/dev/null || true
dir=$DOCKER_TLS_CERTDIR
mkdir -p "$dir/ca" "$dir/server" "$dir/client"
if [ ! -e "$dir/ca/cert.pem" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 800 -subj '/CN=docker:dind CA' -keyout "$dir/ca/key.pem" -out "$dir/ca/cert.pem" 2>/dev/null
fi
for who in server client; do
  usage=clientAuth; [ $who = server ] && usage=serverAuth
  openssl req -newkey rsa:2048 -nodes -subj "/CN=docker:dind $who" -keyout "$dir/$who/key.pem" -out /tmp/$who.csr 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:docker-in-docker,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=%s\n' "$(hostname)" "$usage" > /tmp/$who.ext
  openssl x509 -req -in /tmp/$who.csr -CA "$dir/ca/cert.pem" -CAkey "$dir/ca/key.pem" -CAcreateserial -days 800 -extfile /tmp/$who.ext -out "$dir/$who/cert.pem" 2>/dev/null
  cp "$dir/ca/cert.pem" "$dir/$who/ca.pem"
  chmod 644 "$dir/$who/key.pem"
done
exec dockerd -H unix:///var/run/docker.sock -H tcp://0.0.0.0:2376 --tlsverify --tlscacert "$dir/server/ca.pem" --tlscert "$dir/server/cert.pem" --tlskey "$dir/server/key.pem" "$@"
SH
  chmod +x "$work/dockerd-entrypoint.sh"
  printf 'FROM standin:trixie\nCOPY dockerd-entrypoint.sh /usr/local/bin/dockerd-entrypoint.sh\nCOPY docker busybox /usr/local/bin/\nRUN ln -s busybox /usr/local/bin/pkill\n' > "$work/Dockerfile"
  DOCKER_BUILDKIT=0 docker build -q -t docker:26-dind "$work" >/dev/null 2>&1 || return 1
  rm -rf "$work"
}
