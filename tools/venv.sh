#!/bin/sh
# usage: venv.sh PYTHON DIRECTORY   a virtual environment with every dependency of pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
python=$1 venv=$2

version=$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    { echo "setup: $python does not run; name another with PYTHON=" >&2; exit 1; }
case $version in
3.1[1-9]|3.[2-9][0-9]) ;;
*) echo "setup: $python is Python $version, at least 3.11 is needed; name another with PYTHON=" >&2; exit 1 ;;
esac

if ! [ -x "$venv/bin/pip" ]; then
    echo "setup: virtual environment in $venv (Python $version)"
    "$python" -I -m venv "$venv" ||
        { rm -rf "$venv"; echo "setup: is python3-venv installed?" >&2; exit 1; }
fi
echo "setup: installing the Python dependencies"
list=$("$python" -I - <<'END'
import tomllib
with open("pyproject.toml", "rb") as f:
    d = tomllib.load(f)
extras = d["project"]["optional-dependencies"]
print("\n".join(d["build-system"]["requires"] + d["project"]["dependencies"] + extras["test"] + extras["bench"]))
END
)
echo "$list" | "$venv/bin/python" -I -m pip install -q -r /dev/stdin ||
    { echo "setup: pip could not install the dependencies (no network?)" >&2; exit 1; }
