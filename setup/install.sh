#!/usr/bin/env bash
# Install what avish needs: Debian's packages, a virtual environment, the lab's test data. Safe to run again.
#   setup/install.sh VENV           install everything
#   setup/install.sh --check VENV   only what has gone missing since
#   setup/install.sh --bench        what only the benchmark needs
set -euo pipefail
cd "$(dirname "$0")/.."

check="" list=setup/debian.txt
if [ "${1:-}" = "--bench" ]; then list=setup/debian-bench.txt; set -- -; fi
if [ "${1:-}" = "--check" ]; then check=yes; shift; fi
venv=${1:?usage: setup/install.sh [--check] VENV}
policy=/usr/sbin/policy-rc.d

missing_packages() {
  while read -r package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done < "$list"
}

# Debian starts a daemon when its package is installed; the lab runs its own, so the system's stays off.
install_packages() {
  [ "$(id -u)" = 0 ] || { echo "setup: root is needed to install: $*" >&2; exit 1; }
  echo "setup: installing Debian packages: $*"
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
  for service in vsftpd frr haproxy iperf3 keepalived conntrackd ssh; do keep_off "$service"; done
}

keep_off() {
  if command -v systemctl > /dev/null && [ -d /run/systemd/system ]; then
    systemctl disable --now "$1" > /dev/null 2>&1 || true
  elif command -v update-rc.d > /dev/null; then
    update-rc.d "$1" disable > /dev/null 2>&1 || true
  fi
}

mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then install_packages "${missing[@]}"; fi
if [ "$venv" = - ]; then exit; fi

# A pull may bring packages that were not there before: the mark is as old as the last installation.
mark="$venv/.packages"
if [ -n "$check" ] && [ -x "$venv/bin/pip" ] && { [ ! -e "$mark" ] || [ pyproject.toml -nt "$mark" ]; }; then check=""; fi

if [ -z "$check" ]; then
  echo "setup: virtual environment in $venv"
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "setup: Python 3.11 or newer is needed" >&2; exit 1; }
  echo "setup: Python packages"
  "$venv/bin/pip" install -qq --disable-pip-version-check --editable '.[dev]' --config-settings editable_mode=compat
  # The scrapli of before has the name of the one of now: the tests find it beside.
  "$venv/bin/pip" install -qq --disable-pip-version-check --no-deps --upgrade --target "$venv/scrapli1" scrapli==2025.1.30
  touch "$mark"
fi

"$venv/bin/python" -m compileall -q avish dataplane
"$venv/bin/python" fixtures/topologies/ftp/make-data.py
