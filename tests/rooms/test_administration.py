"""A node with a sealed key store, administered while it runs (A2, F6, I1, I3)."""

import base64
import json
import os
import pty
import re
import socket
import sys
import time
from contextlib import contextmanager

import pytest
from rooms.sealed_node import SECRET, reaches, sealed, young
from rooms.test_keys import found, memory

from wgpy.lab.netns import meanwhile, wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def node():
    with sealed() as made:
        yield made


def test_a_node_runs_from_its_sealed_store(node):
    assert ping(node.a.host, node.pair.b.address, count=5, interval=0.2).lost <= 1
    assert node.peer()["events"]["handshake_complete"] >= 1


def test_no_key_on_disk_in_argv_or_environment(node):
    """F6: private and pre-shared key in any form, and the credential."""
    secrets = [form for key in (node.a.private, node.a.psk)
               for form in (key, key.hex().encode(), base64.b64encode(key)[:42])]
    for root in (node.state, node.a.run_dir):
        for path in root.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not [s for s in secrets + [SECRET.encode()] if s in data], path
    log = node.a.log.read_bytes()
    assert not [s for s in secrets + [SECRET.encode()] if s in log]


def test_supervisor_black_and_red_have_neither_keys_nor_passphrase(node):
    """F6: they pass descriptors on, and read nothing."""
    secrets = {"private": node.a.private, "psk": node.a.psk, "passphrase": SECRET.encode()}
    for pid in (node.a.process.pid, node.a.pid("black"), node.a.pid("red")):
        assert not found(secrets, memory(pid)), pid
    assert found(secrets, memory(node.a.pid("crypto"))) == {"private", "psk"}, "the search finds what is there"


def test_others_than_administrators_get_eacces_and_an_entry(node):
    """I1, I3."""
    assert node.raw(b"get=1\n\n", uid=4711) == b"errno=13\n\n"
    assert json.loads(node.raw(b'wgpy=1\n{"cmd":"reload"}\n\n', uid=4711))["errno"] == 13
    refused = [e for e in node.entries() if e["result"] == "refused"]
    assert refused and refused[-1]["who"]["uid"] == 4711


def test_the_private_key_is_never_told_and_cannot_be_set(node):
    told = node.raw(b"get=1\n\n").decode()
    assert "private_key" not in told and node.a.psk.hex() not in told
    assert f"public_key={node.pair.b.public.hex()}" in told
    for line in (b"private_key=" + b"11" * 32, b"listen_port=5", b"fwmark=5"):
        assert node.raw(b"set=1\n" + line + b"\n\n") == b"errno=-1\n\n"
    last = node.entries()[-1]
    assert last["what"] == "set" and last["result"] == "EPERM"
    assert "11" * 32 not in json.dumps(node.entries())
    assert reaches(node)


def test_peers_can_be_changed_live(node):
    other = os.urandom(32).hex()
    assert node.raw(f"set=1\npublic_key={other}\nallowed_ip=10.77.0.0/24\n\n".encode()) == b"errno=0\n\n"
    assert other in node.raw(b"get=1\n\n").decode()
    assert node.raw(f"set=1\npublic_key={other}\nremove=true\n\n".encode()) == b"errno=0\n\n"
    assert other not in node.raw(b"get=1\n\n").decode()
    assert reaches(node)


def test_many_requests_keep_nobody_waiting(node):
    answers = [node.raw(b"get=1\n\n" * 50) for _ in range(3)]
    assert all(a.count(b"errno=0") >= 1 for a in answers) and reaches(node)


def test_a_new_site_comes_without_the_others_going(node):
    young(node)
    before = node.peer()
    extra = ('[[site]]\nname = "third"\npublic_key = "' + base64.b64encode(os.urandom(32)).decode()
             + '"\nnetworks = ["10.9.0.0/24"]\n')
    node.a.write_site([node.pair.b], extra=extra)
    node.run("node", "reload", "a")
    assert len(node.ask(cmd="peers")["peers"]) == 2
    assert node.peer()["handshake"] == before["handshake"] and reaches(node)
    assert node.peer()["events"]["handshake_complete"] == before["events"]["handshake_complete"]
    asked, done = [e for e in node.entries() if e["what"] == "site file"][-2:]
    assert asked["detail"]["added"] == ["third"] and (asked["result"], done["result"]) == ("asked", "ok")
    assert asked["who"] == "supervisor" and "by" not in asked
    node.a.write_site([node.pair.b])
    answer = node.ask(cmd="sites-set", text=node.a.file.read_text())
    assert answer["removed"] == ["third"] and answer["needs_reload"] == ["networks"]
    assert "no pre-shared" in node.ask(cmd="sites-set", text=node.a.file.read_text().replace('"ab"', '"none"'))["error"]
    assert node.peer()["handshake"] == before["handshake"]
    node.run("node", "reload", "a")


def ruleset(node) -> list[str]:
    """Of black and red, without what sets have learnt of packets."""
    listed = [node.inside(room, "nft", "-s", "list", "ruleset").stdout for room in ("black", "red")]
    return [" ".join(re.sub(r"(flags dynamic[^}]*?)elements = \{[^}]*\}", r"\1", text).split()) for text in listed]


@pytest.mark.parametrize("change, reason", [
    (lambda text: text.replace('psk = "ab"', 'psk = "none"'), "no pre-shared key named 'none'"),
    (lambda text: text + '[firewall]\nblack = ["tcp dprt 22 accept"]\n', "dprt"),
    (lambda text: text.replace("51820", "51821", 1), "only with down and up"),
    (lambda text: text + "oops\n", "site file"),
], ids=["no such key", "no such match", "another port", "no TOML"])
def test_a_site_file_that_cannot_be_taken_over_changes_nothing(node, change, reason):
    """I6: the command says why, and a crypto room that dies later still starts."""
    node.a.write_site([node.pair.b], extra='[[permit]]\nfrom = ["10.1.0.0/25"]\nto = ["10.2.0.0/25"]\n')
    node.a.file.write_text(change(node.a.file.read_text()))
    rules = ruleset(node.a)
    said = node.run("node", "reload", "a", fails=True)
    assert "not taken over: " in said and (reason in said or reason == "site file" and "a.toml:" in said), said
    assert rules == ruleset(node.a)
    node.a.write_site([node.pair.b])
    pid = node.a.pid("crypto")
    node.a.signal("crypto", 9)
    wait_until(lambda: node.a.pid("crypto") not in (0, pid), 60, "crypto is back")
    wait_until(lambda: reaches(node), 60, "traffic is back")


def test_status_metrics_and_views(node):
    from prometheus_client.parser import text_string_to_metric_families
    def told():  # what status.json says may be from before another test's restart
        document = json.loads(node.run("node", "status", "a", "--json"))["a"]
        return document if document["rooms"]["crypto"]["status"].get("peers") else None
    document = wait_until(told, 60, "peers are in status.json", interval=0.3)
    assert document["rooms"]["crypto"]["status"]["peers"][0]["name"] == "b"
    assert document["firewall"]["red"].keys() >= {"not_permitted", "protected_in_clear"}
    def shows_all():
        frame = node.run("node", "top", "a", "--once")
        return "red → crypto" in frame and "b " in frame and "ready" in frame
    wait_until(shows_all, 60, "top shows rings, peers and rooms", interval=0.3)
    def causes():  # another test's restart may have cost an initiation, which is repeated after 5 s
        return [f["cause"] for f in json.loads(node.run("node", "why", "b", "--node", "a", "--json"))]
    wait_until(lambda: causes()[-1] == "up", 60, "why says that b is up", interval=0.3)
    assert "did you mean" in node.run("node", "why", "bb", "--node", "a", fails=True)
    def samples(name):
        text = prom.read_text() if (prom := node.a.run_dir / "a/metrics.prom").exists() else ""
        return [s for f in text_string_to_metric_families(text) if f.name == name for s in f.samples]
    # the file may be 15 s old, from before another test's site went, or from its restart
    wait_until(lambda: {s.labels["site"] for s in samples("wgpy_peer_sessions")} == {"b"}, 60, "one site")
    assert samples("wgpy_firewall_packets")


@contextmanager
def flooding(node):
    """Of what is no message, for as long as the block lasts."""
    def send(over):
        while not over.wait(0.02):
            for _ in range(200):
                stranger.sendto(b"x" * 40, (node.a.wan, 51820))
    with node.pair.internet.entered():
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with stranger, meanwhile(send):
        yield


def test_alarms_are_the_same_wherever_they_are_asked(node):
    """The supervisor judges what all rooms refuse: the socket, the text file and `wgpy show` agree."""
    from prometheus_client.parser import text_string_to_metric_families
    names = ("wgpy_flood", "wgpy_floods_total", "wgpy_under_load", "wgpy_under_load_total")

    def alarms(text):
        samples = [s for f in text_string_to_metric_families(text) for s in f.samples if s.name in names]
        return {s.name: s.value for s in samples}

    def at_socket():
        return alarms(node.ask(cmd="metrics")["text"])

    def in_file():
        return alarms((node.a.run_dir / "a/metrics.prom").read_text())

    def agreed(flood):
        """All four, and told alike, though one of them may change between two looks."""
        told = at_socket()
        return told if len(told) == 4 and told["wgpy_flood"] == flood and told == in_file() else None
    wait_until(lambda: (node.a.run_dir / "a/metrics.prom").exists(), 60, "the first text file, 15 s after the start")
    before = wait_until(lambda: agreed(0), 60, "crypto is told")
    with flooding(node):  # for as long as it is asked for: it is over 5 s after the last
        during = wait_until(lambda: agreed(1), 60, "the flood is an alarm at the socket and in the file")
        assert during["wgpy_floods_total"] > before["wgpy_floods_total"]
        shown = wait_until(lambda: json.loads(node.run("show", "a", "--json"))["a"].get("alarms"), 60, "show has alarms")
        assert shown.keys() == {"flood", "under_load"} and shown["flood"] == 1
        assert "times, now" in node.run("show", "a")
    wait_until(lambda: agreed(0), 60, "it is over")


def test_wg_works_on_it(node):
    shown = node.a.box.run("wg", "show", "a", "allowed-ips")
    assert shown.stdout.split() == [base64.b64encode(node.pair.b.public).decode(), node.pair.b.lan]
    done = node.a.box.run("wg", "set", "a", "listen-port", "7", check=False)
    assert done.returncode != 0 and node.entries()[-1]["result"] == "EPERM"


def starts(node):
    return [e["what"] for e in node.entries()].count("start")


def test_the_floor_outlives_power_loss(node):
    """Stamps after a restart are greater than all before, whatever the clock says."""
    floor, before = node.ask(cmd="keys")["floor"], starts(node)
    assert floor > time.time() - 60
    pid = node.a.pid("crypto")
    node.a.signal("crypto", 9)
    wait_until(lambda: node.a.pid("crypto") not in (0, pid), 60, "crypto is back")
    wait_until(lambda: reaches(node), 60, "traffic is back")
    assert node.ask(cmd="keys")["floor"] >= floor
    assert starts(node) == before + 1


def test_the_passphrase_changes_while_the_node_runs(node):
    other = node.directory / "other"
    other.write_text("something else")
    node.run("keys", "passphrase", "a", "--old", node.credential, "--new", other)
    assert "another one" in node.run("keys", "passphrase", "a", "--old", node.credential, "--new", other, fails=True)
    trail = json.dumps(node.entries())
    assert "something else" not in trail and SECRET not in trail
    results = [e["result"] for e in node.entries() if e["what"] == "passphrase-change"]
    assert results[:3] == ["asked", "ok", "asked"] and "another one" in results[3]
    pid = node.a.pid("crypto")
    node.a.signal("crypto", 9)  # its credential opens nothing any more, and still it comes back
    wait_until(lambda: node.a.pid("crypto") not in (0, pid), 60, "crypto is back")
    wait_until(lambda: reaches(node), 60, "traffic is back")
    node.run("keys", "passphrase", "a", "--old", other, "--new", node.credential)
    assert reaches(node)


def test_pre_shared_keys_by_name(node):
    psk = base64.b64encode(os.urandom(32)).decode()
    node.run("keys", "psk", "a", "spare", stdin=psk + "\n")
    assert node.ask(cmd="keys")["psks"] == ["ab", "spare"]
    node.run("keys", "psk", "a", "spare", "--remove")
    assert "is the pre-shared key of b" in node.run("keys", "psk", "a", "ab", "--remove", fails=True)
    assert psk not in json.dumps(node.entries())


def test_crypto_has_no_descriptor_of_the_trail(node):
    """Whoever has taken it over can neither change nor cut it."""
    def files(pid):
        return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    trail, keys = (str(node.state / "a" / name) for name in ("audit.log", "keys.sealed"))
    crypto = files(node.a.pid("crypto"))
    assert keys in crypto and trail not in crypto, crypto
    assert trail in files(node.a.process.pid)


def test_the_trail_is_whole(node):
    told = json.loads(node.run("node", "audit", "verify", "a", "--json"))
    assert told["entries"] == len(node.entries()) == node.ask(cmd="audit")["entries"]


def test_the_store_is_busy_and_a_wrong_credential_is_said(node):
    assert "in use by a running node" in node.run("keys", "seal", node.a.file, "--credential", node.credential, fails=True)
    node.a.stop()
    wrong = node.directory / "wrong"
    wrong.write_text("wrong")
    said = node.run("node", "up", node.a.file, "--credential", wrong, fails=True)
    assert "does not open this key store" in said, said
    assert not (node.a.run_dir / "a" / "admin.sock").exists()


def test_a_passphrase_typed_at_the_console(node):
    """Asked for by the jailed room itself, once: not again when that room restarts."""
    if node.a.process.poll() is None:
        node.a.stop()
    master, slave = pty.openpty()
    node.a.process = node.a.box.popen(
        "setsid", "--ctty", "--wait", sys.executable, "-I", "-m", "wgpy.cli", "node", "up", node.a.file, "--foreground",
        env=node.environment(), stdin=slave, stdout=slave, stderr=slave)
    shown = typed(master, b"passphrase of node a: ", b"wrong\n")
    shown += typed(master, b"passphrase of node a: ", SECRET.encode() + b"\n")
    assert b"does not open" in shown and b"wrong\r" not in shown and SECRET.encode() not in shown
    wait_until(lambda: node.a.status().get("up"), 60, "a comes up")
    wait_until(lambda: reaches(node), 60, "traffic flows")
    node.a.signal("crypto", 9)
    wait_until(lambda: node.a.status()["rooms"]["crypto"]["restarts"] == 1
               and node.a.status()["rooms"]["crypto"]["state"] == "ready", 60, "crypto is back")
    wait_until(lambda: reaches(node), 60, "traffic is back")
    node.run("node", "down", "a")
    node.a.process.wait(60)


def test_a_passphrase_typed_for_a_node_in_the_background(node):
    node.run("node", "down", node.a.file)  # if it runs
    master, slave = pty.openpty()
    process = node.a.box.popen("setsid", "--ctty", "--wait", sys.executable, "-I", "-m", "wgpy.cli", "node", "up", node.a.file,
                               env=node.environment(), stdin=slave, stdout=slave, stderr=slave)
    typed(master, b"passphrase of node a: ", SECRET.encode() + b"\n")
    assert process.wait(60) == 0 and node.a.status()["up"]
    wait_until(lambda: reaches(node), 60, "traffic flows")
    node.run("node", "down", "a")
    assert "has no keys yet" in node.run("node", "up", other_site(node), fails=True)


def other_site(node):
    path = node.directory / "other.toml"
    path.write_text(node.a.file.read_text().replace('name = "a"', 'name = "nobody"'))
    return path


def typed(master, prompt, line):
    """What was shown until the prompt came; then types."""
    os.set_blocking(master, False)
    shown = bytearray()

    def prompted():
        try:
            shown.extend(os.read(master, 4096))
        except (BlockingIOError, OSError):
            pass
        return prompt in shown
    wait_until(prompted, 60, f"{prompt.decode()} (shown: {shown.decode(errors='replace')})")
    os.write(master, line)
    return bytes(shown)
