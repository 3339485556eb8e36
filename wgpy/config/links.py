"""Links inside a node, the same in every node."""

from ipaddress import IPv4Interface, IPv6Interface

SECURE = "secure0"  # the TUN of red
CLEAR = "clear0"  # both ends of the red-black veth, small mode only

CLEAR_BLACK = (IPv4Interface("169.254.77.1/30"), IPv6Interface("fd77::1/126"))
CLEAR_RED = (IPv4Interface("169.254.77.2/30"), IPv6Interface("fd77::2/126"))
CLEAR_NETWORKS = tuple(i.network for i in CLEAR_BLACK)
