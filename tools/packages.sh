#!/bin/sh
# usage: packages.sh GROUP...   installs the Debian packages of these groups that are missing.
# Missing `base` packages that cannot be installed end in failure; others in a warning, and
# what needs them is skipped by the tests with that reason.
set -u
cd "$(dirname "$0")/.."
mkdir -p .cache

present() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
offered() { apt-cache show --no-all-versions "$1" 2>/dev/null | grep -q '^Package:'; }

# The version in the name of the package that a metapackage stands for: gcc 12, clang 14.
default() { apt-cache depends --important "$1" 2>/dev/null | sed -n "s/.*Depends: $1-\([0-9][0-9]*\)\$/\1/p" | head -n 1; }

there() { for program; do command -v "$program" >/dev/null || return 1; done; }

# Every package of the groups that is not there, nor its programs by other means: NAME, or the
# first of NAME|NAME that apt offers.
missing() {
    for group; do
        sed -n "s/^$group //p" tools/packages.txt
    done | sort -u | sed "s/{gcc}/$gcc/; s/{clang}/$clang/" | while read -r entry programs; do
        [ -z "$programs" ] || ! there $programs || continue
        found='' chosen=''
        for name in $(echo "$entry" | tr '|' ' '); do
            if present "$name"; then found=yes; break; fi
            [ -n "$chosen" ] || ! offered "$name" || chosen=$name
        done
        [ -n "$found" ] || printf '%s ' "${chosen:-${entry%%|*}}"
    done
}

if ! command -v dpkg-query >/dev/null; then
    for group; do
        sed -n "s/^$group \([^ ]*\).*/\1/p" tools/packages.txt
    done | tr '\n' ' ' | sed 's/^/packages: not a Debian or Ubuntu system; please provide: /' >&2
    exit 0
fi
versions() { gcc=$(default gcc) clang=$(default clang); }
versions
if [ -z "$gcc" ] && [ "$(id -u)" -eq 0 ]; then # no list of packages yet
    echo "packages: apt-get update"
    apt-get update -q >.cache/apt-update.log 2>&1
    versions
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
    install() { apt-get install -y -q --no-install-recommends "$@" </dev/null >.cache/apt.log 2>&1; }
    install $want || { echo "packages: apt-get update"; apt-get update -q >.cache/apt-update.log 2>&1; install $want; } || {
        echo "packages: not all at once, the end of .cache/apt.log:" >&2
        tail -n 5 .cache/apt.log >&2
        for name in $want; do install "$name"; done # one that is not to be had keeps none of the others away
    }
    want=$(missing "$@")
    [ -z "$want" ] || echo "packages: still missing: $want" >&2
fi
# A compiler of another distribution or a Python of one's own may stand in for a package.
[ -z "$(missing base)" ] || command -v gcc >/dev/null ||
    { echo "packages: cannot go on without a C compiler" >&2; exit 1; }
