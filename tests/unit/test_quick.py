"""The pure parts of `up` and `show`, and the command's bad-input manners. No root."""

import subprocess
import sys

import pytest

from wgpy.cli import show, tunnel_file
from wgpy.config.values import prefix, prefix_text
from wgpy.errors import WgpyError

PEER = "HPlbuq8YnehyXuVBk7KqJ1KcJAkLQPQ44WDazS2hLyQ="


def wgpy(*args, text=""):
    return subprocess.run([sys.executable, "-m", "wgpy.cli", *args], input=text, text=True, capture_output=True)


@pytest.mark.parametrize("name", ["a" * 16 + ".conf", "has space.conf", "wg0.txt"])
def test_bad_file_names(tmp_path, name):
    (tmp_path / name).write_text("[Interface]\n")
    with pytest.raises(WgpyError, match="interface name"):
        tunnel_file.locate(str(tmp_path / name))


@pytest.mark.parametrize("content, says", [
    (b"\xff\xfe", "UTF-16"), (b"[Interface]\nMTU = big\n", ":2: MTU: 'big'"), (b"[Interface]\nPrivateKey = x", ":2: PrivateKey")])
def test_bad_file_is_one_line_with_its_place(tmp_path, content, says):
    path = tmp_path / "wg0.conf"
    path.write_bytes(content)
    done = wgpy("up", str(path))
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(f"wgpy: {path}") and says in last
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_world_readable_file_is_pointed_out(tmp_path):
    path = tmp_path / "wg0.conf"
    path.write_text("[Interface]\n")
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    said = []
    tunnel_file.load(path, said.append)
    assert "chmod 600" in said[0]


def test_unknown_tunnel_and_file():
    for args in (["show", "nope0"], ["down", "nope0"], ["up", "nope0"], ["up", "/nope/x.conf"], ["frob"], ["pubkey"]):
        done = wgpy(*args)
        assert done.returncode != 0 and done.stderr.startswith("wgpy: ") and done.stderr.count("\n") == 1


def test_keys():
    """X25519 of RFC 7748, section 6.1."""
    private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
    assert wgpy("pubkey", text=private + "\n").stdout.strip() == "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    made = wgpy("genkey").stdout.strip()
    assert len(made) == 44 and made != wgpy("genkey").stdout.strip()


@pytest.mark.parametrize("seconds, text", [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (90061, "1 d 1 h")])
def test_duration(seconds, text):
    assert show.duration(seconds) == text


@pytest.mark.parametrize("octets, text", [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (2**50, "1024.00 TiB")])
def test_size(octets, text):
    assert show.size(octets) == text


def test_prefix_clears_host_bits():
    assert prefix_text(prefix("10.1.2.3/9")) == "10.0.0.0/9"
