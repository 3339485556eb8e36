#!/bin/sh
# usage: packages.sh GROUP...   installs the Debian packages of these groups that are missing.
# Missing `base` packages that cannot be installed end in failure; others in a warning.
set -u
cd "$(dirname "$0")/.."

release=$(. /etc/os-release 2>/dev/null; echo "${ID-} ${VERSION_ID-}")

names() {
    for group; do
        sed -n "s/^$group //p" tools/packages.txt
        [ "$group" != test ] || sed -n "s/^$release: //p" tests/c/PACKAGES.txt
    done | tr -s ' ' '\n' | sort -u | sed '/^$/d'
}

missing() {
    for name in $(names "$@"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
            command -v "$name" >/dev/null || # a command of that name stands in for it
            printf '%s ' "$name"
    done
}

if ! command -v dpkg-query >/dev/null; then
    echo "packages: not a Debian or Ubuntu system; please provide:" $(names "$@") >&2
    exit 0
fi
want=$(missing "$@")
[ -n "$want" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "packages: missing, and installing needs root: $want" >&2
    echo "packages: sudo apt-get install --no-install-recommends $want" >&2
else
    echo "packages: installing $want"
    export DEBIAN_FRONTEND=noninteractive
    removed=$(apt-get install -s --no-install-recommends $want 2>/dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p')
    [ -z "$removed" ] || echo "packages: these exclude each other with the new ones and go:" $removed
    install() { apt-get install -y -q --no-install-recommends $want </dev/null >.cache/apt.log 2>&1; }
    mkdir -p .cache
    install || { echo "packages: apt-get update"; apt-get update -q >.cache/apt-update.log 2>&1; install; } ||
        { echo "packages: apt-get failed (no network?), the end of .cache/apt.log:" >&2
          tail -n 5 .cache/apt.log >&2; }
    want=$(missing "$@")
    [ -z "$want" ] || echo "packages: still missing: $want" >&2
fi
# A compiler of another distribution or a Python of one's own may stand in for a package.
[ -z "$(missing base)" ] || command -v gcc >/dev/null ||
    { echo "packages: cannot go on without a C compiler" >&2; exit 1; }
