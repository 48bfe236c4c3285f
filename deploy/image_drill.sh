#!/usr/bin/env bash
# Builds the image of a bento with Buildah, without Docker and without a registry of images, and asks the
# service in it for a mask: as its user, on a root that cannot be written. Debian's packages buildah and
# debootstrap are needed, and root. FOLDER/layers.json gets the megabytes of the image's parts.
# Usage: deploy/image_drill.sh PACKAGE IMAGE [FOLDER]
set -euo pipefail

package=$1 image=$2 work=$(realpath "${3:-$(mktemp -d)}")
port=3999
export BENTOML_HOME=$work/bentoml BENTOML_DO_NOT_TRACK=True BUILDAH_ISOLATION=chroot
mkdir -p "$work/storage" "$BENTOML_HOME"
printf '[storage]\ndriver = "vfs"\nrunroot = "%s/run"\ngraphroot = "%s/storage"\n' "$work" "$work" \
  > "$work/storage.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf

# What stands for python:3.11-slim, from Debian's own packages; its pip is Debian's, and stays.
if [ ! -e "$work/base/usr/bin/python" ]; then
  debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
    bookworm "$work/base" > "$work/debootstrap.log"
  ln -s python3 "$work/base/usr/bin/python"
  rm -f "$work/base/usr/lib/python3.11/EXTERNALLY-MANAGED"
  rm -rf "$work/base/var/cache/apt/archives" "$work/base/var/lib/apt/lists"
  # As Debian's slim images, on which python:3.11-slim stands.
  rm -rf "$work"/base/usr/share/{doc,man,info,locale,groff,lintian,linda}/* "$work/base/var/log"/*
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
  [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$work/base/etc/pip.conf"
  mkdir -p "$work/base/etc/uv"
  echo 'native-tls = true' > "$work/base/etc/uv/uv.toml"
fi
base=$(buildah from scratch)
buildah add --quiet "$base" "$work/base" /
buildah commit --quiet --rm "$base" docker.io/library/python:3.11-slim

tag=segmenter:drill
began=$(date +%s)
# Buildah alone: a Docker that is installed may not answer.
mkdir -p "$work/bin" && ln -sf "$(command -v buildah)" "$work/bin/buildah"
PATH=$work/bin:$(dirname "$(command -v python)"):/usr/bin:/bin python -m service.build "$package" --image "$tag"
echo "built in $(($(date +%s) - began)) s"
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}'

served=$(buildah from --pull-never "$tag")
root=$(buildah mount "$served")
megabytes() { echo $(($(du -sxb "$1" | cut -f1) / 1000000)); }
printf '{"base": %s, "environment": %s, "code and package": %s}\n' "$(megabytes "$work/base")" \
  "$(megabytes "$root/app/.venv")" "$(megabytes "$root/home/bentoml/bento")" | tee "$work/layers.json"
for tool in gcc cc make git curl uv pip; do
  ! chroot "$root" sh -c "PATH=/app/.venv/bin:\$PATH command -v $tool" || echo "the image has $tool"
done
buildah inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' "$served"

# The root is mounted once more, read-only, with /tmp and /jobs on their own.
place=$work/root
mkdir -p "$place"
echo '127.0.0.1 localhost' > "$root/etc/hosts"  # as every container has
mount --bind "$root" "$place"
mount -o remount,bind,ro "$place"
mount -t tmpfs tmpfs "$place/tmp"
mount -t tmpfs -o uid=1034,gid=1034 tmpfs "$place/jobs"
mount -t proc proc "$place/proc"
finish() {
  # The service first: what it started leads a session of its own and is ended by nobody else.
  if [ -n "${pid:-}" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/root" 2>/dev/null)" != "$place" ] || {
      echo "left behind: $(tr '\0' ' ' < "$process/cmdline")"
      kill -KILL "${process#/proc/}"
    }
  done
  for mounted in proc jobs tmp ''; do umount --lazy "$place/$mounted"; done
}
trap finish EXIT
inside=(chroot --userspec=1034:1034 "$place" /usr/bin/env -i
  PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin VIRTUAL_ENV=/app/.venv LANG=C.UTF-8
  BENTO_PATH=/home/bentoml/bento BENTOML_HOME=/tmp/bentoml XDG_CACHE_HOME=/tmp/cache SEG_JOBS_FILES=/jobs
  BENTOML_CONTAINERIZED=true BENTOML_DO_NOT_TRACK=True BENTOML_PORT=$port
  sh -c)
# No function around it: $! would be a shell that waits for the service, not the service.
"${inside[@]}" "cd /home/bentoml/bento && exec ./env/docker/entrypoint.sh" > "$work/server.log" 2>&1 &
pid=$!
health=$(sed -n 's/^    CMD \["python", "-c", "\(.*\)"\]$/\1/p' "$root/home/bentoml/bento/env/docker/Dockerfile")
for _ in $(seq 300); do
  ! "${inside[@]}" "exec python -c \"$health\"" 2>/dev/null || { healthy=yes; break; }
  sleep 0.3
done
echo "health check: ${healthy:-failed}"
"${inside[@]}" "id -u"
"${inside[@]}" "touch /home/bentoml/bento/x" 2>&1 || true
echo "of the user that serves, beside /jobs: $(find "$root/home" "$root/app" -uid 1034 | wc -l) files"
python - "$image" "http://127.0.0.1:$port/segment" <<'EOF'
import sys
from pathlib import Path

import httpx

answer = httpx.post(sys.argv[2], content=Path(sys.argv[1]).read_bytes(), timeout=60)
print("POST /segment:", answer.status_code, answer.headers["Content-Type"], len(answer.content), "bytes")
answer.raise_for_status()
EOF
