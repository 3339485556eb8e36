#!/bin/bash
# usage: fresh.sh RELEASE [COMMAND...]   on a machine where nothing was installed: a minimal root of
# a Debian release with git and make, the commit that is checked out cloned into the home of root, there both
# commands of the README (or COMMAND...) as root. The root is built once in .cache/fresh and copied
# for each run; the copy goes when the run ends. With KEEP=1 it stays as .cache/fresh/RELEASE.kept, and
# the next run with KEEP=1 enters it again, with what was installed and the commit that is checked out
# then. The host's /etc/resolv.conf serves inside too, and the certificates that PIP_CERT names, where
# its network needs them.
set -euo pipefail
cd "$(dirname "$0")/.."
release=${1:?usage: fresh.sh RELEASE [COMMAND...]}
shift
[ "$(id -u)" -eq 0 ] || { echo "fresh: needs root: sudo make fresh RELEASE=$release" >&2; exit 1; }
tools/packages.sh fresh
base=$PWD/.cache/fresh/$release
if [ ! -e "$base/complete" ]; then
    echo "fresh: debootstrap $release"
    rm -rf "$base"
    mkdir -p "$base"
    debootstrap --variant=minbase --include=git,make "$release" "$base/root" >"$base/log" 2>&1 ||
        { tail -n 5 "$base/log" >&2; exit 1; }
    touch "$base/complete"
fi
if [ -n "${KEEP-}" ]; then
    work=$base.kept
    mkdir -p "$work"
    exec 9<"$work"
    flock -n 9 || { echo "fresh: $work is in use" >&2; exit 1; }
else
    work=$(mktemp -d "$base.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
fi
if [ ! -e "$work/root/wgpy/.git/HEAD" ]; then
    rm -rf --one-file-system "${work:?}"/*
    cp -a "$base/root/." "$work"
    git clone -q --no-hardlinks . "$work/root/wgpy"
else
    git -C "$work/root/wgpy" fetch -q "$PWD" HEAD
    git -C "$work/root/wgpy" checkout -q --detach FETCH_HEAD
fi
cp /etc/resolv.conf "$work/etc/resolv.conf"
certificates=/etc/ssl/host.crt # apt writes its own beside it
[ -z "${PIP_CERT-}" ] || { mkdir -p "$work/etc/ssl" && cp "$PIP_CERT" "$work$certificates"; }
[ $# -gt 0 ] || set -- sh -c 'make demo && make test'
echo "fresh: $release at $(git rev-parse --short HEAD): $*"

# A plain chroot would not do: whoever enters a mount namespace starts at its root.
inside='
set -e
cd "$1"; shift
mount --bind . . && cd "$PWD"
mkdir -p proc sys dev run tmp old
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock
mount -t tmpfs -o mode=1777 tmpfs dev/shm
pivot_root . old
umount -l /old
cd "$HOME/wgpy"
exec "$@"'
env -i --default-signal HOME=/root TERM=dumb LANG=C.UTF-8 CI="${CI-}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${PIP_CERT:+PIP_CERT=$certificates SSL_CERT_FILE=$certificates} \
    unshare --mount --pid --ipc --fork --kill-child --propagation private sh -c "$inside" fresh "$work" "$@" 9<&-
