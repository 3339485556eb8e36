"""Large mode, with a black that was taken over (F3, F6, A4): crypto and red live on, and all is well
when black is black again."""

import re
import signal
import time
from pathlib import Path

import pytest
from needs import need
from three_guests import (
    BACK,
    CARD,
    ENTROPY,
    HOST_BRIDGE,
    ISA_BRIDGE,
    RING,
    Console,
    devices,
    images_with,
    restarted,
)

from wgpy.lab.encryptors import Node, Pair
from wgpy.lab.guests import GuestNode
from wgpy.lab.leaks import Heartbeat, Wiretap
from wgpy.lab.netns import wait_until

pytestmark = [pytest.mark.netns, pytest.mark.slow]
HOSTILE = Path(__file__).with_name("hostile_black.py")
MAIN = "usr/lib/python3.11/wgpy/guest/main.py"  # Python takes it before the compiled form beside it


@pytest.fixture(scope="module")
def pair(built, tmp_path_factory):
    """Black is hostile at first; all others are up."""
    need("qemu-system-x86_64", "mkfs.ext4", "nft")
    directory = tmp_path_factory.mktemp("hostile")
    made = Pair(directory, "large", kinds=(GuestNode, Node))
    made.a.images = images_with(built.folder, directory / "images", "black", {MAIN: HOSTILE.read_bytes()})
    try:
        made.b.launch()
        made.a.launch()
        made.b.wait_up()
        yield made
    finally:
        made.close()


def test_what_a_hostile_black_writes_harms_nobody_else(pair):
    with Wiretap(pair) as tap, Heartbeat(pair) as heart:
        pair.a.wait_for("crypto", "asking")
        pair.a.type_passphrase(pair.a.passphrase)
        pair.a.wait_for("crypto", "ready")
        pair.a.wait_for("red", "ready")
        wait_until(lambda: "hostile: its half" in pair.a.said("black"), BACK, "black is hostile", 0.5)
        with Console(pair.a) as console:  # crypto answers its administrator meanwhile
            console.type("status")
            console.wait(r"(?m)^ok\r?$")
        wait_until(lambda: "hostile: is black again" in pair.a.said("black"), BACK, "black is black again", 0.5)
        pair.a.wait_for("black", "ready")
        heart.wait(BACK, time.monotonic())
    assert sum(map(int, re.findall(r"hostile: (\d+) times", pair.a.said("black")))) > 100
    assert [pair.a.guest(room)["restarts"] for room in ("black", "crypto", "red")] == [0, 0, 0]
    assert tap.frames(4) and not tap.leaks()


def test_in_large_mode_no_device_joins_red_and_black(pair):
    for room in ("black", "red"):
        assert devices(pair.a, room) == sorted([HOST_BRIDGE, ISA_BRIDGE, ENTROPY, RING, CARD])


@pytest.mark.long
def test_another_start_of_black_is_like_any_other(pair):
    """Hostile again, and well again."""
    with Heartbeat(pair) as heart:
        restarted(pair.a, "black", signal.SIGKILL)
        heart.wait(BACK, time.monotonic())
    assert pair.a.guest("crypto")["restarts"] == 0
