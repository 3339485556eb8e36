"""A site file for tests to edit as text, because errors name lines."""

import base64

from wgpy.config.site import parse

KEY, KEY2, KEY3 = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
LIMA = f"""[node]
name = "lima"
mode = "small"
listen_port = 51820
[wan]
interface = "eth0"
addresses = ["192.0.2.10/24"]
gateway = "192.0.2.1"
[lan]
interface = "eth1"
addresses = ["10.1.0.1/24", "fd01::1/64"]
[[site]]
name = "cusco"
public_key = "{KEY}"
networks = ["10.2.0.0/24", "fd02::/64"]
endpoints = ["198.51.100.7:51820"]
"""
PUNO = f"""[[site]]
name = "puno"
public_key = "{KEY2}"
networks = ["10.3.0.0/24"]
"""


def with_peer(*, name: str, mode: str, wan: str, gateway: str, lan: str, peer: str, key: str, networks: str, endpoint: str,
              links: tuple[str, str] = ("wan0", "lan0")) -> str:
    """IPv4 alone, and one other site. `wan`, `lan`: addresses with their length; `endpoint`: an address."""
    return f"""[node]
name = "{name}"
mode = "{mode}"
listen_port = 51820
[wan]
interface = "{links[0]}"
addresses = ["{wan}"]
gateway = "{gateway}"
[lan]
interface = "{links[1]}"
addresses = ["{lan}"]
[[site]]
name = "{peer}"
public_key = "{key}"
networks = ["{networks}"]
endpoints = ["{endpoint}:51820"]
"""


def edited(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def site_of(text: str):
    site, errors, _ = parse(text, "f.toml")
    assert not errors, [str(e) for e in errors]
    return site
