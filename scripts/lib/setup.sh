# Sourced by scripts/demo, scripts/test and the others: brings a bare Debian 12 to where davit builds.
#
# Everything that is not a plain Debian 12 package goes into one cached prefix outside the tree:
#   ${DAVIT_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/davit}
# so that a second clone, or a second run, finds it ready.

set -euo pipefail

davit_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
davit_deps=${DAVIT_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/davit}
caf_version=0.18.7
caf_source=0.18.7-1~exp1
catch_version=3.7.1

# Debian 12 is the reference; where Debian 13 has other names or versions, they are chosen here.
davit_release=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-bookworm}")
case $davit_release in
  trixie) boost=1.83 postgresql=17 clang_rt=19 engine_client=(docker-cli) catch_source=(trixie "libcatch2-dev=$catch_version*") ;;
  *) boost=1.81 postgresql=15 clang_rt=14 engine_client=() catch_source=(bookworm-backports "libcatch2-dev=$catch_version*") ;;
esac

build_packages=(
  ca-certificates ccache cmake dpkg-dev g++ git musl-tools ninja-build pkg-config xz-utils
  "libboost$boost-dev" "libboost-json$boost-dev" "libboost-url$boost-dev"
  libcli11-dev libre2-dev libsimdjson-dev libsoci-dev libspdlog-dev libsqlite3-dev libpq-dev
  libssl-dev libxxhash-dev libzstd-dev libarchive-dev libjemalloc-dev libprotozero-dev libpugixml-dev libexpat1-dev
)
engine_packages=(docker.io ${engine_client[@]+"${engine_client[@]}"} iptables busybox-static curl tar)
test_packages=("postgresql-$postgresql" zstd apache2-utils docker-registry clang "libclang-rt-$clang_rt-dev" debootstrap openssl iproute2 jq procps sqlite3 bsdutils
  swift-proxy swift-account swift-container swift-object python3-boto3 python3-cryptography)

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Installs those of the named packages that are missing; asks apt nothing when none is.
need_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  [ "$(id -u)" = 0 ] || die "these packages are missing and only root can install them: ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get -qq update
  # A package's service must not start here: the scripts start engines of their own, with their own paths.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"; made=1; fi
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null \
    || { [ -n "$made" ] && rm -f "$policy"; die "apt-get could not install: ${missing[*]}"; }
  if [ -n "$made" ]; then rm -f "$policy"; fi
}

# The mirror that this machine's apt already uses for Debian.
debian_mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -nE 's/^deb +(\[[^]]*\] +)?([a-z]+:\/\/[^ ]+\/debian)\/? .*/\2/p'
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -nE 's/^URIs: *([a-z]+:\/\/[^ ]+\/debian)\/?$/\1/p'
    true # there may be files of one kind only
  } | head -n 1
}

# apt_suite SUITE ARGS...: apt-get with a configuration of its own that knows this one suite and nothing else.
apt_suite() {
  local suite=$1 mirror dir; shift
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || die "no Debian mirror found in /etc/apt/sources.list or sources.list.d"
  dir=$davit_deps/apt-$suite
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  local signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  printf 'deb %s %s %s main\ndeb-src %s %s %s main\n' "$signed" "$mirror" "$suite" "$signed" "$mirror" "$suite" > "$dir/sources.list"
  local options=(-o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$dir/lists"
    -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root -qq)
  [ -e "$dir/updated" ] || { apt-get "${options[@]}" update && touch "$dir/updated"; }
  apt-get "${options[@]}" "$@"
}

# The CAF that Debian 12 ships has no metrics; this builds the one of Debian's suite experimental, once.
# need_caf [SANITIZER]: thread sanitizer reports are only to be believed if CAF was built with it too.
need_caf() {
  local sanitizer=${1:-} flags='' prefix=$davit_deps/caf-$caf_version
  if [ -n "$sanitizer" ]; then prefix=$prefix-$sanitizer; flags="-fsanitize=$sanitizer -g -fno-omit-frame-pointer"; fi
  [ -e "$prefix/.complete" ] && return 0
  say "building CAF $caf_version${sanitizer:+ with $sanitizer sanitizer} (about a minute, once)"
  local work; work=$(mktemp -d)
  ( cd "$work"
    apt_suite experimental source --tar-only --download-only "actor-framework=$caf_source"
    mkdir source && tar -xf actor-framework_*.orig.tar.* -C source --strip-components=1
    # Many files are compiled as one, which takes a seventh of the time. Two names stand in two files each: they get names of their own.
    sed -i 's/\bmax_value\b/max_size_value/g' source/libcaf_core/src/binary_serializer.cpp
    sed -i 's/\bport_of\b/port_in/g' source/libcaf_io/src/io/network/native_socket.cpp
    cmake -S source -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
      -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
      -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=16 -DBUILD_SHARED_LIBS=OFF -DCAF_ENABLE_EXAMPLES=OFF -DCAF_ENABLE_TESTING=OFF -DCAF_ENABLE_TOOLS=OFF >/dev/null
    cmake --build build >/dev/null
    cmake --install build >/dev/null )
  rm -rf "$work"
  touch "$prefix/.complete"
}

# Catch2 3 is in bookworm-backports, and in trixie; it is unpacked into the prefix, the system's own is left alone.
need_catch2() {
  local prefix=$davit_deps/catch2-$catch_version
  [ -e "$prefix/.complete" ] && return 0
  say "fetching Catch2 $catch_version"
  local work; work=$(mktemp -d)
  ( cd "$work"
    apt_suite "${catch_source[0]}" download "${catch_source[1]}"
    dpkg -x ./*catch2*.deb tree
    mkdir -p "$prefix"
    cp -a tree/usr/. "$prefix/" )
  rm -rf "$work"
  touch "$prefix/.complete"
}

need_build_tools() {
  need_packages "${build_packages[@]}"
  mkdir -p "$davit_deps"
  need_caf
  need_catch2
}

# build PRESET [TARGET...]
# A folder that does not exist yet is built from nothing, so several files are compiled together (DAVIT_UNITY), which is faster.
build() {
  local preset=$1; shift
  ( cd "$davit_top"
    [ -e "build/$preset/build.ninja" ] || cmake --preset "$preset" -DDAVIT_DEPS="$davit_deps" -DDAVIT_UNITY=ON >/dev/null
    cmake --build "build/$preset" ${1:+--target "$@"} )
}
