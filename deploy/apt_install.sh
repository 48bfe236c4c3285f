#!/bin/sh
# Install programs of Debian without starting the daemons that come with some of them; as root.
# Usage: sh deploy/apt_install.sh PACKAGE...
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod +x "$policy"
fi
quick='-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20'
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # options, one a word
apt-get $quick install -y -q --no-install-recommends "$@" || {
  # a fresh container has no lists yet
  apt-get $quick update -q
  apt-get $quick install -y -q --no-install-recommends "$@"
}
