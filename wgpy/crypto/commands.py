"""What an administrator can ask of the crypto room, once the gate has let him in. What
changes something comes in two halves: looked at here, carried out when it is written down."""

import errno
import os
import time
from dataclasses import replace

from wgpy.admin import metrics, why
from wgpy.admin.gate import Change
from wgpy.config import site as site_file
from wgpy.config.model import NO_KEY, DeviceState, PeerChange, SetRequest
from wgpy.config.site_changes import difference
from wgpy.config.site_model import Site
from wgpy.config.values import key_base64, to_base64
from wgpy.crypto.sealed import wipe
from wgpy.errors import WgpyError


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
            "audit": lambda r: {},  # the gate asks who holds the pen
        }
        self.changing = {
            "sites-set": self._sites_set, "reload": self._reload,
            "passphrase-change": self._passphrase_change,
            "psk-set": self._psk_set, "psk-remove": self._psk_remove,
        }

    # UAPI

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

    def _sites_set(self, request: dict) -> Change:
        """The other sites as in the site file `text`: peers that stay keep their
        sessions. What firewalls and routes need follows with the file itself."""
        before = self._room.site
        site, errors, warnings = site_file.parse_bytes(_text(request, "text").encode(), "site")
        if errors:
            raise errors[0]
        if site.node.name != before.node.name:
            raise WgpyError(f"this is node {before.node.name}, the file is of {site.node.name}")
        self._room.wanted(site, before)
        change = difference(before, site)

        def carry_out() -> dict:
            self._room.configure(site, self._room.site)
            return change | {"warnings": warnings[:64]}
        return Change(change, carry_out)

    def _reload(self, request: dict) -> Change:
        """The supervisor reads the site file anew, firewalls and routes too."""
        def carry_out() -> dict:
            if not self._room.channel.send({"reload": True}):
                raise WgpyError("the supervisor does not answer")
            return {}
        return Change({}, carry_out)

    def _passphrase_change(self, request: dict) -> Change:
        texts = [_text(request, k) for k in ("old", "new")]

        def carry_out() -> dict:
            old, new = (bytearray(text, "utf-8") for text in texts)
            try:
                self._room.keys.change_passphrase(old, new)
            finally:
                wipe(old, new)
            return {}
        return Change({}, carry_out)

    def _psk_set(self, request: dict) -> Change:
        """`key` in base64, or a new one, which is shown this once."""
        name, given = _text(request, "name"), request.get("key")
        store = self._room.keys.sealed()
        try:
            psk = key_base64(given) if given else os.urandom(32)
        except (ValueError, AttributeError):
            raise WgpyError("a key is 44 characters of base64") from None

        def carry_out() -> dict:
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

    def _psk_remove(self, request: dict) -> Change:
        name, store = _text(request, "name"), self._room.keys.sealed()

        def check() -> None:
            if users := [p.name for p in self._room.site.peers if p.psk == name]:
                raise WgpyError(f"{name!r} is the pre-shared key of {', '.join(users[:8])}")
            if name not in store.document.psks:
                raise WgpyError(f"no pre-shared key named {name!r}")

        def carry_out() -> dict:
            check()
            wipe(store.document.psks.pop(name))
            store.save()
            return {}
        check()
        return Change({"name": name}, carry_out)


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
