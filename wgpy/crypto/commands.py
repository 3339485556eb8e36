"""What an administrator can ask of the crypto room, once the gate has let him in. What
changes something comes in two halves: looked at here, carried out when it is written down."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from wgpy.admin import metrics, why
from wgpy.admin.gate import Answer, Change, Later
from wgpy.config.model import NO_KEY, DeviceState, KeySizes, PeerChange, SetRequest
from wgpy.config.site_changes import difference
from wgpy.config.site_model import Site
from wgpy.config.values import key_base64, to_base64
from wgpy.crypto.engine import Engine
from wgpy.crypto.keys import Keys
from wgpy.crypto.sealed import wipe
from wgpy.errors import WgpyError


class Administered(Protocol):
    """As much of the crypto room as is administered."""
    engine: Engine
    keys: Keys
    site: Site
    options: dict[str, Any]
    alarms: dict[str, Any]
    reloads: "Reloads"

    def status(self) -> dict[str, Any]:
        """What the supervisor hears when it asks for it."""

    def peers(self) -> list[dict[str, Any]]:
        """wgpy.crypto.report.peers."""

    def parsed(self, text: bytes) -> tuple[Site, list[str]]:
        """A site file and its warnings. ConfigError."""

    def wanted(self, site: Site, before: Site | None) -> SetRequest:
        """What configure() would ask of the engine. WgpyError, as from there."""

    def configure(self, site: Site, before: Site | None) -> None:
        """WgpyError, with nothing changed, for what cannot be carried out whole."""


class Administration:
    """For a Gate: the handler of its UAPI requests, and its `commands` and those `changing` something."""

    def __init__(self, room: Administered):
        self._room = room
        self.commands: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "status": lambda r: {"status": self._document()},
            "peers": lambda r: {"peers": room.peers()},
            "permits": lambda r: {"permits": permits(room.site)},
            "why": self._why,
            "metrics": lambda r: {"text": metrics.text(self._document())},
            "keys": self._keys,
            "audit": lambda r: {},  # the gate asks who holds the pen
        }
        self.changing: dict[str, Callable[[dict[str, Any]], Change]] = {
            "sites-set": self._sites_set, "reload": self._reload,
            "passphrase-change": self._passphrase_change,
            "psk-set": self._psk_set, "psk-remove": self._psk_remove,
        }

    # UAPI

    @property
    def key_sizes(self) -> KeySizes:
        """As of the engine."""
        return self._room.engine.key_sizes

    def check(self, request: SetRequest) -> None:
        """Peers only: the rest belongs to the site file. PermissionError, WgpyError."""
        if (request.private_key, request.listen_port, request.fwmark) != (None, None, None):
            raise PermissionError(errno.EPERM, "keys and ports of the node are the site file's")
        self._room.engine.check(request)

    def apply(self, request: SetRequest) -> None:
        """As check()."""
        self.check(request)
        self._room.engine.apply(request)

    def describe(self) -> DeviceState:
        """Without a secret: private and pre-shared keys never leave the room."""
        state = self._room.engine.describe(self._room.site.node.listen_port)
        peers = tuple(replace(p, preshared_key=NO_KEY) for p in state.peers)
        return replace(state, private_key=NO_KEY, peers=peers)

    def metrics(self) -> dict[str, int | str]:
        """Named as a tunnel daemon names them."""
        room = self._room
        out = room.engine.metrics() | {"queues": room.options.get("queues", 1), "mtu": room.site.mtu}
        for name, facts in room.alarms.items():
            out |= {f"alarm_{name}": int(facts["active"]), f"event_{name}": facts["count"]}
        return out

    # wgpy=1

    def _document(self) -> dict[str, Any]:
        """In the form of status.json, as far as this room knows."""
        room = self._room
        return {"node": room.site.node.name, "mode": room.site.node.mode, "up": True, "alarms": room.alarms,
                "rooms": {"crypto": {"state": "ready", "status": room.status() | {"peers": room.peers()}}}}

    def _why(self, request: dict[str, Any]) -> Answer:
        found = why.explain(self._document(), _text(request, "peer"), now=time.time())
        return {"findings": [f.as_json() for f in found]}

    def _keys(self, request: dict[str, Any]) -> Answer:
        store = self._room.keys.sealed()
        device = self._room.engine.device
        return {"suite": device.suite.name, "public_key": to_base64(device.public_key or NO_KEY), "psks": sorted(store.document.psks),
                "generation": store.generation, "floor": store.document.floor // 10**9}

    def _sites_set(self, request: dict[str, Any]) -> Change:
        """The other sites as in the site file `text`: peers that stay keep their
        sessions. What firewalls and routes need follows with the file itself."""
        before = self._room.site
        site, warnings = self._room.parsed(_text(request, "text").encode())
        if site.node.name != before.node.name:
            raise WgpyError(f"this is node {before.node.name}, the file is of {site.node.name}")
        self._room.wanted(site, before)
        change = difference(before, site)

        def carry_out() -> Answer:
            self._room.configure(site, self._room.site)
            return change | {"warnings": warnings[:64]}
        return Change(change, carry_out)

    def _reload(self, request: dict[str, Any]) -> Change:
        """The supervisor reads the site file anew, firewalls and routes too."""
        return Change({}, self._room.reloads.ask)

    def _passphrase_change(self, request: dict[str, Any]) -> Change:
        texts = [_text(request, k) for k in ("old", "new")]

        def carry_out() -> Answer:
            old, new = (bytearray(text, "utf-8") for text in texts)
            try:
                self._room.keys.change_passphrase(old, new)
            finally:
                wipe(old, new)
            return {}
        return Change({}, carry_out)

    def _psk_set(self, request: dict[str, Any]) -> Change:
        """`key` in base64, or a new one, which is shown this once."""
        name, given = _text(request, "name"), request.get("key")
        store = self._room.keys.sealed()
        try:
            psk = key_base64(given) if given else os.urandom(32)
        except (ValueError, AttributeError):
            raise WgpyError("a key is 44 characters of base64") from None

        def carry_out() -> Answer:
            old = store.document.psks.get(name)
            store.document.psks[name] = bytearray(psk)
            try:
                store.save()
            except WgpyError:
                store.document.psks.pop(name)
                if old is not None:
                    store.document.psks[name] = old
                raise
            changed = [p for p in self._room.site.peers if p.psk == name]
            self.apply(SetRequest(peers=tuple(PeerChange(p.public_key, update_only=True, preshared_key=psk)
                                              for p in changed)))
            sites = [p.name for p in changed]
            return {"sites": sites, "audit": {"sites": sites}} | ({} if given else {"key": to_base64(psk)})
        return Change({"name": name}, carry_out)

    def _psk_remove(self, request: dict[str, Any]) -> Change:
        name, store = _text(request, "name"), self._room.keys.sealed()

        def check() -> None:
            if users := [p.name for p in self._room.site.peers if p.psk == name]:
                raise WgpyError(f"{name!r} is the pre-shared key of {', '.join(users[:8])}")
            if name not in store.document.psks:
                raise WgpyError(f"no pre-shared key named {name!r}")

        def carry_out() -> Answer:
            check()
            wipe(store.document.psks.pop(name))
            store.save()
            return {}
        check()
        return Change({"name": name}, carry_out)


class Reloads:
    """Those that somebody waits for. `send(message)` goes to the supervisor."""

    def __init__(self, send: Callable[[dict[str, Any]], bool]):
        self._send, self._number = send, 0
        self._waiting: dict[int, Later] = {}

    def ask(self) -> Later:
        """WgpyError when the supervisor does not take it."""
        self._number += 1
        if not self._send({"reload": self._number}):
            raise WgpyError("the supervisor does not answer")
        later = self._waiting[self._number] = Later()
        return later

    def answered(self, message: dict[str, Any]) -> None:
        """{"reloaded": which, "refused": why not or "", "not_configured": faults}."""
        later = self._waiting.pop(message["reloaded"], None)
        if later is not None:
            later.done(lambda: _reloaded(message))


def _reloaded(message: dict[str, Any]) -> Answer:
    if message["refused"]:
        raise WgpyError(f"not taken over: {message['refused']}")
    faults = message["not_configured"]
    return {"not_configured": faults} | ({"audit": {"not_configured": len(faults)}} if faults else {})


def _text(request: dict[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise WgpyError(f"{key!r} is missing")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        raise WgpyError(f"{key!r} is no text") from None
    return value


def permits(site: Site) -> list[dict[str, Any]] | None:
    """None: every LAN host may reach every site."""
    if site.permits is None:
        return None
    return [{"from": [str(n) for n in p.sources], "to": [*p.sites, *map(str, p.networks)]} for p in site.permits]
