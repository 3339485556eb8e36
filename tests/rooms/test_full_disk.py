"""A node whose disk is full: nothing is changed that is not written down before (I1, I3)."""

import json
import os
import signal

import pytest
from rooms.sealed_node import reaches, sealed

from wgpy.lab.netns import wait_until

pytestmark = pytest.mark.netns


@pytest.fixture
def tiny():
    """A node whose state directory is a file system of 400 KiB."""
    with sealed("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs") as made:
        yield made


def rules(node):
    return node.a.inside("red", "nft", "-s", "list", "ruleset").stdout


def fill(path):
    with open(path, "wb", buffering=0) as f:
        with pytest.raises(OSError, match="No space"):
            while True:
                f.write(bytes(4096))


def test_a_full_disk_refuses_changes_and_leaves_them_undone(tiny):
    """I3: nothing is changed that is not written down before; what is there goes on."""
    filler = tiny.state / "filler"
    fill(filler)
    outcomes = []
    while not outcomes or outcomes[-1][1] == b"errno=0\n\n":  # the last page may hold some more
        key = os.urandom(32).hex()
        outcomes.append((key, tiny.raw(f"set=1\npublic_key={key}\nallowed_ip=10.77.0.0/24\n\n".encode())))
        assert len(outcomes) < 30
    assert outcomes[-1][1] == b"errno=-28\n\n"
    shown = tiny.raw(b"get=1\n\n").decode()
    assert [key in shown for key, _ in outcomes] == [True] * (len(outcomes) - 1) + [False]
    psks = tiny.ask(cmd="keys")["psks"]
    answer = tiny.ask(cmd="psk-set", name="new")
    assert answer["errno"] == 28 and "nothing was changed" in answer["error"] and "key" not in answer
    tiny.a.write_site([tiny.pair.b], extra='[[permit]]\nfrom = ["10.1.0.0/25"]\nto = ["10.2.0.0/25"]\n')
    assert "audit trail cannot be written" in tiny.run("node", "reload", "a", fails=True)
    assert "10.1.0.0/25" not in rules(tiny) and reaches(tiny)
    assert tiny.ask(cmd="keys")["psks"] == psks
    tiny.a.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "audit trail cannot be written" in tiny.a.status()["reloads"]["refused"], 60, "it says so")
    assert "10.1.0.0/25" not in rules(tiny)
    wait_until(lambda: tiny.a.status()["audit"] == "No space left on device", 60, "status.json says why")
    tiny.a.signal("crypto", 9)  # a start is not refused: traffic comes first
    wait_until(lambda: tiny.a.status()["rooms"]["crypto"]["restarts"] == 1, 60, "crypto is back")
    wait_until(lambda: reaches(tiny), 60, "traffic is back")
    filler.unlink()
    tiny.run("node", "reload", "a")
    assert "10.1.0.0/25" in rules(tiny)
    assert tiny.ask(cmd="psk-set", name="new")["errno"] == 0
    told = json.loads(tiny.run("node", "audit", "verify", "a", "--json"))
    assert told["entries"] == tiny.ask(cmd="audit")["entries"]
    wait_until(lambda: tiny.a.status()["audit"] == "", 60, "status.json says that it is written again")
