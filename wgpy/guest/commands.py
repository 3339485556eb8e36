"""What can be typed at the console of crypto's guest (docs/console.md), beside what the console knows
itself. What changes something goes through crypto's gate, as any administrator's wish does."""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from wgpy.admin import lines, why
from wgpy.admin.console import Command, Turn
from wgpy.admin.faults import TAKEN_BUT, in_short
from wgpy.config import site as site_file
from wgpy.config.site_changes import difference
from wgpy.config.site_model import Site
from wgpy.errors import WgpyError
from wgpy.guest.asking import Then
from wgpy.guest.unlocking import as_typed
from wgpy.node.trail import Trail

LINES, MOST_LINES = 10, 10000  # of the trail
_MOST_BASE64 = site_file.MAX_FILE * 3 // 2


class Served(Protocol):
    """As much of crypto's side as the commands need."""
    trail: Trail

    @property
    def site(self) -> Site:
        """The one that holds."""

    def describe(self) -> dict[str, Any]:
        """The status document."""

    def ask(self, request: dict[str, Any], then: Then) -> None:
        """Of crypto. WgpyError when it cannot answer."""

    def reload(self, text: bytes, then: Then) -> None:
        """Offers crypto a site file. WgpyError."""


class Commands:
    """`unlock` is somebody else's."""

    def __init__(self, served: Served):
        self._served = served

    def table(self, unlock: Callable[[Turn, list[str]], None]) -> dict[str, Command]:
        """By name."""
        return {c.usage.split()[0]: c for c in (
            Command("status [json]", "rooms, alarms, disk", self._status),
            Command("why [SITE]", "why a site does not come up", self._why),
            Command("unlock [hex]", "the passphrase, which is asked for", unlock),
            Command("reload [base64 BYTES SHA256]", "a site file, which follows, and then a line with a point", self._reload),
            Command("audit [N]", f"the last N lines of the audit trail, {LINES} if not said otherwise", self._audit),
            Command("keys list [json]", "public key, and names of pre-shared keys", self._keys),
            Command("keys psk NAME [new|remove]", "sets a pre-shared key, which is asked for or made", self._keys),
            Command("keys passphrase [hex]", "changes the passphrase, which is asked for", self._keys))}

    def _status(self, turn: Turn, words: list[str]) -> None:
        document = self._served.describe()
        if words == ["json"]:
            turn.say(json.dumps(document, indent=1))
        elif words:
            return turn.error("usage: status [json]")
        else:
            turn.say("\n".join(lines.of_node(document)))
        turn.ok()

    def _why(self, turn: Turn, words: list[str]) -> None:
        document = self._served.describe()
        named = words or [peer["name"] or peer["public_key"] for peer in document["rooms"]["crypto"]["status"].get("peers", [])]
        if len(words) > 1:
            return turn.error("usage: why [SITE]")
        for site in named or [""]:
            for found in why.explain(document, site, now=time.time()):
                turn.say("\n".join(lines.of_finding(found)).replace("→", "->"))
        turn.ok()

    def _audit(self, turn: Turn, words: list[str]) -> None:
        if len(words) > 1 or words and not (words[0].isdecimal() and 0 < int(words[0][:6]) <= MOST_LINES):
            return turn.error(f"usage: audit [N], up to {MOST_LINES}")
        trail = self._served.trail
        turn.say("\n".join(trail.last(int(words[0]) if words else LINES)))
        turn.say(f"head: {trail.head.entries} {trail.head.hash}")
        turn.ok()

    # reload

    def _reload(self, turn: Turn, words: list[str]) -> None:
        if words and (len(words) != 3 or words[0] != "base64"):
            return turn.error("usage: reload [base64 BYTES SHA256]")
        turn.ask_text("the site file, and then a line with a point", _MOST_BASE64 if words else site_file.MAX_FILE,
                      lambda text: self._sent(turn, _decoded(text, *words[1:]) if words else text))

    def _sent(self, turn: Turn, text: bytes) -> None:
        before = self._served.site
        turn.say(f"{len(text)} bytes, SHA-256 {hashlib.sha256(text).hexdigest()}")

        def then(answer: dict[str, Any] | str) -> None:
            if isinstance(answer, str):
                return turn.error(answer)
            changes = difference(before, self._served.site)
            for what, names in (("added", changes["added"]), ("removed", changes["removed"]), ("changed", changes["changed"])):
                if names:
                    turn.say(f"{what}: {', '.join(names)}")
            if parts := changes["needs_reload"]:
                turn.say(f"black and red need this file too, their guests have to start again with it: {', '.join(parts)}")
            if self._served.describe()["disk"] is None:
                turn.say("there is no disk: this guest starts again with the site file of its image")
            if fault := in_short(answer):
                return turn.error(TAKEN_BUT + fault)
            turn.ok()
        self._served.reload(text, then)

    # keys

    def _keys(self, turn: Turn, words: list[str]) -> None:
        match words:
            case ["list"] | ["list", "json"]:
                self._ask(turn, {"cmd": "keys"}, lambda answer: json.dumps(answer, indent=1) if len(words) == 2 else "\n".join(
                    [f"public key: {answer['public_key']}", *(f"preshared key: {name}" for name in answer["psks"])]))
            case ["psk", name]:
                turn.ask_secret(f"preshared key {name}", lambda typed: self._ask(
                    turn, {"cmd": "psk-set", "name": name, "key": typed.decode("ascii", "replace").strip()}))
            case ["psk", name, "new"]:
                self._ask(turn, {"cmd": "psk-set", "name": name}, lambda answer: f"preshared key: {answer['key']}")
            case ["psk", name, "remove"]:
                self._ask(turn, {"cmd": "psk-remove", "name": name})
            case ["passphrase", *rest] if rest in ([], ["hex"]):
                self._passphrase(turn, rest)
            case _:
                turn.error("usage: keys list [json] | keys psk NAME [new|remove] | keys passphrase [hex]")

    def _passphrase(self, turn: Turn, words: list[str]) -> None:
        typed: list[bytearray] = []
        prompts = ["present passphrase", "new passphrase", *([] if words else ["once more"])]

        def take(secret: bytearray) -> None:
            typed.append(as_typed(secret, words))
            if len(typed) < len(prompts):
                turn.ask_secret(prompts[len(typed)], take)
                return
            try:
                old, new = typed[0].decode(), typed[1].decode()
                if typed[1] != typed[-1]:
                    return turn.error("the two passphrases differ")
            except UnicodeDecodeError:
                return turn.error("a passphrase that is no UTF-8 text cannot be changed here")
            finally:
                for each in typed:
                    each[:] = bytes(len(each))
            self._ask(turn, {"cmd": "passphrase-change", "old": old, "new": new})
        turn.ask_secret(prompts[0], take)

    def _ask(self, turn: Turn, request: dict[str, Any], told: Callable[[dict[str, Any]], str] = lambda answer: "") -> None:
        """`told` makes lines of the answer."""
        def then(answer: dict[str, Any] | str) -> None:
            if isinstance(answer, str):
                return turn.error(answer)
            try:
                turn.say(told(answer))
            except (KeyError, TypeError, ValueError):
                return turn.error("crypto's answer is none")
            turn.ok()
        self._served.ask(request, then)


def _decoded(text: bytes, size: str, digest: str) -> bytes:
    """WgpyError when it is not what was announced."""
    try:
        data = base64.b64decode(text.replace(b"\n", b""), validate=True)
    except binascii.Error:
        raise WgpyError("not base64") from None
    if str(len(data)) != size or hashlib.sha256(data).hexdigest() != digest.lower():
        raise WgpyError(f"{len(data)} bytes came, and not what was announced: send it again")
    return data
