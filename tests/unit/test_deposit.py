"""What red keeps for a crypto without a disk: it comes back when crypto starts, red learns nothing of it,
and a red that shows something else, something older or nothing takes away no more than that (F1, F6, I3)."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.admin.audit import AuditLog, verify
from wgpy.constants import SECOND
from wgpy.crypto import stamps
from wgpy.crypto.deposit import RECALL, Deposit
from wgpy.crypto.keystore import FLOOR_HEADROOM
from wgpy.crypto.pieces import DATA, TRAILS, Piece, Refused, Sealer, trail_of
from wgpy.errors import WgpyError
from wgpy.protocol import tai64n
from wgpy.red.shelf import BYTES, Shelf
from wgpy.ring.lane import AREA, PIECE, PIECES, PLACES, Kind, Listener, Speaker

OURS = Sealer(b"k" * 32)
NOW = 1_800_000_000 * SECOND


def stamp(n: int) -> bytes:
    return tai64n.encode(NOW + n * SECOND)


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


class Peer:
    def __init__(self):
        self.greatest_timestamp = tai64n.ZERO


class House:
    """A crypto and a red that share two pages, at a time of their own. Either can start again."""

    def __init__(self, path):
        self.path, self.now = path, SECOND
        self.pages = {name: memoryview(bytearray(AREA)) for name in ("crypto", "red")}
        self.fds = []
        self.red_starts()
        self.guest_starts()

    def red_starts(self, disk=True):
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT) if disk else None
        self.fds += [fd] if disk else []
        self.red = Shelf(Speaker(self.pages["red"]), Listener(self.pages["crypto"]), fd)

    def guest_starts(self, sealer=OURS):
        """Of crypto: its memory is empty."""
        self.memory, self.trail = stamps.memory(), os.memfd_create("trail")
        self.fds += [self.memory, self.trail]
        self.log = AuditLog(self.trail, clock=lambda: 1.0)
        self.life = random.getrandbits(56)
        self.crypto_starts(sealer)

    def crypto_starts(self, sealer=OURS):
        self.stamps = stamps.Stamps(os.dup(self.memory))
        self.deposit = Deposit(Speaker(self.pages["crypto"]), Listener(self.pages["red"]), sealer, self.stamps, self.life, self.trail)
        began = self.now
        self.deposit.recall(lambda: self.now, self.pass_)
        return (self.now - began) / SECOND

    def pass_(self, seconds):
        self.now += int(seconds * SECOND)
        self.red.look()

    def run(self, seconds=2.0):
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            if self.now >= self.deposit.next_deadline():
                self.deposit.on_deadline(self.now)
            self.pass_(0.02)

    def accepts(self, n: int, when: int):
        """An initiation of a peer, as the engine tells of it before it answers."""
        self.deposit.stamped(self.stamps.keep(key(n), stamp(when)))

    def greatest(self, *peers: int):
        """As the device has it after a start."""
        found = {key(n): Peer() for n in peers}
        self.stamps.restore(found)
        return [found[key(n)].greatest_timestamp for n in peers]

    def kept(self) -> bytes:
        return self.path.read_bytes()

    def close(self):
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path / "kept")
    yield made
    made.close()


def test_stamps_and_floor_are_there_when_the_guest_starts_again(house):
    for n in range(1, 101):
        house.accepts(n, n)
    house.deposit.raise_floor(NOW)
    house.run(5)
    house.guest_starts()
    assert house.greatest(*range(1, 101)) == [stamp(n) for n in range(1, 101)]
    assert house.deposit.floor == NOW + FLOOR_HEADROOM and house.deposit.recalled


def test_a_page_that_changes_after_a_start_forgets_nobody(house):
    for n in range(1, 101):
        house.accepts(n, n)
    house.run(5)
    for round_ in range(3):
        house.guest_starts()
        house.accepts(round_ + 1, 1000)
        house.accepts(200 + round_, 7)
        house.run(5)
    house.guest_starts()
    assert house.greatest(1, 2, 3, 4, 100, 200, 202) == [stamp(n) for n in (1000, 1000, 1000, 4, 100, 7, 7)]


def test_the_floor_is_said_before_it_is_reached_and_seldom(house):
    for second in range(0, 600, 5):
        house.deposit.raise_floor(NOW + second * SECOND)
        house.run(0.5)
        assert house.deposit._floor >= NOW + second * SECOND + FLOOR_HEADROOM // 2
    assert 5 <= house.deposit.counts["kept"] <= 11


def test_the_trail_is_kept_as_it_grows_and_read_again(house):
    for _ in range(2):
        for n in range(40):
            house.log.add("console", f"thing-{n}", "ok", text="x" * 150)
            house.run(0.5)
        house.run(3)
        assert house.deposit.status()["behind"] == 0
        house.guest_starts()
    trails, wrong = trail_of(house.kept(), OURS)
    assert wrong == [] and len(trails) == 2
    assert [verify([("kept", t)]).entries for t in trails] == [40, 40]


def test_a_crypto_that_starts_again_in_its_guest_goes_on_where_it_was(house):
    for n in range(30):
        house.log.add("console", f"thing-{n}", "ok", text="x" * 150)
        house.accepts(n + 1, n)
        house.run(1)
        if n % 4 == 0:
            house.crypto_starts()
    house.run()
    (trail,), wrong = trail_of(house.kept(), OURS)
    assert wrong == [] and verify([("kept", trail)]) == house.log.head
    house.guest_starts()
    assert house.greatest(1, 30) == [stamp(0), stamp(29)]


def test_older_pieces_of_the_trail_are_written_over_and_counted(house):
    while os.fstat(house.trail).st_size < (len(TRAILS) + 5) * DATA:
        house.log.add("console", "thing", "ok", text="x" * 150)
    house.run(60)
    assert house.deposit.counts["overwritten"] == 6 and house.deposit.status()["behind"] == 0
    (trail,), wrong = trail_of(house.kept(), OURS)
    assert wrong == [] and verify([("kept", trail)], house.log.head.hash)


def test_red_sees_one_size_and_nothing_of_what_is_inside(house):
    house.accepts(1, 1)
    house.log.add("console", "reload", "ok")
    house.run()
    assert len(house.kept()) % PIECE == 0
    pieces = [house.kept()[at:at + PIECE] for at in range(0, len(house.kept()), PIECE)]
    assert sum(any(p) for p in pieces) == 2
    for inside in (key(1)[-8:], stamp(1), b"reload", b"console", bytes(16)):
        assert not any(inside in p[40:] for p in pieces if any(p))


def test_pieces_of_another_node_are_counted_and_ignored(house):
    other = Sealer(b"K" * 32)
    house.accepts(1, 1)
    house.run()
    house.guest_starts(other)
    assert house.deposit.recalled and house.greatest(1) == [tai64n.ZERO] and house.deposit.floor == 0
    assert house.deposit.status()[Refused.FORGED] == 1
    with pytest.raises(WgpyError, match="nothing there"):
        trail_of(house.kept(), other)


def test_each_bit_of_a_piece_counts_and_so_does_its_place():
    piece = Piece(3, 9, 1, NOW, 4, 5, 0, b"data")
    sealed = OURS.seal(piece)
    assert len(sealed) == PIECE and OURS.unseal(sealed, 3) == piece and OURS.unseal(sealed, 4) is Refused.FORGED
    for bit in [*range(40 * 8), *random.Random(1).sample(range(40 * 8, PIECE * 8), 100)]:
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        assert OURS.unseal(bytes(changed), 3) is (Refused.VERSION if bit < 8 else Refused.FORGED)
    assert OURS.seal(piece) != sealed


# a red that was taken over: docs/threat-model.md says that this is all

def test_a_red_that_rolls_back_has_an_initiation_accepted_that_came_since_and_none_before(house):
    house.accepts(1, 10)
    house.deposit.raise_floor(NOW)
    house.run()
    old = house.kept()
    house.accepts(1, 20)
    house.accepts(2, 20)
    house.deposit.raise_floor(NOW + 3600 * SECOND)
    house.run()
    house.path.write_bytes(old)
    house.red_starts()
    house.guest_starts()
    assert house.greatest(1, 2) == [stamp(10), tai64n.ZERO] and house.deposit.floor == NOW + FLOOR_HEADROOM
    house.accepts(1, 20)  # once: what was accepted is in memory, and kept anew
    house.run()
    house.guest_starts()
    assert house.greatest(1) == [stamp(20)]


@pytest.mark.parametrize("withheld", ["all of one piece", "the end of the last piece"])
def test_what_a_red_withholds_of_the_trail_is_seen_by_who_reads_it(house, withheld):
    for n in range(40):
        house.log.add("console", f"thing-{n}", "ok", text="x" * 150)
        house.run(0.5)
        if n == 38:
            before = house.kept()
    house.accepts(1, 1)  # which says how much of the trail there was
    house.run()
    data, (number, place) = bytearray(house.kept()), max(
        (p.number, p.place) for place in TRAILS if any(data := house.kept()[place * PIECE:(place + 1) * PIECE])
        and (p := OURS.unseal(data, place)))
    at = slice(place * PIECE, (place + 1) * PIECE)
    if withheld == "all of one piece":
        data[at] = bytes(PIECE)
        said = f"pieces {number} to {number} of the trail are missing"
    else:
        data[at] = before[at]
        said = "the last piece of the trail is an older one"
    _, wrong = trail_of(bytes(data), OURS)
    assert len(wrong) == 1 and wrong[0].startswith(said)


@pytest.mark.parametrize("shown", ["nothing", "no disk", "rubbish", "silence"])
def test_crypto_comes_up_whatever_red_shows(house, shown):
    house.accepts(1, 1)
    house.run()
    if shown == "silence":
        house.pages["red"] = memoryview(bytearray(AREA))
    else:
        house.path.write_bytes(os.urandom(BYTES) if shown == "rubbish" else b"")
        house.red_starts(disk=shown != "no disk")
    house.guest_starts()
    assert house.greatest(1) == [tai64n.ZERO] and house.deposit.floor == 0
    assert house.deposit.recalled == (shown != "silence")
    facts = house.deposit.status()
    assert facts["keeps"] == (shown in ("nothing", "rubbish"))
    assert sum(facts.get(why, 0) for why in Refused) == (PIECES if shown == "rubbish" else 0)


def test_a_start_waits_for_a_silent_red_and_no_longer_than_is_said(house):
    house.accepts(1, 1)
    house.run()
    red, house.red = house.red, type("Silent", (), {"look": lambda self: 1.0})()
    house.memory = stamps.memory()
    house.fds.append(house.memory)
    assert RECALL / SECOND <= house.crypto_starts() < RECALL / SECOND + 0.1
    house.red = red
    house.run(10)
    assert house.greatest(1) == [stamp(1)], "what comes later is taken, too"


def test_a_red_whose_disk_fails_keeps_nothing_says_so_and_is_asked_again(house, monkeypatch):
    def failing(fd):
        raise OSError(5, "Input/output error")
    with monkeypatch.context() as m:
        m.setattr(os, "fdatasync", failing)
        house.accepts(1, 1)
        house.run(5)
        assert not house.deposit.counts["kept"] and 3 <= house.red.status()["failed"] <= 6
    house.run(2)
    assert house.deposit.counts["kept"] == 1


def test_a_red_that_starts_again_is_given_what_it_did_not_say_it_has(house):
    for n in range(1, 30):
        house.accepts(n, n)
        house.run(0.02)
        house.red_starts()
    house.run()
    house.guest_starts()
    assert house.greatest(1, 29) == [stamp(1), stamp(29)]


# what lies on the pages is an enemy's

_WORD = st.integers(0, (1 << 64) - 1)
_SMALL = st.one_of(st.integers(0, PIECES + 2), _WORD)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(st.lists(st.tuples(_SMALL, _SMALL, _SMALL, st.booleans(), st.binary(max_size=64)), max_size=25))
def test_whatever_is_on_cryptos_page_red_writes_whole_pieces_in_their_places(tmp_path_factory, said):
    path = tmp_path_factory.mktemp("fuzz") / "kept"
    path.write_bytes(bytes(BYTES))
    fd = os.open(path, os.O_RDWR)
    mine, its = bytearray(AREA), bytearray(AREA)
    shelf, speaker, listener = Shelf(Speaker(memoryview(its)), Listener(memoryview(mine)), fd), Speaker(memoryview(mine)), \
        Listener(memoryview(its))
    expected = [bytes(PIECE)] * PIECES
    last = 0
    for number, place, show, right, data in said:
        piece = data.ljust(PIECE, b"\1")
        check = speaker.put(piece)
        speaker.say(Kind.KEEP, number, place, check if right else check ^ 1, show)
        assert 0 < shelf.look() <= 0.05
        if number and number != last and right and place < PIECES:
            expected[place], last = piece, number
        for answer in listener.look():
            life, kept, pieces, shown, _ = answer.values
            assert (life, kept, pieces) == (speaker.life, last, PIECES) and shown in (0, show)
            assert not shown or bytes(its[-PIECE:]) == expected[shown - 1]
    os.close(fd)
    assert path.read_bytes() == b"".join(expected)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(st.lists(st.tuples(st.booleans(), _SMALL, _SMALL, _SMALL, st.binary(max_size=64)), max_size=25))
def test_whatever_is_on_reds_page_crypto_takes_what_is_its_own(said):
    mine, its = bytearray(AREA), bytearray(AREA)
    speaker, red = Speaker(memoryview(mine)), Speaker(memoryview(its))
    memory = stamps.memory()
    kept = stamps.Stamps(memory)
    deposit = Deposit(speaker, Listener(memoryview(its)), OURS, kept, 7, None)
    now = SECOND
    for ours, number, pieces, shown, data in said:
        check = red.put(data.ljust(PIECE, b"\1"))
        red.say(Kind.KEPT, speaker.life if ours else 5, number, pieces, shown, check)
        assert deposit.on_deadline(now) is False
        assert now < deposit.next_deadline() <= now + SECOND
        now = deposit.next_deadline()
        deposit.stamped(number % stamps.PAGES)
    assert deposit.floor == 0 and not any(any(kept.page(n)) for n in range(stamps.PAGES))
    assert not any(mine[PLACES * 64 - 64 * 11:PLACES * 64])
    assert sum(deposit.counts.values()) <= 2 * len(said)
