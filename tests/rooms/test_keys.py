"""No key is anywhere but in crypto, and a retired one is not there either (F1, F6): a
search of whole processes, their open files, logs and directories for keys that the test
knows, the transport keys because it played the peer itself."""

import base64
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from rooms.nodes import ROOMS, WEB, Pair
from rooms.third_peer import ThirdPeer

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns
CHUNK = 8 << 20


def memory(pid):
    """All readable memory of a process, in overlapping chunks."""
    with open(f"/proc/{pid}/maps") as f:
        regions = [re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line) for line in f if "[v" not in line]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for region in filter(None, regions):
            at, end = (int(n, 16) for n in region.groups())
            while at < end:
                try:
                    yield os.pread(mem.fileno(), min(CHUNK, end - at), at)
                except OSError:  # a device's or a hole's
                    break
                at += CHUNK - 64 if end - at > CHUNK else CHUNK


def open_files(pid):
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        if os.readlink(path).startswith("/") and Path(path).is_file():
            yield Path(path).read_bytes()
    for name in ("cmdline", "environ", "status"):
        yield Path(f"/proc/{pid}/{name}").read_bytes()


def found(keys, chunks):
    """Names of the keys that occur in any form a key is written in."""
    forms = [(name, form) for name, key in keys.items()
             for form in (key, key.hex().encode(), base64.b64encode(key)[:42])]
    out = set()
    for chunk in chunks:
        out |= {name for name, form in forms if form in chunk}
    return out


def poly1305_r(key, counter):
    """RFC 8439, 2.6: r of the packet with this counter, clamped, from ChaCha20's block 0."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), 0, 0,
             *struct.unpack("<2I", counter.to_bytes(8, "little"))]
    x = start.copy()
    for _ in range(10):
        for turn in (0, 1):
            for i in range(4):
                a, b, c, d = i, 4 + (i + turn) % 4, 8 + (i + 2 * turn) % 4, 12 + (i + 3 * turn) % 4
                for p, q, r, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[p] = (x[p] + x[q]) & 0xFFFFFFFF
                    x[r] ^= x[p]
                    x[r] = (x[r] << bits | x[r] >> 32 - bits) & 0xFFFFFFFF
    block = struct.pack("<4I", *((s + t) & 0xFFFFFFFF for s, t in zip(start[:4], x[:4], strict=True)))
    return (int.from_bytes(block, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF).to_bytes(16, "little")


def parts(keys):
    """Each aligned word of 8 bytes of a key, and of r of a session's first packets."""
    out = {}
    for name, key in keys.items():
        secrets = {"": key} | ({f", r of packet {n}": poly1305_r(key, n) for n in range(3)} if "session" in name else {})
        out |= {f"{name}{of} word {i // 8}": secret[i:i + 8]
                for of, secret in secrets.items() for i in range(0, len(secret), 8)}
    return out


def parts_found(keys, chunks):
    """Names of the parts that occur, at any offset."""
    wanted = parts(keys)
    out = set()
    for chunk in chunks:
        chunk = chunk.replace(bytes(4096), bytes(8))
        out |= {name for name, part in wanted.items() if part in chunk}
    return out


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """(pair, third peer): node a has a session with b, with traffic, and one with us."""
    directory = tmp_path_factory.mktemp("keys")
    pair = Pair(directory)
    third = ThirdPeer(pair.internet, WEB, pair.a.public, pair.a.psk)
    try:
        pair.a.write_site([pair.b], f"""
[[site]]
name = "c"
public_key = "{base64.b64encode(third.public).decode()}"
networks = ["10.3.0.0/24"]
endpoints = ["{WEB}:51820"]
psk = "ab"
""")
        pair.start()
        assert ping(pair.a.host, pair.b.address, wait=60).lost == 0
        wait_until(lambda: sessions(pair.a, "c"), 60, "the third peer's response is there")
        yield pair, third
    finally:
        third.close()
        pair.close()


def sessions(node, name):
    """How many of this peer's sessions crypto holds, as far as it has told."""
    peers = node.status()["rooms"]["crypto"]["status"].get("peers", [])
    return sum(p["sessions"] for p in peers if p["name"] == name)


def known_keys(pair, third):
    keys = {"private": pair.a.private, "psk": pair.a.psk}
    for i in range(len(third.sessions)):
        keys |= {f"session {i} send": third.keys(i)[1], f"session {i} receive": third.keys(i)[0]}
    return keys


def test_crypto_has_the_keys(watched):
    """So that the searches below could find them."""
    pair, third = watched
    last = f"session {len(third.sessions) - 1} "  # an initiation that was repeated has left us one more
    keys = {name: key for name, key in known_keys(pair, third).items() if name in ("private", "psk") or name.startswith(last)}
    assert len(keys) == 4
    assert found(keys, memory(pair.a.pid("crypto"))) == set(keys)


def test_a_part_of_a_key_would_be_found(watched):
    """At an odd place of another process's memory: one word of a key, and one of an r."""
    pair, third = watched
    keys = known_keys(pair, third)
    planted = {name: part for name, part in parts(keys).items()
               if name in ("private word 2", "session 0 send, r of packet 1 word 1")}
    assert len(planted) == 2
    script = "import signal, sys; keep = sys.stdin.buffer.read(); print(len(keep), flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            other.stdin.write(b"x" + b"-".join(planted.values()))
            other.stdin.close()
            assert other.stdout.readline() == b"18\n"
            assert parts_found(keys, memory(other.pid)) == set(planted)
        finally:
            other.kill()


@pytest.mark.parametrize("room", ["black", "red"])
def test_no_key_in_the_memory_or_the_files_of_an_outer_room(watched, room):
    pair, third = watched
    pid = pair.a.pid(room)
    parent = int(re.search(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
    for process in (pid, parent):
        assert not found(known_keys(pair, third), memory(process))
        assert not parts_found(known_keys(pair, third), memory(process))
        assert not found(known_keys(pair, third), open_files(process))


def test_no_key_in_the_supervisor_nor_in_what_waits_for_crypto(watched):
    pair, third = watched
    crypto = pair.a.pid("crypto")
    parent = int(re.search(r"PPid:\t(\d+)", Path(f"/proc/{crypto}/status").read_text())[1])
    for process in (pair.a.process.pid, parent):
        assert not found(known_keys(pair, third), memory(process))
    assert not found(known_keys(pair, third), open_files(parent))


def test_no_key_in_a_log_or_a_directory(watched):
    pair, third = watched
    files = [p for p in pair.a.run_dir.parent.rglob("*") if p.is_file()]
    assert len(files) >= 4
    assert not found(known_keys(pair, third), (p.read_bytes() for p in files))


def test_retired_keys_are_gone_from_crypto(watched):
    """A session that two newer ones followed, then all of a peer that was removed."""
    pair, third = watched
    with pair.a.host.entered():
        knocking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with knocking:
        for _ in range(3):
            third.new_session(lambda: knocking.sendto(b"knock", ("10.3.0.2", 9)))
    keys = {k: v for k, v in known_keys(pair, third).items() if k.startswith("session")}
    crypto = pair.a.pid("crypto")
    left = found(keys, memory(crypto))
    last = len(third.sessions) - 1
    assert f"session {last} send" in left and f"session {last} receive" in left
    assert left <= {f"session {i} {way}" for i in (last, last - 1) for way in ("send", "receive")}, left
    assert not parts_found({k: v for k, v in keys.items() if k not in left}, memory(crypto))

    pair.a.write_site([pair.b])
    pair.a.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "new site file" in pair.a.log.read_text(), 60, "the new site file")
    assert not found(keys, memory(crypto))
    assert not parts_found(keys, memory(crypto))
    assert pair.a.pid("crypto") == crypto and ping(pair.a.host, pair.b.address).lost == 0
    assert set(ROOMS) == set(pair.a.status()["rooms"])
