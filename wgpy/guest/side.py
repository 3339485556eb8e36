"""What of a guest is its room's own: black's and red's links and firewall, crypto's keys and
administration."""

from typing import Any

from wgpy.node.room_process import RoomProcess

Given = tuple[dict[str, Any], dict[str, int]]  # options, and descriptors by name


class Side:
    """As long as the guest lives, whatever becomes of the room."""

    def give(self) -> Given:
        """Options and new descriptors for a start of the room."""
        raise NotImplementedError

    def attach(self, room: RoomProcess) -> None:
        """Once, before its first start."""

    def heard(self, message: dict[str, Any]) -> None:
        """What the room says, and the guest itself has no use for."""

    def look(self) -> None:
        """To be called every liveness.LOOK seconds."""

    def ended(self) -> None:
        """The room's process did."""
