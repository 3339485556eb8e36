"""What crypto asks of whoever started it, supervisor or guest: entries in the audit trail, the site
file to be read anew."""

import logging
from typing import Any

from wgpy.errors import WgpyError
from wgpy.node.reload import Reload
from wgpy.node.room_process import RoomProcess, clean
from wgpy.node.trail import Scribe

log = logging.getLogger(__name__)


class Clerk:
    """Without a scribe there is no administration, and nothing is written down."""

    def __init__(self, crypto: RoomProcess, scribe: Scribe | None, reload: Reload):
        self._crypto, self._scribe, self._reload = crypto, scribe, reload

    def restarted(self) -> None:
        """Crypto is to be started: what another process of it asked for is not answered."""
        if self._scribe:
            self._scribe.restarted()

    def ended(self) -> None:
        """Its process did."""
        self._reload.crypto_ended()

    def heard(self, message: dict[str, Any]) -> bool:
        """Whether it was for the clerk."""
        if "pen" in message and self._scribe:
            self._write_down(self._scribe, message)
        elif type(message.get("reload")) is int and 0 < message["reload"] < 1 << 63:
            self._reload.begin(message["reload"])
        elif isinstance(message.get("site"), str):
            self._reload.answered(clean(message["site"]))
        else:
            return False
        return True

    def _write_down(self, scribe: Scribe, message: dict[str, Any]) -> None:
        self._crypto.uncounted()  # the scribe counts them
        try:
            scribe.asked(message)
        except WgpyError as e:
            log.error("crypto: %s: killed", e)
            self._crypto.kill()
