#!/usr/bin/env bash
# Makes a base image from Debian packages and this project's own tools, for machines where no registry of images is reached.
# It stands in for the images of Node.js, NATS and Redis alike. Needs root, debootstrap and a container engine.
# Usage: deploy/images/local-base-image.sh [image name]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly image=${1:-warren-local-base:bookworm}
readonly root=${WARREN_BASE_ROOT:-$(mktemp -d)}
[[ -n ${WARREN_BASE_ROOT:-} ]] || trap 'rm -rf "$root"' EXIT

npm_folder=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
[[ -f $root/etc/debian_version ]] ||
  debootstrap --variant=minbase --include=ca-certificates,bubblewrap,python3-minimal,tini,redis-server,busybox-static bookworm "$root"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
install -D node_modules/node/bin/node "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules"
cp -a "$npm_folder" "$root/usr/local/lib/node_modules/npm"
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
# How this machine reaches its package registry. Only this stand-in needs to know.
for file in /etc/ssl/certs/ca-certificates.crt /usr/local/etc/npmrc; do
  if [[ -f $file ]]; then install -D -m 0644 "$file" "$root$file"; fi
done
if [[ -f ~/.npmrc ]]; then install -m 0644 ~/.npmrc "$root/usr/local/lib/node_modules/npm/npmrc"; fi
nats=.tools/bin/nats-server
[[ -x $nats ]] || nats=$(command -v nats-server)
install "$nats" "$root/usr/local/bin/nats-server"
ln -sf /bin/busybox "$root/usr/local/bin/wget"
tar -C "$root" -c . | docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$image"
