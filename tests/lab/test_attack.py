"""F3: `wgpy lab attack` attacks what it says that it attacks, and tells what came of it."""

import json
import subprocess
import sys

import pytest

from wgpy.lab import attack, attack_report, frames
from wgpy.lab.attack_arena import Arena
from wgpy.lab.netns import Netns, join
from wgpy.lab.traffic import ping
from wgpy.lab.wire import Capture

ATTACK = (sys.executable, "-I", "-m", "wgpy.cli", "lab", "attack")


@pytest.mark.netns
@pytest.mark.parametrize(("target", "kind"), (("wgpyd", "forged"), ("encryptor", "garbage"), ("encryptor", "forged")))
def test_quick_cell_end_to_end(target, kind):
    done = subprocess.run((*ATTACK, "--quick", "--json", "--target", target, "--attack", kind, "--rate", "5000"),
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert [(c["kind"], c["session"]) for c in cells] == [(kind, "none"), (kind, "live")]
    for cell in cells:
        assert cell["error"] == "" and cell["crashes"] == 0
        assert 100 < cell["rate"] < 5500, "the achieved rate is told, and none is exceeded"
        assert 0 < cell["handshake"] < 12
    live = cells[1]
    assert min(live["idle_bits"], live["dropped_bits"], live["bits"]) > 0 and live["pings_lost"] < 1


@pytest.mark.netns
def test_kernel_drops_what_is_compared_with():
    """The other half of the ratio costs the daemon nothing: it sees none of it."""
    with Arena("wgpyd") as arena:
        arena.session()
        for kind in ("forged", "packets"):
            order = arena.order(kind, 5000, 30)
            before = arena.target.facts()["udp_packets_in"]
            with arena.kernel_drops(order) as harmless, arena.flooding(harmless) as counts:
                arena.peer.host.run("sleep", "1")
            assert counts[0]["sent"] > 500
            assert arena.target.facts()["udp_packets_in"] - before < 100, kind
        assert ping(arena.peer.host, arena.inner).lost == 0


@pytest.mark.netns
def test_a_cell_that_fails_is_told_and_leaves_the_others():
    cells = attack.run(attack.QUICK, [("absent", "garbage", "none"), ("wgpyd", "garbage", "none")],
                       {"absent": "/nowhere/daemon", "wgpyd": "wgpyd"})
    assert "does not exist" in cells[0].error and cells[1].error == ""
    with pytest.raises(Exception, match="unknown"):
        attack.check(["harmless"], [])


def test_a_run_ends_in_time():
    """The limit, and one cell that began just before it."""
    assert attack.Plan().limit + 30 <= 12 * 60
    cells = attack.run(attack.Plan(limit=-1), [("wgpyd", "garbage", "none")], {"wgpyd": "wgpyd"})
    assert cells[0].error.startswith("not run")


@pytest.mark.netns
def test_frames_are_what_the_order_says():
    """Seen on the wire: addresses, ports, valid headers, the rate as a bound."""
    with Netns("one") as one, Netns("two") as two:
        join(one, two, a_addresses=("192.0.2.1/24",), b_addresses=("192.0.2.2/24",))
        mac = two.run("cat", "/sys/class/net/eth0/address").stdout.strip()
        for kind, source in (("garbage", ("203.0.113.9", 77)), ("sources", ("0.0.0.0", 0))):
            order = frames.Order(kind, ("192.0.2.2", 9), 2000, 1, source=source, link="eth0", gateway=mac,
                                 key="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
            with Capture(two) as seen:
                done = json.loads(one.run(sys.executable, "-I", "-m", "wgpy.lab.frames",
                                          input=order.text()).stdout.splitlines()[-1])
            got = [f for f in seen.frames() if f.destination == ("192.0.2.2", 9)]
            assert 64 <= done["sent"] <= 2000 * 1.1 + 64 and len(got) + seen.missed >= done["sent"]
            assert {f.source for f in got} == {source} if kind == "garbage" else len({f.source for f in got}) > 50
        # the kernel found no fault with the headers: they reached a socket
        counters = two.run("cat", "/proc/net/snmp").stdout.splitlines()
        names, values = (line.split() for line in counters if line.startswith("Ip:"))
        assert values[names.index("InHdrErrors")] == "0"


def test_table_goes_between_the_markers(tmp_path):
    cell = attack.Cell("wgpyd", "forged", "live", rate=1000, handshake=0.5, waited=12, idle_bits=4e9,
                       dropped_bits=2e9, bits=1e9, kept=0.5, ping_p50=0.1, ping_p99=2.0, alarm=0.3, alarmed=True)
    late = attack.Cell("encryptor", "forged", "none", waited=12, alarmed=False)
    document = tmp_path / "doc.md"
    document.write_text("above\n<!-- attacks -->\nold\n<!-- end -->\nbelow\n")
    attack_report.embed(str(document), attack_report.table([cell, late]))
    text = document.read_text()
    assert text.startswith("above\n") and text.endswith("<!-- end -->\nbelow\n") and "old" not in text
    assert "none in 12" in text and "| 50%" in text and "4,000, 2,000, 1,000" in text
