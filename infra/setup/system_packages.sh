#!/usr/bin/env bash
# Installs the Debian packages that are missing: those named as arguments, or else those that
# infra/system-packages.txt lists. As root, or with sudo that asks no password, it installs them; for
# anybody else it prints the one command to run and exits 2. No daemon is started by it.
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted=("$@")
if [ ${#wanted[@]} -eq 0 ]; then
    mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' infra/system-packages.txt)
fi

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is no Debian; what is needed here goes by these names there: ${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || echo absent)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; then
        root=(sudo --non-interactive)
    else
        echo "setup: missing Debian packages; run this, then make again:" >&2
        echo "    sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 2
    fi
fi

echo "setup: installing ${missing[*]}"

log=$(mktemp)
policy=${DPKG_ROOT:-}/usr/sbin/policy-rc.d
cleanup=(rm -f "$log")
trap '"${cleanup[@]}"' EXIT

# dpkg asks policy-rc.d before it starts a daemon; 101 means no. An existing policy is left alone.
if [ ! -e "$policy" ]; then
    cleanup=("${root[@]}" rm -f "$log" "$policy")
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
fi

apt_get() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1
}
install() { apt_get install --yes --no-install-recommends "${missing[@]}"; }
# A fresh machine has no package lists, and an old one has lists of packages that are gone.
if ! install && ! { apt_get update && install; }; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get could not install ${missing[*]}; mend what it says above, then make again" >&2
    exit 2
fi
