"""The Internet-facing room: UDP sockets."""
