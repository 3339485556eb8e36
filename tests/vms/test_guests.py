"""`wgpy vms up` and `down` with guests that boot (A4, A6, F10), and small programs in the rooms'
place: what the guests share, what their QEMUs may do, what is left of them."""

import os
import re
import shutil
from pathlib import Path

import pytest
from vms.launched import Launched
from vms.standins import stand_in

from wgpy.lab.netns import wait_until

ROOMS = ("black", "crypto", "red")
UNIT = Path(__file__).parents[2] / "packaging/systemd/wgpy-vms@.service"
pytestmark = [pytest.mark.slow, pytest.mark.netns]


@pytest.fixture(scope="module")
def small(standing_in, tmp_path_factory):
    """Up; its crypto asks for something."""
    images = tmp_path_factory.mktemp("asking")
    shutil.copytree(standing_in, images, dirs_exist_ok=True)
    stand_in(images, "crypto", asks=True)
    node = Launched(tmp_path_factory.mktemp("small"), images, "small")
    try:
        node.said = node.up().stderr
        yield node
    finally:
        node.close()


def fields(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def memory_of(pid: int) -> set[str]:
    """Names of the memory that a process has open."""
    return {link.removeprefix("/memfd:").removesuffix(" (deleted)") for link in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir())
            if link.startswith("/memfd:")}


def test_it_is_up_when_crypto_asks_and_its_console_answers(small):
    assert "crypto asks for the passphrase: wgpy vms console lima crypto" in small.said
    assert small.status()["guests"]["crypto"]["state"] == "asking"
    assert "heard go" in small.wgpy("console", "lima", "crypto", input="go\n").stdout
    small.hears("crypto", "guest INFO: ready")
    wait_until(lambda: small.status()["guests"]["crypto"]["state"] == "ready", 60, "crypto is ready")
    text = small.wgpy("status", small.file).stdout
    assert "lima: up, small, " in text and "crypto: ready, ready after " in text and "shares 8 MiB with black, 8 MiB with red" in text
    assert "guest INFO: ready" in small.wgpy("console", "lima", "red").stdout


def test_memory_joins_crypto_with_each_neighbour_and_them_with_nobody_else(small):
    """A6."""
    for room, heard in (("black", "crypto crypto"), ("red", "crypto crypto"), ("crypto", "black black"), ("crypto", "red red")):
        small.hears(room, f"heard: {heard}")
    has = {room: memory_of(small.pid(room)) for room in ROOMS}
    print(has)
    assert {room: {name for name in names if name in ("wgpy-vms-region-black", "wgpy-vms-region-red")} for room, names in has.items()} == {
        "black": {"wgpy-vms-region-black"}, "red": {"wgpy-vms-region-red"},
        "crypto": {"wgpy-vms-region-black", "wgpy-vms-region-red"}}


def test_ports_reach_their_guests_and_nothing_else(small):
    """A1, A3: frames cross; the host has neither the ports nor anything that stands between them."""
    assert "cards: eth0 eth1\n" in small.log("black") and "cards: eth0 eth1\n" in small.log("red") and "cards:\n" in small.log("crypto")
    for where, address in ((small.net, "192.0.2.10"), (small.host, "10.1.0.1")):
        wait_until(lambda where=where, address=address: where.run("ping", "-c1", "-W2", address, check=False).returncode == 0, 60, address)
    small.hears("red", "heard: clear")
    assert set(small.links()) == {"lo"}


def test_a_qemu_is_nobody_and_knows_no_network(small):
    """A4."""
    users = set()
    for room in ROOMS:
        pid = small.pid(room)
        status = fields(pid)
        users.add(status["Uid"].split()[0])
        assert status["Groups"].strip() == "" and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
        assert Path(f"/proc/{pid}/net/dev").read_text().count(":") == 1  # lo
        assert len(set(status["Uid"].split() + status["Gid"].split())) == 1
    assert len(users) == 3 and "0" not in users


def test_a_qemu_sees_no_files_but_programs(small):
    """Nor other processes; of its own it has descriptors."""
    for room in ROOMS:
        root = Path(f"/proc/{small.pid(room)}/root")
        assert [list((root / name).iterdir()) for name in ("var", "tmp", "run", "root", "home")] == [[]] * 5
        mounts = [line.split() for line in Path(f"/proc/{small.pid(room)}/mounts").read_text().splitlines()]
        assert "hidepid=invisible" in [m[3] for m in mounts if m[1] == "/proc"][-1]


def test_no_secret_is_where_others_look(small):
    """The key store is crypto's disk; nobody else's command line, environment or memory names it."""
    for room in ROOMS:
        pid = small.pid(room)
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert b"keys" not in seen and b"credential" not in seen
        disks = [link for link in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if link.endswith("crypto.ext4")]
        assert bool(disks) == (room == "crypto")
    assert small.disk.stat().st_mode & 0o777 == 0o600
    assert small.console.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("room", ["black", "crypto", "red"])
def test_a_guest_that_dies_starts_anew_and_the_others_stay(small, room):
    before = {r: small.pid(r) for r in ROOMS}
    neighbour = "black" if room == "crypto" else "crypto"
    assert all(before.values())
    os.kill(before[room], 9)
    small.hears(room, "cards:", 2)
    if room == "crypto":
        wait_until(lambda: small.status()["guests"]["crypto"]["state"] == "asking", 400, "crypto asks")
        small.wgpy("console", "lima", "crypto", input="go\n")
    small.hears(room, f"heard: {neighbour} {neighbour}", 2)
    after = {r: small.pid(r) for r in ROOMS}
    assert after[room] not in (0, before[room]) and {r: after[r] for r in ROOMS if r != room} == {
        r: before[r] for r in ROOMS if r != room}
    assert small.status()["guests"][room]["restarts"] == 1


def test_a_changed_site_file_reaches_crypto_first_and_restarts_whom_it_concerns(small):
    before, whole = {room: small.pid(room) for room in ROOMS}, small.file.read_text()
    small.file.write_text(whole.replace("51820\n", "51821\n", 1))
    refused = small.wgpy("reload", small.file, check=False)
    assert refused.returncode == 1 and refused.stderr.endswith("change only by wgpy vms down and up; nothing has changed\n")
    text = "# another\n" + whole + '[firewall]\nred = ["tcp dport 22 accept"]\n'
    small.file.write_text(text)
    assert small.wgpy("reload", small.file).stdout.splitlines() == [
        "crypto: has taken the file", "black: does with it what it did, and goes on", "red: starts again", "red: ready with the file"]
    assert f"crypto has a file of b'{len(text)}'" in small.log("crypto")
    after = {room: small.pid(room) for room in ROOMS}
    assert after["red"] not in (0, before["red"]) and (after["black"], after["crypto"]) == (before["black"], before["crypto"])
    assert [small.log(room).rpartition("comments:")[2].startswith(" # another\n") for room in ROOMS] == [False, False, True]


def test_it_is_up_once_in_whichever_way(small):
    assert "node lima is up already" in small.up(check=False).stderr
    said = small.box.run(*small.command("node", "down", "lima"), check=False).stderr
    assert said == "wgpy: lima is up as virtual machines: wgpy vms down lima\n"
    assert all(small.pid(room) for room in ROOMS)


def test_nothing_outlives_a_supervisor_that_is_killed(small):
    """F10: the guests end with it, and what joined them goes."""
    pids = [small.pid(room) for room in ROOMS]
    small.kill_supervisor()
    wait_until(lambda: not any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids), 60, "the guests end")
    assert "no such node is up" in small.wgpy("status", "lima", check=False).stderr
    wait_until(lambda: set(small.links()) == {"lo", "wan0", "lan0"}, 20, "the ports are the host's again")
    assert not any("UP" in small.links()[port]["flags"] for port in ("wan0", "lan0"))
    small.wgpy("down", "lima")
    assert not small.console.exists()


def test_large_mode_has_no_third_link_and_down_gives_everything_back(standing_in, tmp_path):
    """I5; any order of starting is one (here crypto last), and what the unit for systemd grants is enough."""
    node = Launched(tmp_path, standing_in, "large")
    capabilities = re.findall(r"CAP_(\w+)", " ".join(re.findall(r"CapabilityBoundingSet=(.*)", UNIT.read_text())))
    try:
        node.up("--order", "red,black,crypto", prefix=("setpriv", "--no-new-privs", "--bounding-set",
                                                       ",".join(["-all", *(f"+{c.lower()}" for c in capabilities)])))
        assert "cards: eth0\n" in node.log("black") and "cards: eth0\n" in node.log("red")
        node.hears("crypto", "heard: red red")
        pids = [node.pid(room) for room in ROOMS]
        assert node.wgpy("down", node.file).stderr == ""
        assert not any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids)
        assert {"wan0", "lan0"} < set(node.links()) and not any("UP" in node.links()[port]["flags"] for port in ("wan0", "lan0"))
        assert {p.name for p in node.console.parent.iterdir()} == {"log", "black.log", "crypto.log", "red.log"}
    finally:
        node.close()
