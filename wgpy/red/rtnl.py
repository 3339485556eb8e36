"""The light part of pyroute2: message classes of rtnetlink without the package's
__init__, which imports everything and would cost each daemon 20 MB and 0.2 s."""

import importlib
import importlib.util
import socket
import struct
import sys
import types
from typing import Any

from wgpy.netlink import messages


def light(*names: str) -> list[types.ModuleType]:
    """Imports submodules of pyroute2 (or finds them, where it is loaded already)."""
    if "pyroute2" in sys.modules:
        return [importlib.import_module(f"pyroute2.{name}") for name in names]
    spec = importlib.util.find_spec("pyroute2")
    if spec is None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
    shell = types.ModuleType("pyroute2")
    shell.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["pyroute2"] = shell
    try:
        return [importlib.import_module(f"pyroute2.{name}") for name in names]
    finally:
        del sys.modules["pyroute2"]


netlink, kinds, ifinfmsg, nsidmsg = light("netlink", "netlink.rtnl", "netlink.rtnl.ifinfmsg", "netlink.rtnl.nsidmsg")


def request(kind: int, message_class: type[Any], fields: dict[str, Any], attributes: list[tuple[str, Any]]) -> Any:
    """One request and its one answer, over a socket of this thread's namespace.

    Returns the decoded answer, or None for a bare acknowledgement; raises OSError with
    the kernel's errno.
    """
    message = message_class()
    message["header"]["type"] = kind
    message["header"]["flags"] = netlink.NLM_F_REQUEST | netlink.NLM_F_ACK
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
    answer, payload = next(messages(data))
    if answer == netlink.NLMSG_ERROR:
        code = struct.unpack_from("=i", payload)[0]
        if code:
            raise OSError(-code, f"rtnetlink request {kind}")
        return None
    reply = message_class(data)
    reply.decode()
    return reply
