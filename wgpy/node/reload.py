"""A changed site file, taken over while the node runs. Crypto is offered it first: it may
lack a key, and could not start again with such a file. Who asked is told what became of it:
{"reloaded": N, "refused": why} and nothing has changed, or, when crypto has taken it, an
empty `refused` and in `not_configured` what the host refuses of it."""

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict

from wgpy.admin.faults import Fault
from wgpy.config.site_changes import difference, stays
from wgpy.config.site_model import Site
from wgpy.errors import WgpyError
from wgpy.node.trail import Trail
from wgpy.rooms.control import of_text

log = logging.getLogger(__name__)

_MOST_FAULTS = 64   # that an answer names
_MAX_REASON = 4000  # characters


class Offer(NamedTuple):
    """A site file that crypto was given, and the `number` of whoever waits for the outcome;
    None: nobody does."""
    site: Site
    text: bytes
    number: int | None


class Host(Protocol):
    """What a site file asks something of besides crypto."""

    @property
    def not_configured(self) -> Sequence[Fault]:
        """What it could not get of the file that was taken last."""

    def check(self, site: Site) -> None:
        """HostError when the file could not be carried out."""


class Facts(TypedDict):
    """How many there were, and why the last one was refused."""
    count: int
    refused: str


class Reload:
    """`load()` reads the site file anew, `tell(message, fds)` goes to crypto. `taken(offer)`
    is called when crypto has taken the file, and brings the host to it; `told()` when
    `facts`, for status.json, have changed."""

    def __init__(self, site: Site, load: Callable[[], tuple[Site, bytes]], net: Host, trail: Trail | None,
                 tell: Callable[..., bool], taken: Callable[[Offer], None], told: Callable[[], None]):
        self.site, self._load, self._net, self._trail = site, load, net, trail
        self._tell, self._taken, self._told = tell, taken, told
        self._offered: deque[Offer] = deque()
        self.facts: Facts = {"count": 0, "refused": ""}

    def begin(self, number: int | None = None) -> None:
        """Once the trail says so; peers that stay keep their sessions. `number`: of crypto's
        request, for somebody who waits for the outcome."""
        try:
            site, text = self._load()
            if refused := stays(self.site, site):
                raise WgpyError(refused)
            self._net.check(site)
            fd = of_text(text)
        except (OSError, WgpyError) as e:
            self._end(number, str(e))
            return
        if refused := self._record("asked", **difference(self.site, site)):
            os.close(fd)
            self._end(number, f"the audit trail cannot be written ({refused})", written=False)
            return
        self._offered.append(Offer(site, text, number))
        if not self._tell({"site": "changed"}, {"site": fd}):
            self.answered("")  # its next start reads it
        os.close(fd)

    def answered(self, refused: str) -> None:
        """What crypto says of the site file that was offered first."""
        if not self._offered:
            return
        offer = self._offered.popleft()
        if not refused:
            self.site = offer.site
            self._taken(offer)
        self._end(offer.number, refused)

    def crypto_ended(self) -> None:
        """What it was offered and did not answer is refused."""
        while self._offered:
            self.answered("crypto ended before it had read it")

    def _record(self, result: str, **detail: Any) -> str:
        """Of the site file; why it is not written down."""
        return self._trail.add("supervisor", "site file", result, **detail) if self._trail else ""

    def _end(self, number: int | None, refused: str, written: bool = True) -> None:
        faults = [] if refused else [f for f in self._net.not_configured if f.needed]
        if written:
            self._record(refused or "ok", **({"not_configured": list(map(str, faults[:4]))} if faults else {}))
        if refused:
            log.error("the site file is not taken over: %s", refused)
        self.facts = {"count": self.facts["count"] + 1, "refused": refused}
        self._told()
        if number is not None:
            self._tell({"reloaded": number, "refused": refused[:_MAX_REASON],
                        "not_configured": [f._asdict() for f in faults[:_MOST_FAULTS]]})
