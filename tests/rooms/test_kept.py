"""Where crypto's guest has no disk, what red keeps for it sealed is there when it starts again: an initiation
recorded before is refused after, the trail can be read; and whatever red shows, crypto comes up (F1, A4, I3)."""

import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from rooms.alone import all_ready, flows, two
from rooms.nodes import ROOMS
from rooms.recorded import answered, send_until_refused
from rooms.terminals import Port

from wgpy.admin.audit import verify
from wgpy.crypto.pieces import Sealer, trail_of
from wgpy.lab.netns import wait_until
from wgpy.lab.wire import Capture
from wgpy.red.shelf import BYTES
from wgpy.ring.lane import PIECES

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """b, whose red has a disk, heard from a, and a is gone: `recorded` is an initiation of a's that b
    answered; `before`, what b's red kept until then."""
    directory = tmp_path_factory.mktemp("kept")
    (directory / "state").mkdir()
    crypto = f'[keys]\nraw = "{directory}/b.key"\n[console]\ntty = "{directory}/console"'
    with two(directory, {"b": crypto}, {"b": f'[state]\ndir = "{directory}/state"'}) as (a, b, internet):
        file, port = directory / "state/kept", Port(directory / "console")
        for room in ROOMS:
            b.start(room)
        for room in ROOMS:
            b.ready(room)
        made = SimpleNamespace(b=b, port=port, file=file, internet=internet)
        wait_until(lambda: deposit(made)["kept"] and not deposit(made)["behind"], 20, "the trail's beginning is kept")
        made.before = file.read_bytes()
        with Capture(internet, "to-a") as wire:
            for room in ROOMS:
                a.start(room)
            all_ready(a, b)
            wait_until(lambda: flows(a, b) is None and answered(wire, a.home.address), 20, "an initiation of a's that b answers")
            made.recorded = answered(wire, a.home.address)[-1]
        for room in ROOMS:
            a.stop(room, signal.SIGTERM)
        wait_until(lambda: file.read_bytes() != made.before and not deposit(made)["behind"], 20, "it is kept")
        yield made
        port.unplug()


def status(house):
    """Of b's crypto; {} until it has told of its peers."""
    word = os.urandom(4).hex().encode()
    house.port.type(b"\x03hello " + word + b"\r")
    house.port.until(b" b open " + word + b"\r\nok\r\n")
    found = house.port.status()["rooms"]["crypto"]["status"]
    return found if "peers" in found else {}


def deposit(house):
    return {"kept": 0, "behind": 1} | status(house).get("deposit", {})


def start_again(house, *, red=None):
    """b's crypto in a guest of its own, as after a loss of power; `red`: with another file of its."""
    house.b.stop("crypto", signal.SIGKILL)
    if red is not None:
        house.b.stop("red", signal.SIGKILL)
        house.file.write_bytes(red)
        house.b.start("red")
    house.b.start("crypto")
    house.b.ready("crypto")
    wait_until(lambda: status(house), 20, "crypto tells of itself")


def replayed(house):
    """How often the recording was answered, until it was refused."""
    send_until_refused(house.internet, house.recorded, house.b.home.address, lambda: status(house))
    found = status(house)
    return found["peers"][0]["events"].get("responses", 0)


def test_an_initiation_recorded_before_cryptos_guest_started_again_is_refused_after(house):
    start_again(house)
    assert deposit(house)["recalled"] >= 2 and deposit(house)["keeps"]
    assert replayed(house) == 0


def test_the_trail_of_each_start_can_be_read_from_reds_disk(house):
    wait_until(lambda: not deposit(house)["behind"], 20, "the trail is kept")
    trails, wrong = trail_of(house.file.read_bytes(), Sealer(house.b.private))
    logged = "".join(re.findall(r"audit: (\{.*\}\n)", house.b.log("crypto"))).encode()
    assert wrong == [] and trails[-1] == logged and len(trails) >= 2
    assert all(verify([("kept", trail)]).entries for trail in trails)
    process = Path(f"/proc/{house.b.jailed('crypto')}")
    (fd,) = [fd.name for fd in (process / "fd").iterdir() if "audit" in os.readlink(fd)]
    (flags,) = re.findall(r"flags:\s(\d+)", (process / "fdinfo" / fd).read_text())
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY


def test_after_a_roll_back_by_red_the_recording_is_answered_once(house):
    start_again(house, red=house.before)
    assert replayed(house) == 1


def test_crypto_comes_up_whatever_red_kept(house):
    start_again(house, red=os.urandom(BYTES))
    wait_until(lambda: deposit(house).get("recalled_all"), 20, "all was shown")
    found = deposit(house)
    refused = found.get("piece_forged", 0) + found["piece_version"]
    assert PIECES - 1 <= refused <= PIECES and found["keeps"]  # the last piece that was given lay on the page still
    assert "Traceback" not in house.b.log("crypto") + house.b.log("red")
