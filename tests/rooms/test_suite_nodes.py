"""Nodes and tunnels with the toy suite, none of whose sizes is WireGuard's, and with those of
examples/suites: they come up, carry traffic, survive a killed crypto room, keep keys of their sizes, and
are shown as what they are. F8, F10."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need
from site_files import KEY, LIMA
from toy import SOURCE, build

from wgpy.isolate.library import Library
from wgpy.lab.encryptors import Pair
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ROOT = Path(__file__).parents[2]
TOY = Path(SOURCE)
SUITES = [TOY, *sorted(p.parent for p in (ROOT / "examples/suites").glob("*/Makefile"))]
PING = ("ping", "-c", "3", "-i", "0.2", "-W", "60")


@pytest.fixture(scope="module", params=SUITES, ids=lambda p: p.stem)
def library(request, tmp_path_factory):
    need("make")
    need("cc")
    folder = tmp_path_factory.mktemp("suite")
    folder.chmod(0o755)
    if request.param is TOY:
        build(f"{folder}/toy.so")
    else:
        subprocess.run(["make", "-s", "-C", request.param, f"OUT={folder}", f"WGPY_INCLUDE={ROOT / 'wgpy/suite'}"], check=True, timeout=300)
    (built,) = folder.glob("*.so")
    built.chmod(0o644)
    found = Library(str(built), hashlib.sha256(built.read_bytes()).hexdigest())
    yield found
    found.close()


@pytest.fixture(scope="module")
def pair(library, tmp_path_factory):
    made = Pair(tmp_path_factory.mktemp("pair"), library=library)
    try:
        yield made.start()
    finally:
        made.close()


def wgpy(box, *arguments, stdin="", env=()):
    """Its output; AssertionError with what it said otherwise."""
    done = box.run("env", *env, sys.executable, "-I", "-m", "wgpy.cli", *arguments, input=stdin, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_nodes_carry_traffic_and_say_which_suite_they_have(pair, library):
    pair.a.host.run(*PING, pair.b.address)
    wait_until(lambda: f"suite: {library.facts.name}" in pair.a.command("status", "a").stdout, 60, "the status")
    mtu = 1500 - 48 - library.facts.lengths.overhead
    assert f"mtu {mtu} " in pair.a.inside("red", "ip", "link", "show", "secure0").stdout
    whole = ("ping", "-M", "do", "-c", "1", "-W", "60", "-s", str(mtu - 28), pair.b.address)
    pair.a.host.run(*whole)  # as long as the tunnel takes, in one datagram of the WAN's MTU
    assert "internal error" not in pair.a.log.read_text() + pair.b.log.read_text()


def test_a_killed_crypto_room_comes_back_with_the_same_suite(pair):
    before = pair.a.status()["rooms"]["crypto"]["restarts"]
    pair.a.signal("crypto", 9)
    wait_until(lambda: pair.a.status()["rooms"]["crypto"]["restarts"] > before, 60, "crypto is started anew")
    wait_until(lambda: ping(pair.a.host, pair.b.address, count=1).lost == 0, 60, "traffic is back")
    pair.a.host.run(*PING, pair.b.address)


def test_a_reload_cannot_change_the_suite(pair):
    text = pair.a.file.read_text()
    pair.a.file.write_text(text.replace(pair.a.library.sha256, "0" * 64))
    try:
        pair.a.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "[suite] cannot change while the node is up" in pair.a.status()["reloads"]["refused"], 60, "the refusal")
    finally:
        pair.a.file.write_text(text)
    pair.a.host.run(*PING, pair.b.address)


def test_a_key_store_has_keys_of_the_suite(library, tmp_path):
    other = wgpy_key(library)
    site, credential = tmp_path / "lima.toml", tmp_path / "credential"
    site.write_text(LIMA.replace(KEY, other) + f'[suite]\nlibrary = "{library.path}"\nsha256 = "{library.sha256}"\n')
    credential.write_text("a credential\n")
    credential.chmod(0o600)
    env = (f"WGPY_STATE_DIR={tmp_path / 'state'}",)
    with Netns("keys") as box:
        made = json.loads(wgpy(box, "keys", "seal", str(site), "--credential", str(credential), "--json", env=env))
        shown = json.loads(wgpy(box, "site", "show", str(site), "--json", env=env))
        assert json.loads(wgpy(box, "site", "check", str(site), "--json", env=env))["ok"]
        site.write_text(site.read_text().replace(other, KEY))
        wrong = box.run("env", *env, sys.executable, "-I", "-m", "wgpy.cli", "site", "check", str(site), check=False)
    assert shown["public_key"] == made["public_key"] and shown["suite"]["sha256"] == library.sha256
    assert wrong.returncode == 1 and f"{site}:14: site.public_key: a key is" in wrong.stdout
    assert f"({library.facts.public_size} bytes)" in wrong.stdout


def wgpy_key(library):
    return base64.b64encode(library.public(library.new_key())).decode()


def test_a_tunnel_comes_up_by_its_file_and_wg_is_told_no_garbage(library, tmp_path):
    """Two ends of one tunnel in two namespaces, with `wgpy up`."""
    need("wg")
    private = [library.new_key() for _ in "ab"]
    ends = [(base64.b64encode(key).decode(), base64.b64encode(library.public(key)).decode()) for key in private]
    with Netns("one") as one, Netns("two") as two:
        join(one, two, a_addresses=("192.0.2.1/24",), b_addresses=("192.0.2.2/24",))
        for number, (box, mine, theirs) in enumerate(((one, ends[0], ends[1]), (two, ends[1], ends[0])), 1):
            file = tmp_path / f"wgs{number}.conf"
            file.write_text(f"[Interface]\nPrivateKey = {mine[0]}\nListenPort = 5182{number}\nAddress = 10.9.0.{number}/24\n"
                            f"SuiteLibrary = {library.path}\nSuiteSha256 = {library.sha256}\n[Peer]\nPublicKey = {theirs[1]}\n"
                            f"Endpoint = 192.0.2.{3 - number}:5182{3 - number}\nAllowedIPs = 10.9.0.{3 - number}/32\n")
            file.chmod(0o600)
            wgpy(box, "up", str(file))
        try:
            one.run(*PING, "10.9.0.2")
            shown = json.loads(wgpy(one, "show", "wgs1", "--json"))["wgs1"]
            assert shown["suite"] == library.facts.name and shown["public_key"] == ends[0][1] and list(shown["peers"]) == [ends[1][1]]
            said = one.run("wg", "show", "wgs1").stdout
            assert "listening port: 51821" in said and "public key" not in said
            assert "peer" not in said
            refused = one.run("wg", "set", "wgs1", "peer", KEY, check=False)
            assert refused.returncode != 0 and "Invalid argument" in refused.stderr
        finally:
            for number, box in enumerate((one, two), 1):
                wgpy(box, "down", f"wgs{number}")
