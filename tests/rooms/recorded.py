"""Initiations taken off the wire, and sent again by a stranger."""

import socket

from wgpy.lab.netns import wait_until

INITIATION, RESPONSE = 1, 2
INITIATION_SIZE = 148


def answered(wire, source):
    """The initiations from there that had a response: what nobody has accepted is not refused. Two that were
    sent at once are one frame, of which the first is taken."""
    indices = {f.index for f in wire.frames() if f.kind == RESPONSE}
    return [f.payload[:INITIATION_SIZE] for f in wire.frames()
            if f.kind == INITIATION and f.source[0] == source and f.index in indices]


def send_until_refused(internet, recording, address, crypto):
    """`crypto()`: the status of the room at the address, as far as it has told."""
    with internet.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:

        def refused() -> int:  # a single datagram may be lost while black finds the new crypto
            s.sendto(recording, (address, 51820))
            return crypto().get("engine", {}).get("reject_replay", 0)
        wait_until(refused, 60, "the recording is refused", interval=0.5)
