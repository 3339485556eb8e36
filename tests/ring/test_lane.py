"""Control lanes: what is said arrives, and nothing else, whatever lies in the memory (A6)."""

import itertools
import mmap
import os
import struct
import subprocess
import sys
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.ring.lane import AREA, PIECE, Kind, Listener, Refused, Speaker

PLACE = 64


def record(kind=2, *, version=1, zero=0, life=7, sequence=1, values=(1, 2, 3, 0, 0), check=None) -> bytes:
    """As docs/control-lanes.md says."""
    rest = struct.pack("<BBHQQ5Q", version, kind, zero, life, sequence, *values)
    return struct.pack("<I", zlib.crc32(rest) if check is None else check) + rest


def holding(*records: bytes) -> tuple[bytearray, Listener]:
    """A lane with records in the places from 2 on."""
    area = bytearray(AREA)
    for place, data in enumerate(records, 2):
        area[place * PLACE:(place + 1) * PLACE] = data
    return area, Listener(memoryview(area))


def test_what_is_said_is_heard_once_and_in_the_form_of_the_specification():
    area = bytearray(AREA)
    speaker, listener = Speaker(memoryview(area)), Listener(memoryview(area))
    assert listener.look() == []
    speaker.say(Kind.NETWORK, 3, 4, 5)
    speaker.say(Kind.UP, 1)
    up, network = listener.look()
    assert (up.kind, up.values, network.values) == (1, (1, 0, 0, 0, 0), (3, 4, 5, 0, 0))
    assert up.life == network.life == speaker.life and listener.look() == []
    assert area[128:192] == record(life=speaker.life, values=(3, 4, 5, 0, 0))
    assert not any(area[192:]) and not any(listener.refused.values())


def test_only_the_newest_of_a_kind_is_heard():
    area = bytearray(AREA)
    speaker, listener = Speaker(memoryview(area)), Listener(memoryview(area))
    for n in range(1, 100):
        speaker.say(Kind.NETWORK, n)
    assert [(r.sequence, r.values[0]) for r in listener.look()] == [(99, 99)]


def test_values_of_more_than_64_bits_go_round():
    area = bytearray(AREA)
    Speaker(memoryview(area)).say(Kind.COUNTERS, (1 << 64) + 5, -1)
    assert Listener(memoryview(area)).look()[0].values[:2] == (5, (1 << 64) - 1)


def test_a_speaker_that_starts_again_is_another_life_and_its_predecessor_is_silent():
    area = bytearray(AREA)
    first, listener = Speaker(memoryview(area)), Listener(memoryview(area))
    for n in range(5):
        first.say(Kind.NETWORK, n)
    listener.look()
    second = Speaker(memoryview(area))
    assert listener.look() == [] and not any(area)
    second.say(Kind.NETWORK, 0)
    assert [(r.life, r.sequence) for r in listener.look()] == [(second.life, 1)] and first.life != second.life
    assert not any(listener.refused.values())


@pytest.mark.parametrize("data, why", [
    (record(check=1), "lane_torn"), (b"\xff" * PLACE, "lane_torn"), (bytes(PLACE - 1) + b"x", "lane_torn"),
    (record(version=0), "lane_version"), (record(version=2), "lane_version"),
    (record(kind=1), "lane_kind"), (record(kind=0), "lane_kind"), (record(kind=255), "lane_kind"), (record(zero=1), "lane_kind")])
def test_what_is_refused_has_a_name_and_is_counted_once(data, why):
    _, listener = holding(data)
    for _ in range(3):
        assert listener.look() == []
    assert {k: n for k, n in listener.refused.items() if n} == {why: 1} and not listener.newest


def test_a_kind_that_is_not_known_is_counted_and_ignored():
    _, listener = holding(*[record(kind=k) for k in range(2, 16)])
    assert [r.kind for r in listener.look()] == [2, 3, 4, 5]
    assert listener.refused[Refused.KIND] == 10


def test_a_life_does_not_go_back():
    area, listener = holding(record(sequence=5))
    assert len(listener.look()) == 1
    for sequence in (5, 4, 0):
        area[128:192] = record(sequence=sequence, values=(9, 9, 9, 9, 9))
        assert listener.look() == []
    assert listener.refused[Refused.BACKWARD] == 3
    area[128:192] = record(sequence=6)
    assert len(listener.look()) == 1


def test_of_two_records_that_are_mixed_only_whole_ones_are_heard():
    """Each of the 256 mixtures of the eight words of two records, as a memory may show them
    that orders nothing."""
    old, new = record(), record(sequence=2, values=(2, 5, 7, 1, 1))
    words = [list(zip(range(0, PLACE, 8), pick)) for pick in itertools.product((old, new), repeat=8)]
    heard = []
    for mixture in words:
        area, listener = holding(b"".join(data[at:at + 8] for at, data in mixture))
        heard += [r.values for r in listener.look()]
        assert sum(listener.refused.values()) == (bytes(area[128:192]) not in (old, new))
    assert sorted(set(heard)) == [(1, 2, 3, 0, 0), (2, 5, 7, 1, 1)]


def test_a_piece_is_read_when_it_is_the_one_that_was_said():
    area = bytearray(AREA)
    speaker, listener = Speaker(memoryview(area)), Listener(memoryview(area))
    for fill in (b"a", b"b"):
        check = speaker.put(fill * PIECE)
        speaker.say(Kind.KEEP, 1, 2, check, 3)
        (record,) = listener.look()
        assert record.values == (1, 2, check, 3, 0) and listener.piece(check) == fill * PIECE
    assert area[1024:] == b"b" * 3072
    area[2000] ^= 1
    assert listener.piece(check) is None


class Raced(bytearray):
    """Memory whose writer writes between any two reads."""

    def __getitem__(self, where):
        os.urandom(1)
        copy = bytearray.__getitem__(self, where)
        bytearray.__setitem__(self, where, os.urandom(len(copy)))
        return copy


def test_a_place_is_read_once_before_it_is_judged():
    area = Raced(AREA)
    bytearray.__setitem__(area, slice(128, 192), record())
    listener = Listener(area)
    assert [r.values for r in listener.look()] == [(1, 2, 3, 0, 0)]
    assert listener.look() == [] and listener.refused[Refused.TORN] == 16


# Whatever a hostile writer leaves: words at random, and whole records with wrong parts.
_NUMBER = st.integers(0, (1 << 64) - 1)
_RECORDS = st.builds(lambda k, v, z, l, s, n: record(k, version=v, zero=z, life=l, sequence=s, values=n), st.integers(0, 255),
                     st.sampled_from([1, 1, 1, 0, 2]), st.sampled_from([0, 0, 1, 65535]), st.integers(0, 2), _NUMBER,
                     st.tuples(*[_NUMBER] * 5))
_WRITES = st.lists(st.tuples(st.integers(0, 15), st.one_of(_RECORDS, st.binary(min_size=PLACE, max_size=PLACE))), max_size=40)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None)
@given(_WRITES)
def test_a_hostile_writer_is_heard_in_form_or_counted(writes):
    """And then an honest one is heard, whatever was there before."""
    area = bytearray(AREA)
    listener, looks, last = Listener(memoryview(area)), 0, {}
    for place, data in writes:
        changed = bytes(area[place * PLACE:(place + 1) * PLACE]) != data
        area[place * PLACE:(place + 1) * PLACE] = data
        before = sum(listener.refused.values())
        found = listener.look()
        looks += 1
        assert len(found) + sum(listener.refused.values()) - before == (changed and any(data))
        for r in found:
            assert r.kind == place in (1, 2, 3, 4, 5) and all(0 <= v < 1 << 64 for v in r.values) and len(r.values) == 5
            assert last.get((r.kind, r.life), -1) < r.sequence or last.get(r.kind) != r.life
            last[r.kind, r.life], last[r.kind] = r.sequence, r.life
    assert len(listener.newest) <= 5
    Speaker(memoryview(area)).say(Kind.NETWORK, 77)
    assert [r.values[0] for r in listener.look()] == [77]


WRITER = """
import mmap, sys
from wgpy.ring.lane import AREA, PIECE, Kind, Speaker
speaker = Speaker(mmap.mmap(int(sys.argv[1]), AREA))
n = 0
while True:
    n += 1
    speaker.say(Kind.NETWORK, n, 3 * n, 5 * n, ~n, 7 * n)
"""


def test_what_another_process_writes_without_pause_is_heard_whole_and_in_order():
    fd = os.memfd_create("lane")
    os.ftruncate(fd, AREA)
    listener = Listener(mmap.mmap(fd, AREA, mmap.MAP_SHARED, mmap.PROT_READ))
    heard, newest = 0, {}
    for _ in range(2):  # lives
        writer = subprocess.Popen([sys.executable, "-I", "-c", WRITER, str(fd)], pass_fds=[fd])
        deadline, until = time.monotonic() + 120, heard + 2000
        try:
            while heard < until:
                assert time.monotonic() < deadline and writer.poll() is None
                for r in listener.look():
                    n = r.values[0]
                    assert r.values == (n, 3 * n, 5 * n, (1 << 64) - 1 - n, 7 * n) and n == r.sequence > newest.get(r.life, 0)
                    newest[r.life], heard = n, heard + 1
        finally:
            writer.kill()
            writer.wait(60)
    assert len(newest) == 2
    assert listener.refused[Refused.BACKWARD] == listener.refused[Refused.KIND] == listener.refused[Refused.VERSION] == 0
    os.close(fd)
