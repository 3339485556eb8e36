"""The audit trail (I1, I3): what can be done to it and is noticed."""

import errno
import json
import os
import random

import pytest

from wgpy.admin import audit
from wgpy.admin.audit import AuditError, AuditLog, Head, verify

WHO = {"uid": 0, "pid": 7}


class Trail:
    def __init__(self, path):
        self.path = path

    def log(self, **arguments):
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        return AuditLog(fd, clock=lambda: 1_000_000_000.25, **arguments)

    @property
    def lines(self):
        return self.path.read_bytes().split(b"\n")[:-1]

    @lines.setter
    def lines(self, lines):
        self.path.write_bytes(b"".join(line + b"\n" for line in lines))

    def verify(self, head=None):
        return verify([(self.path.name, self.path.read_bytes())], head)


@pytest.fixture
def trail(tmp_path):
    t = Trail(tmp_path / "audit.log")
    log = t.log()
    for i in range(8):
        log.add(WHO, "set", "ok" if i % 2 else "refused", peers=[f"peer{i}"])
    return t


def test_a_trail_can_be_read_and_verified(trail):
    head = trail.verify()
    assert head.entries == 8
    first, *_, last = map(json.loads, trail.lines)
    assert (first["who"], first["what"], first["result"]) == (WHO, "set", "refused")
    assert first["time"] == "2001-09-09T01:46:40.250Z" and last["hash"] == head.hash
    assert verify([]) == Head(0, "0" * 64)


def test_it_goes_on_after_a_restart(trail):
    trail.log().add(WHO, "status", "ok")
    assert trail.verify().entries == 9


@pytest.mark.parametrize("change", [
    lambda l: l[:3] + l[4:],
    lambda l: l[1:] + l[:1],
    lambda l: l[:2] + [l[3], l[2]] + l[4:],
    lambda l: l[:4] + [l[3]] + l[4:],
    lambda l: l[:2] + l[6:],
    lambda l: l[:4] + [b""] + l[4:],
    lambda l: l[:4] + [l[4].replace(b"refused", b"ok     ")] + l[5:],
    lambda l: l[:4] + [l[4].replace(b'"n":', b'"n": ')] + l[5:],
    lambda l: l[:4] + [b"[" * 3000] + l[5:],
    lambda l: l[:4] + [b'{"hash":1}'] + l[5:],
], ids=["deleted", "rotated", "swapped", "doubled", "gap", "blank", "altered", "respaced", "nested", "foreign"])
def test_what_was_done_to_lines_is_noticed(trail, change):
    trail.lines = change(trail.lines)
    with pytest.raises(AuditError, match=r"audit\.log:\d"):
        trail.verify()


def test_every_changed_byte_is_noticed(trail):
    data, rng = trail.path.read_bytes(), random.Random(1)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << rng.randrange(8)
        trail.path.write_bytes(changed)
        with pytest.raises(AuditError):
            trail.verify()


def test_a_line_with_a_hash_made_right_still_breaks_the_chain(trail):
    lines = trail.lines
    entry = json.loads(lines[3])
    del entry["hash"]
    entry["result"] = "nothing to see"
    lines[3] = audit._text(entry | {"hash": audit._hash(entry)}).encode()
    trail.lines = lines
    with pytest.raises(AuditError, match="audit.log:5: does not follow"):
        trail.verify()


def test_numbers_leave_no_gap(trail):
    last = json.loads(trail.lines[-1])
    entry = {k: v for k, v in last.items() if k != "hash"} | {"n": 12, "prev": last["hash"]}
    trail.lines = trail.lines + [audit._text(entry | {"hash": audit._hash(entry)}).encode()]
    with pytest.raises(AuditError, match="does not follow"):
        trail.verify()


def test_a_missing_end_needs_the_hash_that_was_kept_elsewhere(trail):
    kept = trail.verify()
    trail.lines = trail.lines[:-2]
    assert trail.verify().entries == 6, "the trail by itself cannot know"
    with pytest.raises(AuditError, match="missing at the end"):
        trail.verify(kept.hash)
    trail.log().add(WHO, "x", "ok")
    with pytest.raises(AuditError, match="missing"):
        trail.verify(kept.hash)


def test_a_kept_hash_that_is_in_the_trail(trail):
    kept = trail.verify().hash
    trail.log().add(WHO, "x", "ok")
    assert trail.verify(kept).entries == 9


def test_rotation_keeps_the_chain(trail, tmp_path):
    log, second = trail.log(), Trail(tmp_path / "audit.log.new")
    fd = os.open(second.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    log.rotate(lambda: fd)
    log.add(WHO, "after", "ok")
    files = [("old", trail.path.read_bytes()), ("new", second.path.read_bytes())]
    assert verify(files).entries == 11
    assert verify(files[1:]).entries == 11, "older files may have been archived"
    assert [json.loads(line)["what"] for line in second.lines] == ["continued", "after"]
    with pytest.raises(AuditError, match="new:1"):
        verify([("old", b"\n".join(trail.lines[:-1]) + b"\n"), files[1]])
    second.log().add(WHO, "x", "ok")
    assert second.verify().entries == 12


def test_a_line_cut_by_power_loss_is_recovered_and_said_to_be(trail):
    data, length = trail.path.read_bytes(), len(trail.lines[-1])
    for cut in range(1, length + 1):
        trail.path.write_bytes(data[:-cut])
        with pytest.raises(AuditError, match="not whole"):
            trail.verify()
        trail.log().add(WHO, "x", "ok")
        assert trail.verify().entries == 9
        assert json.loads(trail.lines[-2])["what"] == ("set" if cut == 1 else "recovered")
        assert trail.path.read_bytes().startswith(data[:-cut])


def test_a_recovered_line_excuses_only_its_own_text(trail):
    data = trail.path.read_bytes()
    trail.path.write_bytes(data[:-40])
    trail.log()
    lines = trail.lines
    lines[-2] = lines[-2][:-1] + b"x"
    trail.lines = lines
    with pytest.raises(AuditError):
        trail.verify()


def test_power_loss_in_the_first_line_after_a_rotation(trail, tmp_path):
    log, second = trail.log(), Trail(tmp_path / "audit.log.new")
    fd = os.open(second.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    log.rotate(lambda: fd)
    second.path.write_bytes(second.lines[0][:20])
    old = os.open(trail.path, os.O_RDONLY)
    second.log(head=audit.last_head(old)).add(WHO, "x", "ok")
    assert verify([("old", trail.path.read_bytes()), ("new", second.path.read_bytes())]).entries == 11


def test_power_loss_in_the_very_first_line(tmp_path):
    t = Trail(tmp_path / "audit.log")
    t.path.write_bytes(b'{"n":1,"detail')
    t.log().add(WHO, "x", "ok")
    assert json.loads(t.lines[1])["what"] == "recovered"
    assert t.verify().entries == 2


def test_entries_are_bounded_and_printable(trail):
    log = trail.log()
    log.add("x" * 9000, "a\nb\x1b[31m", "ok", long="y" * 9000, many=list(range(500)), deep=[[[["x"]]]])
    log.add(WHO, "b", "ok", **{f"k{i}": "z" * 200 for i in range(60)})
    assert all(len(line) <= audit.MAX_LINE for line in trail.lines)
    assert b"\x1b" not in trail.path.read_bytes() and trail.verify().entries == 10


def full_after(monkeypatch, room):
    """A disk with `room` bytes left, from now on; gives a function that makes it empty."""
    write, left = os.write, [room]

    def limited(fd, data):
        data = data[:left[0]]
        if not data:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= len(data)
        return write(fd, data)
    monkeypatch.setattr(audit.os, "write", limited)
    return lambda: monkeypatch.setattr(audit.os, "write", write)


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_leaves_a_trail_that_verifies_once_there_is_space(trail, monkeypatch, room):
    """A line that was cut because there was no space is nobody's tampering."""
    log = trail.log()
    emptied = full_after(monkeypatch, room)
    for _ in range(3):
        with pytest.raises(OSError, match="space"):
            log.add(WHO, "lost", "ok")
    emptied()
    log.add(WHO, "after", "ok")
    assert trail.verify() == log.head
    assert [json.loads(line)["what"] for line in trail.lines[-2:] if room] in ([], ["recovered", "after"])


@pytest.mark.parametrize("room", [1, 60, 150, 300, 500])
def test_space_that_comes_back_in_small_pieces(trail, monkeypatch, room):
    """Each piece is filled by the attempt to say what was cut short before."""
    log = trail.log()
    for _ in range(5):
        emptied = full_after(monkeypatch, room)
        with pytest.raises(OSError, match="space"):
            for _ in range(9):
                log.add(WHO, "lost", "ok")
        emptied()
    if room % 2:
        log = trail.log()
    log.add(WHO, "after", "ok")
    assert trail.verify() == log.head


def test_a_line_of_which_the_disk_says_nothing_is_followed_all_the_same(trail, monkeypatch):
    log, sync = trail.log(), os.fdatasync
    monkeypatch.setattr(audit.os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(OSError, match="I/O"):
        log.add(WHO, "perhaps", "ok")
    monkeypatch.setattr(audit.os, "fdatasync", sync)
    log.add(WHO, "after", "ok")
    assert trail.verify() == log.head and log.head.entries == 10


def test_a_full_disk_does_not_keep_the_trail_from_being_opened(trail, monkeypatch):
    trail.path.write_bytes(trail.path.read_bytes()[:-30])
    emptied = full_after(monkeypatch, 0)
    log = trail.log()
    with pytest.raises(OSError, match="space"):
        log.add(WHO, "x", "ok")
    emptied()
    log.add(WHO, "after", "ok")
    assert trail.verify() == log.head


def test_an_entry_says_at_whose_word_it_was_written(trail):
    trail.log().add(WHO, "set", "asked", by="crypto")
    assert json.loads(trail.lines[-1])["by"] == "crypto" and trail.verify().entries == 9


def test_a_rotation_on_a_full_disk_stays_with_the_old_file(trail, monkeypatch):
    log = trail.log()
    emptied = full_after(monkeypatch, 0)
    with pytest.raises(OSError, match="space"):
        log.rotate(lambda: pytest.fail("there is no need for another file"))
    emptied()
    log.add(WHO, "after", "ok")
    assert trail.verify() == log.head


def test_a_rotation_without_another_file_stays_with_the_old_one(trail):
    log = trail.log()
    with pytest.raises(OSError, match="Too many"):
        log.rotate(lambda: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")))
    log.add(WHO, "after", "ok")
    assert trail.verify() == log.head
