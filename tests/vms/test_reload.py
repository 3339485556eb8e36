"""A changed site file for guests that run (I2, F8): what is refused, who is told, who starts again, and what
is said of it. Console and guests are played; tests/vms/test_guests.py has some that boot."""

import base64
import hashlib
import os
import re
import socket
import threading
from types import SimpleNamespace

import pytest
from site_files import LIMA, PUNO, edited, site_of

from wgpy.admin.faults import TAKEN_BUT
from wgpy.errors import HostError
from wgpy.lab.netns import wait_until
from wgpy.loop import Loop
from wgpy.node.timers import Timers
from wgpy.vms import reload

RED_ALONE = LIMA + '[firewall]\nred = ["tcp dport 22 accept"]\n'
BLACK_ALONE = edited(LIMA, ('gateway = "192.0.2.1"', 'gateway = "192.0.2.2"'))
NEITHER = edited(LIMA, ("198.51.100.7", "198.51.100.8"))
BOTH = LIMA + PUNO + 'endpoints = ["203.0.113.9:51820"]\n'


class Played:
    """A supervisor, whose guests are up; and the console of its crypto, which answers `says`, and nothing
    when that is empty. `becomes`: state of a guest, by room, after it started again."""

    def __init__(self, directory, says="ok", becomes=None):
        self.loop, self.site, self.up = Loop(), site_of(LIMA), True
        self.timers, self.console = Timers(self.loop), directory / "crypto.sock"
        self.guests = {room: SimpleNamespace(room=room, state="ready", restarts=0, last_line="boom") for room in ("black", "crypto", "red")}
        self.says, self.becomes = says, becomes or {}
        self.given, self.open, self.taken, self.restarted = [], [], [], []
        self._listener = socket.socket(socket.AF_UNIX)
        reload.listen(self._listener, self.console)
        threading.Thread(target=self._answer, daemon=True).start()
        self.reload = reload.Reload(self, directory / "reload.sock")

    def ramdisks(self, site, text):
        self.open = [os.memfd_create(room) for room in self.guests]
        return dict(zip(self.guests, self.open))

    def take(self, site, ramdisks):
        self.site = site
        self.taken.append(set(ramdisks))

    def restart(self, room):
        self.restarted.append(room)
        guest = self.guests[room]
        self._to(guest, "stopped")
        guest.restarts += 1
        self._to(guest, "starting")
        self.timers.after(0.05, lambda: self._to(guest, self.becomes.get(room, "ready")))

    def _to(self, guest, state):
        guest.state = state
        self.reload.changed(guest)

    def _answer(self):
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rwb") as console:
            word = console.readline().split()[-1].decode()
            console.write(f" wgpy 1 lima open {word}\r\nok\r\n".encode())
            console.flush()
            _, _, size, digest = console.readline().split()
            console.write(b"? the site file\r\n")
            console.flush()
            text = base64.b64decode(b"".join(iter(console.readline, b".\n")))
            assert (str(len(text)).encode(), hashlib.sha256(text).hexdigest().encode()) == (size, digest)
            self.given.append(text.decode())
            if self.says:
                console.write(f"{self.says}\r\n".encode())

    def asked(self, text):
        """What the client heard, and the reason it ended with."""
        heard, end = [], []

        def ask():
            try:
                reload.ask(self.console.with_name("reload.sock"), text.encode(), heard.append)
                end.append("")
            except HostError as e:
                end.append(str(e))
        threading.Thread(target=ask, daemon=True).start()
        wait_until(lambda: self.loop.turn(0.05) or end, 120, "the client ends", 0)
        return heard, end[0]

    def unchanged(self):
        """Nothing was taken or started again, and no descriptor is left."""
        for fd in self.open:
            with pytest.raises(OSError):
                os.fstat(fd)
        return not self.taken and not self.restarted and self.site == site_of(LIMA)


@pytest.mark.parametrize("text, rooms", [(RED_ALONE, ["red"]), (BLACK_ALONE, ["black"]), (NEITHER, []), (BOTH, ["black", "red"])],
                         ids=["red", "black", "neither", "both"])
def test_crypto_has_it_first_and_only_whose_work_differs_starts_again(text, rooms, tmp_path):
    node = Played(tmp_path)
    heard, error = node.asked(text)
    assert (error, node.given, node.restarted) == ("", [text], rooms)
    assert node.taken == [{"black", "crypto", "red"}] and node.site == site_of(text)
    assert heard[0] == "crypto: has taken the file"
    assert {f"{room}: ready with the file" for room in rooms} <= set(heard)
    assert {f"{room}: does with it what it did, and goes on" for room in {"black", "red"} - set(rooms)} <= set(heard)


@pytest.mark.parametrize("says, error", [
    ("error: the key store has no psk puno", "crypto refuses it: the key store has no psk puno; nothing has changed"),
    ("", "crypto has not said that it took it: .*the guest has ended.*; black and red keep the file that they have"),
])
def test_what_crypto_has_not_taken_goes_to_nobody(says, error, tmp_path):
    node = Played(tmp_path, says)
    heard, said = node.asked(BOTH)
    assert heard == [] and node.given == [BOTH] and node.unchanged()
    assert re.fullmatch(error, said), said


@pytest.mark.parametrize("text, error", [
    (edited(LIMA, ("51820", "51821")), "mode, interfaces, MTU, port and wan.discovery change only by wgpy vms down and up"),
    (edited(LIMA, ('"eth0"\n', '"eth0"\nmtu = 1400\n')), "mode, interfaces, MTU, port and"),
    (edited(LIMA, ('"small"', '"large"')), "mode, interfaces, MTU, port and"),
    (edited(LIMA, ('"lima"', '"puno"')), "this is node lima, the file is of puno"),
    (LIMA + "[wan]\n", "FILE"),
])
def test_what_cannot_hold_is_refused_before_crypto_hears_of_it(text, error, tmp_path):
    node = Played(tmp_path)
    heard, said = node.asked(text)
    assert error in said and said.endswith("; nothing has changed") and "\n" not in said
    assert heard == [] and node.given == [] and node.unchanged()


@pytest.mark.parametrize("state, error", [("asking", "crypto waits for its passphrase"), ("stopped", "crypto's guest is stopped")])
def test_without_crypto_nothing_changes(state, error, tmp_path):
    node = Played(tmp_path)
    node.guests["crypto"].state = state
    assert node.asked(BOTH) == ([], f"{error}; nothing has changed") and node.unchanged()


def test_a_guest_that_does_not_come_back_is_no_success(tmp_path):
    node = Played(tmp_path, becomes={"black": "stopped"})
    heard, error = node.asked(BOTH)
    assert error == "crypto has taken it, but black ended: boom" and "red: ready with the file" in heard


def test_a_guest_that_is_down_is_waited_for_though_its_work_is_the_same(tmp_path):
    node = Played(tmp_path)
    node.guests["black"].state = "stopped"
    heard, error = node.asked(NEITHER)
    assert error == "" and node.restarted == ["black"] and "black: ready with the file" in heard


def test_a_guest_that_hangs_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr(reload, "READY_SECONDS", 0.5)
    node = Played(tmp_path, becomes={"red": "starting"})
    assert node.asked(RED_ALONE)[1] == "crypto has taken it, but red is not ready after 0 s; its last line: boom"


def test_what_crypto_took_and_could_not_keep_reaches_the_others_and_is_said(tmp_path):
    node = Played(tmp_path, f"error: {TAKEN_BUT}not configured: crypto: the site file on the disk: No space left on device")
    heard, error = node.asked(RED_ALONE)
    assert node.restarted == ["red"] and node.site == site_of(RED_ALONE) and "red: ready with the file" in heard
    assert error.startswith("crypto has taken it, but crypto: taken over, but not configured: ") and "No space left" in error


def test_one_at_a_time_and_root_alone(tmp_path):
    node = Played(tmp_path, becomes={"red": "starting"})
    first = threading.Thread(target=lambda: pytest.raises(HostError, reload.ask, tmp_path / "reload.sock", RED_ALONE.encode(), print))
    first.start()
    wait_until(lambda: node.loop.turn(0.05) or node.restarted, 120, "red starts again", 0)
    assert node.asked(BLACK_ALONE) == ([], "another site file is being taken over") and node.restarted == ["red"]
    assert (tmp_path / "reload.sock").stat().st_mode & 0o777 == 0o600
    node.reload.close()
    first.join(60)
    assert not first.is_alive() and not (tmp_path / "reload.sock").exists()
