# Sourced: what the page's and the deployment's tests need beside davit.

node_packages=(nodejs npm)
page_packages=(chromium)
deploy_packages=(prometheus golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev docker-compose yamllint)

# need_node_modules DIR: the packages of DIR/package.json, installed once into the cached prefix; sets node_modules.
need_node_modules() {
  local dir=$1 sum
  sum=$(sha256sum "$dir/package.json" | cut -c1-16)
  node_modules=$davit_deps/node-$(basename "$dir")-$sum/node_modules
  [ -e "$node_modules/.complete" ] && return 0
  say "fetching the packages of $(basename "$dir")/package.json"
  local work; work=$(dirname "$node_modules")
  rm -rf "$work"; mkdir -p "$work"
  cp "$dir/package.json" "$work/"
  ( cd "$work" && npm install --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null ) || return 1
  touch "$node_modules/.complete"
}

# need_kubectl: sets kubectl to one that knows today's kustomize: the machine's own if it is new enough (Debian 12's, 1.20, is not), or
# else Debian 13's, which is unpacked into the cached prefix.
need_kubectl() {
  kubectl=$(command -v kubectl || true)
  [ -n "$kubectl" ] && knows_kustomize && return 0
  kubectl=$davit_deps/kubectl-trixie/usr/bin/kubectl
  [ -x "$kubectl" ] && return 0
  say "fetching kubectl"
  local work; work=$(mktemp -d)
  ( cd "$work" && apt_suite trixie download kubectl/trixie && dpkg -x kubectl_*.deb tree \
    && mkdir -p "$davit_deps/kubectl-trixie/usr/bin" && mv tree/usr/bin/kubectl "$kubectl.part" && mv "$kubectl.part" "$kubectl" ) >/dev/null
  rm -rf "$work"
  [ -x "$kubectl" ] && knows_kustomize
}

knows_kustomize() {
  [ "$("$kubectl" version --client -o json 2>/dev/null | jq -r '.clientVersion.minor' | tr -dc 0-9)" -ge 27 ] 2>/dev/null
}
