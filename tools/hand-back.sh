#!/bin/sh
# Under sudo, what set-up made belongs to the caller, so that a later make without sudo works.
cd "$(dirname "$0")/.." || exit
[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-$SUDO_UID}" .venv .cache build wgpy *.egg-info 2>/dev/null
exit 0
