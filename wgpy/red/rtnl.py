"""The light part of pyroute2: message classes of rtnetlink without the package's
__init__, which imports everything and would cost each daemon 20 MB and 0.2 s."""

import importlib
import importlib.util
import socket
import struct
import sys
import types

NLMSG_ERROR, NLM_F_REQUEST, NLM_F_ACK = 2, 1, 4
_RTM_GETLINK = 18
_TYPE_MASK = 0x3FFF  # linux/netlink.h: NLA_TYPE_MASK
_HEADER = struct.Struct("=IHHII")


def light(*names: str) -> list:
    """Imports submodules of pyroute2 (or finds them, where it is loaded already)."""
    if "pyroute2" in sys.modules:
        return [importlib.import_module(f"pyroute2.{name}") for name in names]
    spec = importlib.util.find_spec("pyroute2")
    if spec is None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
    shell = types.ModuleType("pyroute2")
    shell.__path__ = list(spec.submodule_search_locations)
    sys.modules["pyroute2"] = shell
    try:
        return [importlib.import_module(f"pyroute2.{name}") for name in names]
    finally:
        del sys.modules["pyroute2"]


ifinfmsg, nsidmsg = light("netlink.rtnl.ifinfmsg", "netlink.rtnl.nsidmsg")


def request(kind: int, message_class: type, fields: dict, attributes: list) -> object:
    """One request and its one answer, over a socket of this thread's namespace.

    Returns the decoded answer, or None for a bare acknowledgement; raises OSError with
    the kernel's errno.
    """
    message = message_class()
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK
    message["header"]["sequence_number"] = 1
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message.encode()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as s:
        s.settimeout(2)
        s.bind((0, 0))
        s.send(message.data)
        data = s.recv(65536)
    _, answer, _, _, _ = _HEADER.unpack_from(data)
    if answer == NLMSG_ERROR:
        code = struct.unpack_from("=i", data, _HEADER.size)[0]
        if code:
            raise OSError(-code, f"rtnetlink request {kind}")
        return None
    reply = message_class(data)
    reply.decode()
    return reply


def link(name: str) -> object:
    """An interface of this thread's namespace; OSError (ENODEV) when it is not there."""
    return request(_RTM_GETLINK, ifinfmsg.ifinfmsg, {}, [("IFLA_IFNAME", name)])


def attributes(payload: memoryview, offset: int) -> dict[int, bytes]:
    """Type -> value of what follows a message's fixed part; stops at a malformed one."""
    found = {}
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if length < 4 or offset + length > len(payload):
            break
        found[kind & _TYPE_MASK] = bytes(payload[offset + 4:offset + length])
        offset += (length + 3) & ~3
    return found


def messages(data: bytes):
    """(type, payload) of each netlink message in a datagram; stops at a malformed one."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, memoryview(data)[offset + _HEADER.size:offset + length]
        offset += (length + 3) & ~3
