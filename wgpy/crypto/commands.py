"""What an administrator can ask of the crypto room, once the gate has let him in."""

import errno
import os
import time
from dataclasses import replace

from wgpy.admin import metrics, why
from wgpy.config import site as site_file
from wgpy.config.model import NO_KEY, DeviceState, PeerChange, SetRequest
from wgpy.config.site_model import Site
from wgpy.config.values import key_base64, to_base64
from wgpy.crypto.sealed import wipe
from wgpy.errors import WgpyError

CHANGING = frozenset({"sites-set", "reload", "passphrase-change", "psk-set", "psk-remove"})


class Administration:
    """`room` is the crypto room: engine, keys, site, status(), configure()."""

    def __init__(self, room):
        self._room = room
        self.commands = {
            "status": lambda r: {"status": self._document()},
            "peers": lambda r: {"peers": room.peers()},
            "permits": lambda r: {"permits": permits(room.site)},
            "why": self._why,
            "metrics": lambda r: {"text": metrics.text(self._document())},
            "keys": self._keys,
            "audit": lambda r: {"entries": room.gate.audit.head.entries, "hash": room.gate.audit.head.hash},
            "sites-set": self._sites_set, "reload": self._reload,
            "passphrase-change": self._passphrase_change,
            "psk-set": self._psk_set, "psk-remove": self._psk_remove,
        }

    # UAPI

    def apply(self, request: SetRequest) -> None:
        """Peers only: the rest belongs to the site file. PermissionError, WgpyError."""
        if (request.private_key, request.listen_port, request.fwmark) != (None, None, None):
            raise PermissionError(errno.EPERM, "keys and ports of the node are the site file's")
        self._room.engine.check(request)
        self._room.engine.apply(request)

    def describe(self) -> DeviceState:
        """Without a secret: private and pre-shared keys never leave the room."""
        state = self._room.engine.describe(self._room.site.node.listen_port)
        peers = tuple(replace(p, preshared_key=NO_KEY) for p in state.peers)
        return replace(state, private_key=NO_KEY, peers=peers)

    def metrics(self) -> dict[str, int | str]:
        return self._room.engine.metrics()

    # wgpy=1

    def _document(self) -> dict:
        """In the form of status.json, as far as this room knows."""
        room = self._room
        return {"node": room.site.node.name, "mode": room.site.node.mode, "up": True,
                "rooms": {"crypto": {"state": "ready", "status": room.status() | {"peers": room.peers()}}}}

    def _why(self, request: dict) -> dict:
        found = why.explain(self._document(), _text(request, "peer"), now=time.time())
        return {"findings": [f.as_json() for f in found]}

    def _keys(self, request: dict) -> dict:
        store = self._room.keys.sealed()
        return {"public_key": to_base64(self._room.engine.device.public_key), "psks": sorted(store.document.psks),
                "generation": store.generation, "floor": store.document.floor // 10**9}

    def _sites_set(self, request: dict) -> dict:
        """The other sites as in the site file `text`: peers that stay keep their
        sessions. What firewalls and routes need follows with the file itself."""
        before = self._room.site
        site, errors, warnings = site_file.parse_bytes(_text(request, "text").encode(), "site")
        if errors:
            raise errors[0]
        if site.node.name != before.node.name:
            raise WgpyError(f"this is node {before.node.name}, the file is of {site.node.name}")
        self._room.configure(site, before)
        change = difference(before, site)
        return change | {"warnings": warnings[:64], "audit": change}

    def _reload(self, request: dict) -> dict:
        """The supervisor reads the site file anew, firewalls and routes too."""
        if not self._room.channel.send({"reload": True}):
            raise WgpyError("the supervisor does not answer")
        return {}

    def _passphrase_change(self, request: dict) -> dict:
        old, new = (bytearray(_text(request, k), "utf-8") for k in ("old", "new"))
        try:
            self._room.keys.change_passphrase(old, new)
        finally:
            wipe(old, new)
        return {}

    def _psk_set(self, request: dict) -> dict:
        """`key` in base64, or a new one, which is shown this once."""
        name, given = _text(request, "name"), request.get("key")
        store = self._room.keys.sealed()
        try:
            psk = key_base64(given) if given else os.urandom(32)
        except (ValueError, AttributeError):
            raise WgpyError("a key is 44 characters of base64") from None
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
        self.apply(SetRequest(peers=tuple(PeerChange(p.public_key, update_only=True, preshared_key=psk) for p in changed)))
        sites = [p.name for p in changed]
        return {"sites": sites, "audit": {"name": name, "sites": sites}} | ({} if given else {"key": to_base64(psk)})

    def _psk_remove(self, request: dict) -> dict:
        name, store = _text(request, "name"), self._room.keys.sealed()
        if users := [p.name for p in self._room.site.peers if p.psk == name]:
            raise WgpyError(f"{name!r} is the pre-shared key of {', '.join(users[:8])}")
        gone = store.document.psks.pop(name, None)
        if gone is None:
            raise WgpyError(f"no pre-shared key named {name!r}")
        wipe(gone)
        store.save()
        return {"audit": {"name": name}}


def _text(request: dict, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise WgpyError(f"{key!r} is missing")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        raise WgpyError(f"{key!r} is no text") from None
    return value


def permits(site: Site) -> list[dict] | None:
    """None: every LAN host may reach every site."""
    if site.permits is None:
        return None
    return [{"from": [str(n) for n in p.sources], "to": [*p.sites, *map(str, p.networks)]} for p in site.permits]


def difference(before: Site, after: Site) -> dict:
    """Names of sites added, removed and changed, and what only a reload of the site file
    carries out."""
    old, new = ({p.name: p for p in s.peers} for s in (before, after))
    both = old.keys() & new.keys()
    parts = [k for k in ("node", "wan", "lan", "permits", "bypass", "firewall")
             if getattr(before, k) != getattr(after, k)]
    parts += ["networks"] if set(before.remote) != set(after.remote) else []
    return {"added": sorted(new.keys() - old.keys()), "removed": sorted(old.keys() - new.keys()),
            "changed": sorted(n for n in both if old[n] != new[n]), "needs_reload": parts}
