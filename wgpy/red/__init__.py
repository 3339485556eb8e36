"""The LAN-facing room: TUN devices and link events."""
