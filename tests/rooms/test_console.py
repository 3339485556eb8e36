"""Crypto is administered at the console of its guest and nowhere else: the same decisions and the same
trail as with a supervisor, whatever is typed, and traffic goes on (I1, I3, I6)."""

import base64
import hashlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from rooms.alone import all_ready, flows, start_all, two
from rooms.recorded import answered, send_until_refused
from rooms.terminals import NEW_SITE, SECRET, Port, opened, room_file, sealed, site_text

from wgpy.admin.audit import verify
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
def sent(port, text):
    """The answer to a site file that a program sends."""
    data = text.encode()
    lines = base64.encodebytes(data).replace(b"\n", b"\r")
    port.type(b"reload base64 %d %s\r" % (len(data), hashlib.sha256(data).hexdigest().encode()) + lines + b".\r")
    return port.answer()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Node a runs from a sealed store on a disk; its console is `port`."""
    directory = tmp_path_factory.mktemp("console")
    (directory / "state").mkdir()
    with two(directory, {"a": room_file(directory)}) as (a, b, internet):
        sealed(directory / "state/keys.sealed", a.private)
        port = Port(directory / "console")
        start_all(a, b)
        yield SimpleNamespace(a=a, b=b, port=port, state=directory / "state", internet=internet)
        port.unplug()


@pytest.fixture
def port(house):
    """Of a console where nothing is under way and crypto is open."""
    port, fresh = house.port, os.urandom(4).hex().encode()
    port.type(b"\x03hello " + fresh + b"\r")
    port.until(b" a open " + fresh + b"\r\nok\r\n" if unlocked(house) else fresh + b"\r\nok\r\n")
    if not unlocked(house):
        port.type(b"unlock\r" + SECRET + b"\r")
        assert port.answer()[1] == "ok"
    return port


def unlocked(house):
    return ": ready" in house.a.log("crypto")


def trail(house):
    return [json.loads(line) for line in (house.state / "audit/audit.log").read_text().splitlines()]


def test_a_person_unlocks_it_and_nothing_of_the_passphrase_is_seen(house):
    port = house.port
    assert "node a" in port.until(b"passphrase of node a: ").decode()
    port.type(b"wrong\r")
    assert port.answer()[1] == "error: the passphrase or credential does not open this key store"
    port.until(b"passphrase of node a: ")
    port.type(b"\x03")
    assert port.answer()[1] == "error: interrupted"
    assert "crypto asks for the passphrase: unlock" in "".join(port.said(b"status")[0])
    assert port.said(b"keys list")[1] == "error: the key store is locked: unlock it first"
    assert port.said(b"reload\rx\r.")[1] == "error: the key store is locked: unlock it first"
    port.type(b"unlock\r")
    port.until(b"passphrase of node a: ")
    port.type(SECRET + b"\r")
    shown = port.until(b"ok\r\n")
    assert SECRET not in shown and shown == b"\r\nok\r\n"
    all_ready(house.a, house.b)
    flows(house.a, house.b)
    assert port.said(b"unlock")[1] == "error: crypto does not ask for a passphrase"


def test_a_restart_of_the_room_need_not_ask_again(house, port):
    before = house.a.log("crypto").count(": ready")
    os.kill(house.a.jailed("crypto"), signal.SIGKILL)
    house.a.ready("crypto", before + 1)
    flows(house.a, house.b)
    assert not port.status()["asking"]


def test_it_tells_what_the_supervisor_would(house, port):
    wait_until(lambda: port.status()["rooms"]["crypto"]["status"].get("peers"), 60, "the room has told of its peers")
    document = port.status()
    (peer,) = document["rooms"]["crypto"]["status"]["peers"]
    assert peer["name"] == "b" and document["up"] and document["node"] == "a" and document["disk"]["free"]
    lines, end = port.said(b"status")
    assert end == "ok" and lines[0].startswith("a: up, small") and any("KiB free" in line for line in lines)
    wait_until(lambda: "up: b is up" in port.said(b"why b")[0], 60, "the session is seen")
    assert port.said(b"why nobody")[1] == "error: no site 'nobody' here: there are b"
    lines, end = port.said(b"keys list")
    assert end == "ok" and lines == [f"public key: {house.a.public}"]


def test_what_is_changed_is_written_down_before_and_kept(house, port):
    lines, end = port.said(b"keys psk puno new")
    assert end == "ok" and lines[0].startswith("preshared key: ")
    key = lines[0].partition(": ")[2]
    port.type(b"keys psk quito\r" + key.encode() + b"\r")
    assert port.answer()[1] == "ok"
    assert port.said(b"keys list")[0][1:] == ["preshared key: puno", "preshared key: quito"]
    assert port.said(b"keys psk quito remove")[1] == "ok"
    assert port.said(b"keys psk quito remove")[1] == "error: no pre-shared key named 'quito'"
    port.type(b"keys psk quito\rnonsense\r")
    assert port.answer()[1] == "error: a key is 44 characters of base64"
    mine = [(e["what"], e["result"]) for e in trail(house) if e["who"] == "console"]
    assert mine[:4] == [("psk-set", "asked"), ("psk-set", "ok")] * 2 and ("psk-remove", "asked") in mine
    lines, end = port.said(b"audit 3")
    assert end == "ok" and [json.loads(line) for line in lines[:-1]] == trail(house)[-3:]
    head = verify([("trail", (house.state / "audit/audit.log").read_bytes())])
    assert lines[-1] == f"head: {head.entries} {head.hash}" and key not in (house.state / "audit/audit.log").read_text()
    assert opened(house.state).document.psks == {"puno": base64.b64decode(key)}


def test_the_passphrase_is_changed_and_the_new_one_holds(house, port):
    port.type(b"keys passphrase\r" + SECRET + b"\rnew\rnewer\r")
    assert port.answer()[1] == "error: the two passphrases differ"
    port.type(b"keys passphrase hex\r" + SECRET.hex().encode() + b"\r" + b"new".hex().encode() + b"\r")
    assert port.answer()[1] == "ok"
    port.type(b"keys passphrase\r" + SECRET + b"\rx\rx\r")
    assert port.answer()[1] == "error: the present passphrase is another one"
    port.type(b"keys passphrase\rnew\r" + SECRET + b"\r" + SECRET + b"\r")
    assert port.answer()[1] == "ok"


def test_a_site_file_is_taken_as_a_whole_or_not_at_all(house, port):
    before = [p["name"] for p in _peers(port)]
    for change, said in (
            (("listen_port = 51820", "listen_port = 51821"), "change only when the guests start again"),
            (('name = "a"', 'name = "z"'), "this is node a, the file is of z"), (("mode = ", "mod = "), "FILE:1: node: mode is missing"),
            (('public_key = "', 'psk = "none"\npublic_key = "'), "no pre-shared key named 'none'")):
        lines, end = sent(port, site_text(house.a).replace(*change, 1))
        assert said in end and end.startswith("error: not taken over: "), end
    data = site_text(house.a).encode()
    port.type(b"reload base64 %d %s\r" % (len(data), bytes(64)[:64].hex()[:64].encode()) + base64.encodebytes(data) + b".\r")
    assert "send it again" in port.answer()[1]
    assert [p["name"] for p in _peers(port)] == before
    flows(house.a, house.b)

    port.type(b"reload\r" + site_text(house.a, NEW_SITE).encode().replace(b"\n", b"\r") + b".\r")
    lines, end = port.answer()
    assert end == "ok" and "added: puno" in lines and any(line.endswith("with it: networks") for line in lines)
    wait_until(lambda: len(_peers(port)) == 2, 60, "the new peer is told of")
    results = [(e["who"], e["what"], e["result"]) for e in trail(house)][-4:]
    assert results == [("console", "reload", "asked"), ("supervisor", "site file", "asked"), ("supervisor", "site file", "ok"),
                       ("console", "reload", "ok")]
    assert ping(house.a.host, house.b.address).lost == 0


def restart(house, number=signal.SIGKILL):
    """As the guest's host does it; unlocked again."""
    house.a.stop("crypto", number)
    house.a.start("crypto")
    house.port.shown = b""
    house.port.unlock()


def test_what_was_taken_outlives_the_guest_until_its_image_has_another_file(house, port):
    sent(port, site_text(house.a, NEW_SITE))
    restart(house)
    assert [p["name"] for p in _peers(house.port)] == ["b", "puno"]
    file = house.a.directory / "a.toml"
    file.write_text(file.read_text() + "# of a new image\n")
    restart(house)
    assert [p["name"] for p in _peers(house.port)] == ["b"]
    flows(house.a, house.b)


def _peers(port):
    return wait_until(lambda: port.status()["rooms"]["crypto"]["status"].get("peers"), 60, "the room has told of its peers")


def test_a_recorded_initiation_stays_refused_when_the_guest_starts_again(house, port):
    """b is silent by then: nothing but what a remembers can refuse it."""
    flows(house.a, house.b)
    with Capture(house.internet, "to-a") as wire:
        house.b.stop("crypto", signal.SIGKILL)
        house.b.start("crypto")
        house.b.ready("crypto")
        wait_until(lambda: ping(house.b.host, house.a.address, count=1).lost == 0, 60, "b has begun")
    recorded = answered(wire, house.b.home.address)
    assert recorded
    house.b.stop("black", signal.SIGKILL)
    restart(house)
    send_until_refused(house.internet, recorded[-1], house.a.home.address,
                       lambda: port.status()["rooms"]["crypto"]["status"])
    (peer,) = _peers(house.port)
    assert not peer["events"].get("responses")
    house.b.start("black")
    flows(house.a, house.b)


@pytest.mark.parametrize("what", ["random bytes", "long lines", "unread answers", "half commands"])
def test_whatever_is_typed_traffic_goes_on_and_the_console_answers(house, port, what):
    flows(house.a, house.b)
    rng, pid = random.Random(what), house.a.jailed("crypto")
    for _ in range(20):
        typed = {"random bytes": rng.randbytes(3000).replace(b"\x03", b""), "long lines": b"status " * 500 + b"\r",
                 "unread answers": b"audit 10000\rstatus json\r" * 20, "half commands": b"reload\r[node]\rkeys psk x\r\x03reload\r"}[what]
        os.set_blocking(house.port.master, False)
        try:
            os.write(house.port.master, typed)  # what it does not take now, it need not
        except BlockingIOError:
            pass
    assert ping(house.a.host, house.b.address, count=20, interval=0.05).lost == 0
    os.set_blocking(house.port.master, True)
    port.type(b"\r.\r\x03hello sesame\r")
    port.until(b"open sesame\r\nok\r\n")
    assert port.status()["up"] and house.a.jailed("crypto") == pid


def test_a_terminal_may_go_and_another_come(house, port):
    port.type(b"reload\r[node]\r")
    port.until(b"a point\r\n")
    for _ in range(2):
        port.unplug()
        assert ping(house.a.host, house.b.address).lost == 0
        time.sleep(0.1)
        port.plug()
        port.shown = b""
        assert b"crypto's console 1, node a" in port.until(b"> ")
        assert port.status()["up"]
    assert ping(house.a.host, house.b.address).lost == 0


def _begins_alone(house) -> bool:
    """Whether the first session after a restart was of its own making; the peer may begin, too."""
    restart(house)
    wait_until(lambda: _peers(house.port)[0]["sessions"], 60, "there is a session")
    events = _peers(house.port)[0]["events"]
    return bool(events.get("initiations")) and not events.get("responses")


def test_a_clock_that_is_behind_does_not_cut_a_node_off(tmp_path):
    """What it stamped last is on the disk: as if its clock stood still a year before that (A2)."""
    (tmp_path / "state").mkdir()
    with two(tmp_path, {"a": room_file(tmp_path)}) as (a, b, _):
        floors = [time.time_ns() + 365 * 86400 * 10**9]
        sealed(tmp_path / "state/keys.sealed", a.private, floors[0])
        house = SimpleNamespace(a=a, b=b, port=Port(tmp_path / "console"), state=tmp_path / "state")
        start_all(a, b)
        house.port.unlock()
        flows(a, b)
        for _ in range(2):
            assert any(_begins_alone(house) for _ in range(4)), "its own initiation was accepted"
            flows(a, b)
            floors.append(opened(house.state).document.floor)
        assert all(later - before > 60 * 10**9 for before, later in itertools.pairwise(floors)), "none is stamped twice"
        house.port.unplug()


def test_a_full_disk_refuses_changes_says_so_and_stops_no_traffic(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", state], check=True)
    try:
        with two(tmp_path, {"a": room_file(tmp_path)}) as (a, b, _):
            sealed(state / "keys.sealed", a.private)
            fill(state / "filler")
            port = Port(tmp_path / "console")
            start_all(a, b)
            port.unlock()
            flows(a, b)
            assert port.said(b"keys psk x new")[1] == \
                "error: the audit trail cannot be written (No space left on device): nothing was changed"
            assert port.said(b"keys list")[0][1:] == []
            assert "No space left on device" in sent(port, site_text(a, NEW_SITE))[1]
            lines, _ = port.said(b"status")
            assert any("full" in line for line in lines) and any("the audit trail cannot be written" in line for line in lines)
            (state / "filler").unlink()
            assert port.said(b"keys psk x new")[1] == "ok"
            assert ping(a.host, b.address).lost == 0
            port.unplug()
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def fill(path):
    with open(path, "wb", buffering=0) as f, pytest.raises(OSError, match="No space"):
        while True:
            f.write(bytes(4096))


def test_without_a_disk_the_store_of_the_image_is_read_and_not_changed(tmp_path):
    (tmp_path / "state").mkdir()
    with two(tmp_path, {"a": room_file(tmp_path, disk=False)}) as (a, b, _):
        sealed(tmp_path / "state/keys.sealed", a.private)
        before = (tmp_path / "state/keys.sealed").read_bytes()
        port = Port(tmp_path / "console")
        start_all(a, b)
        port.unlock()
        flows(a, b)
        for typed in (b"keys psk x new", b"keys passphrase\r" + SECRET + b"\rnew\rnew"):
            assert "part of this guest's image" in port.said(typed)[1]
        lines, end = sent(port, site_text(a, NEW_SITE))
        assert end == "ok" and any(line.startswith("there is no disk") for line in lines)
        assert any("no disk" in line for line in port.said(b"status")[0])
        assert [json.loads(line)["result"] for line in port.said(b"audit 1")[0][:-1]] == ["ok"]
        head = verify([("log", "".join(re.findall(r"audit: (\{.*\}\n)", a.log("crypto"))).encode())])
        assert port.said(b"audit 1")[0][-1] == f"head: {head.entries} {head.hash}" and head.entries > 4
        assert ping(a.host, b.address).lost == 0 and (tmp_path / "state/keys.sealed").read_bytes() == before
        assert "Traceback" not in a.log("crypto") and "not saved" not in a.log("crypto")
        port.unplug()
