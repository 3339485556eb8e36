#!/bin/sh
# Starts @MODULE@ isolated (-I, see wgpy/isolate/start.py). Installers give scripts of
# Python a first line without options, and then PYTHONPATH is searched before any line runs.
self=$(command -p readlink -f -- "$0") || exit 127
for python in "${self%/*}/python@VERSION@" /usr/local/bin/python@VERSION@ /usr/bin/python@VERSION@; do
    [ -x "$python" ] && exec "$python" -I -m @MODULE@ "$@"
done
echo "${self##*/}: no python@VERSION@ beside it, in /usr/local/bin or in /usr/bin" >&2
exit 127
