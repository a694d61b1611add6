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

# Whether there is a kubectl that knows today's kustomize. Debian 12's own (1.20) does not.
have_kubectl() {
  command -v kubectl >/dev/null && [ "$(kubectl version --client -o json 2>/dev/null | jq -r '.clientVersion.minor' | tr -dc 0-9)" -ge 27 ] 2>/dev/null
}
