"""A changed site file, from who asks for it to the answer: crypto first, then the host, and
what is said is what happened (I6)."""

import json
import os
from types import SimpleNamespace

import pytest
from site_files import LIMA, site_of

from wgpy.admin.faults import Fault
from wgpy.admin.gate import Later
from wgpy.crypto.commands import Reloads
from wgpy.errors import HostError, WgpyError
from wgpy.node import namespaces
from wgpy.node.namespaces import Namespaces
from wgpy.node.reload import Reload

OLD, NEW, BAD = (site_of(LIMA) for _ in range(3))
FAULT = Fault("red", "route replace 10.9.0.0/24 dev secure", "refused", True)


class Trail:
    def __init__(self):
        self.entries, self.error = [], ""

    def add(self, who, what, result, **detail):
        self.entries.append((who, what, result, detail.get("not_configured")))
        return self.error


class House:
    """A Reload between a crypto and a host that do what the test says."""

    def __init__(self):
        self.sent, self.order, self.there, self.site = [], [], True, NEW
        self.net = SimpleNamespace(check=self.check, not_configured=[])
        self.trail = Trail()
        self.reload = Reload(OLD, lambda: (self.site, b"text"), self.net, self.trail, self.tell,
                             lambda offer: self.order.append(("taken", offer.site)), lambda: self.order.append("told"))

    def check(self, site):
        if site is BAD:
            raise HostError("nft: no such match")

    def tell(self, message, fds=None):
        if fds:
            assert os.pread(fds["site"], 10, 0) == b"text"
        if self.there:
            self.sent.append(message)
            self.order.append(next(iter(message)))
        return self.there


def test_crypto_first_then_the_host_then_the_answer():
    house = House()
    house.reload.begin(7)
    assert house.order == ["site"] and house.reload.site is OLD
    house.net.not_configured = [FAULT, FAULT._replace(needed=False)]
    house.reload.answered("")
    assert house.order == ["site", ("taken", NEW), "told", "reloaded"] and house.reload.site is NEW
    assert house.sent[-1] == {"reloaded": 7, "refused": "", "not_configured": [FAULT._asdict()]}
    assert house.trail.entries == [("supervisor", "site file", "asked", None), ("supervisor", "site file", "ok", [str(FAULT)])]
    assert house.reload.facts == {"count": 1, "refused": ""}


@pytest.mark.parametrize("how", ["file", "trail", "crypto", "ended"])
def test_what_is_refused_changes_nothing_and_is_said(how):
    house = House()
    house.site, house.trail.error = BAD if how == "file" else NEW, "No space left" if how == "trail" else ""
    house.reload.begin(1)
    if how == "crypto":
        house.reload.answered("no pre-shared key named 'x'")
    elif how == "ended":
        house.reload.crypto_ended()
    last = house.sent[-1]
    assert last["reloaded"] == 1 and last["refused"] and last["not_configured"] == [] and house.reload.site is OLD
    assert not [o for o in house.order if o[0] == "taken"] and house.reload.facts["refused"] == last["refused"]


def test_of_two_each_hears_its_own_and_a_signal_asks_for_no_answer():
    house = House()
    for number in (1, None, 2):
        house.reload.begin(number)
    for refused in ("first", "signal", ""):
        house.reload.answered(refused)
    house.reload.answered("")  # nothing was offered
    assert [(m["reloaded"], m["refused"]) for m in house.sent if "reloaded" in m] == [(1, "first"), (2, "")]
    assert house.reload.facts["count"] == 3


def test_without_crypto_the_file_is_taken_for_its_next_start():
    house = House()
    house.there = False
    house.reload.begin()
    assert house.order == [("taken", NEW), "told"] and house.reload.site is NEW


def test_an_answer_fits_its_message_whatever_is_refused():
    house = House()
    house.net.not_configured = [FAULT._replace(line="x" * 300, reason="y" * 200)] * 1000
    house.reload.begin(1)
    house.reload.answered("")
    house.reload.begin(2)
    house.reload.answered("z" * 100_000)
    assert all(len(json.dumps(m)) < 65536 for m in house.sent)


def outcomes(later: Later) -> list:
    said = []

    def told(outcome):
        try:
            said.append(outcome())
        except WgpyError as e:
            said.append(str(e))
    later.done = told
    return said


def test_who_asked_crypto_is_answered_when_the_supervisor_says():
    sent = []
    reloads = Reloads(lambda m: sent.append(m) or True)
    one, two = outcomes(reloads.ask()), outcomes(reloads.ask())
    assert sent == [{"reload": 1}, {"reload": 2}] and one == two == []
    reloads.answered({"reloaded": 2, "refused": "nft: no", "not_configured": []})
    reloads.answered({"reloaded": 1, "refused": "", "not_configured": [FAULT._asdict()]})
    reloads.answered({"reloaded": 1, "refused": "", "not_configured": []})
    reloads.answered({"reloaded": 77, "refused": "", "not_configured": []})
    assert two == ["not taken over: nft: no"]
    assert one == [{"not_configured": [FAULT._asdict()], "audit": {"not_configured": 1}}]
    with pytest.raises(WgpyError, match="does not answer"):
        Reloads(lambda m: False).ask()


def test_firewalls_that_the_host_refuses_are_shown_and_tried_again(monkeypatch):
    """Crypto has the file by then: it is no longer "not taken over"."""
    net, tried = Namespaces(OLD), []
    monkeypatch.setattr(namespaces.Namespaces, "_bring", lambda self: [])

    def change(self, site):
        tried.append(site)
        if len(tried) < 3:
            raise HostError("nft: Resource busy")
        self.site = site
    monkeypatch.setattr(namespaces.Namespaces, "_change", change)
    net.keep()
    assert not tried and not net.not_configured
    net.reload(NEW)
    for _ in range(2):
        net.keep()
        (fault,) = net.not_configured
        assert fault == Fault("host", "firewalls and routes of the new site file", "nft: Resource busy", True)
        assert net.site is OLD
    net.keep()
    net.keep()
    assert tried == [NEW] * 3 and net.site is NEW and net.not_configured == []
