"""The three guests of a node together, under QEMU's TCG, against a peer of one process: models 2 and
3 of the source, but for the hardware (A4, A6)."""

from pathlib import Path

import pytest
from needs import need
from trio import ROOMS, SECONDS, Trio

from wgpy.guest import main
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

pytestmark = [pytest.mark.slow, pytest.mark.netns]
OTHER = "10.2.0.2"
COUNTS = r"\w+ guest INFO: ring .*"
PLACE = "usr/lib/python3.11/wgpy/guest/main.py"
# The main process also says, whenever it hears from its room, what the ends of rings have counted;
# and it ends the first life of its room.
COUNTING = """
def _counting(self, room, message, fds, message_of=Guest._message):
    ports = message.get("status", {}).get("ports", {})
    if ports and not room.restarts:
        room.kill()
    for name, port in ports.items():
        if "kicks" in port:
            log.info("ring %s", " ".join([name, *(f"{key} {port.get(key, 0)}" for key in ("calls_out", "calls_in", "kicks", "attaches"))]))
    message_of(self, room, message, fds)
Guest._message = _counting
"""


def counting() -> dict[str, bytes]:
    source = Path(main.__file__).read_text()
    return {PLACE: source.replace('\nif __name__ == "__main__":', COUNTING + '\nif __name__ == "__main__":').encode()}


@pytest.fixture(scope="module")
def trio(built, tmp_path_factory):
    need("qemu-system-x86_64", "wg", "nft", "ping")
    trio = Trio(built.folder, tmp_path_factory.mktemp("trio"), dict.fromkeys(ROOMS, counting()))
    try:
        trio.start(*ROOMS)
        for room in ROOMS:
            trio.guests[room].ready(times=2)
        yield trio
    finally:
        trio.close()


def flows(trio: Trio) -> None:
    wait_until(lambda: ping(trio.host, OTHER, count=1).lost == 0, SECONDS, "traffic")


def counted(trio: Trio, room: str) -> dict[str, dict[str, int]]:
    """By end of a ring, as the room said last."""
    found = {}
    for line in trio.guests[room].lines(COUNTS):
        name, *words = line.split("ring ", 1)[1].split()
        found[name] = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return found


def counted_anew(trio: Trio) -> dict[str, dict[str, dict[str, int]]]:
    """By room: what it counted after this call."""
    said = {room: len(trio.guests[room].lines(COUNTS)) for room in ROOMS}
    wait_until(lambda: all(len(trio.guests[room].lines(COUNTS)) > said[room] + 8 for room in ROOMS), SECONDS, "counts")
    return {room: counted(trio, room) for room in ROOMS}


def test_rooms_that_started_again_in_locked_kernels_carry_ping_both_ways(trio):
    for room in ROOMS:
        assert trio.guests[room].lines(f"{room} guest (ERROR|WARNING): .*") == [f"{room} guest ERROR: {room} ended with status -9"]
    flows(trio)
    assert trio.tunnel.peer().handshake
    assert ping(trio.host, OTHER).lost == ping(trio.peer, trio.address).lost == 0


def test_there_is_a_doorbell_for_a_train_at_most(trio):
    """A ring's end counts each; a train that finds its consumer awake has none."""
    flows(trio)
    before = counted_anew(trio)

    def enough():
        """By room and end of a ring; on a slow machine a call passes many at once."""
        ping(trio.host, OTHER, count=200, interval=0.01)
        found = {(room, name): {key: end[key] - before[room][name][key] for key in end}
                 for room, ends in counted_anew(trio).items() for name, end in ends.items()}
        return found if all(now["calls_out"] + now["calls_in"] >= 100 for now in found.values()) else None
    for (room, name), now in wait_until(enough, SECONDS, "100 calls at each end").items():
        print(room, name, now)
        assert now["kicks"] <= now["calls_out"] if name.startswith("to_") else now["kicks"] == 0
