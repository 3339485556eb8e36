"""One table of the forms that wg(8) reads, each given to `wg setconf` and to us, on the same
daemon: what `wg showconf` says after both must be the same, or the row says why not.
docs/tunnels.md tells users what the rows that differ mean."""

import re
import sys
from pathlib import Path

import pytest

from wgpy.admin import uapi_server
from wgpy.cli import client, tunnel_file
from wgpy.cli.interrupt import Signals
from wgpy.errors import WgpyError
from wgpy.lab.netns import Netns

pytestmark = pytest.mark.netns

WGPY = str(Path(sys.executable).with_name("wgpy"))
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # bytes 0 to 31, of which a daemon may clamp two bits
CLAMPED = "CAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8="
ONE = "HPlbuq8YnehyXuVBk7KqJ1KcJAkLQPQ44WDazS2hLyQ="
TWO = "fM2qJ6rU0Q8Lh1S2yH8l7bq3Z6x1yq0H0q1C2n3d4Xc="
I, P, Q = "[Interface]\nListenPort = 7001\n", f"[Peer]\nPublicKey = {ONE}\n", f"[Peer]\nPublicKey = {TWO}\n"

SAME = {  # both take it and mean the same
    "nothing": "",
    "no interface section": P,
    "interface after peers": P + "AllowedIPs = 10.0.0.0/8\n" + I,
    "tabs": f"\t[Interface]\t\n\tListenPort\t=\t7001\n\tPrivateKey\t=\t{CLAMPED}\t\n",
    "form feed and vertical tab": "[Interface]\f\nListen\vPort = 7001\n",
    "space in a key's value": I + f"PrivateKey = {CLAMPED[:9]} {CLAMPED[9:]}\n",
    "space in a section": "[ Inter face ]\nListenPort = 7001\n[ Peer ]\n" + f"PublicKey = {ONE}\n",
    "space in a key": "[Interface]\nListen Port = 70 01\n" + P + "Allowed IPs = 10.0.0.0 / 8 , fd00:: /8\n",
    "space in an endpoint": I + P + "Endpoint = 192.0.2.1 : 51820\n",
    "any case": f"[INTERFACE]\nLISTENPORT=7001\nprivatekey={CLAMPED}\n[peer]\npublickey={ONE}\nallowedIPS=10.0.0.0/8\n",
    "comments": "# a\n[Interface] # b\nListenPort = 7001 # = c\n  # d\n#[Peer]\n",
    "latin-1 in a comment": (I + "# B\xfcro\n").encode("latin-1"),
    "control byte in a comment": I.replace("\n", " # \x01\n"),
    "crlf": (I + P + "AllowedIPs = 10.0.0.0/8\n").replace("\n", "\r\n"),
    "no last newline": I + P + "AllowedIPs = 10.0.0.0/8",
    "blank lines": "\n\n[Interface]\n\n  \nListenPort = 7001\n\n",
    "mark off": I + "FwMark = off\n", "mark OFF": I + "FwMark = OFF\n", "mark 0": I + "FwMark = 0\n",
    "mark in hex": I + "FwMark = 0xCa6C\n", "mark with zeros": I + "FwMark = 0x0000000000000001\n",
    "decimal mark with zeros": I + "FwMark = 0051820\n",
    "keepalive off": I + P + "PersistentKeepalive = off\n", "keepalive OFF": I + P + "PersistentKeepalive = OFF\n",
    "keepalive 0": I + P + "PersistentKeepalive = 0\n", "longest keepalive": I + P + "PersistentKeepalive = 65535\n",
    "keepalive with zeros": I + P + "PersistentKeepalive = 025\n",
    "preshared key": I + P + f"PresharedKey = {KEY}\n",
    "preshared key of zeros": I + P + f"PresharedKey = {'A' * 43}=\n",
    "private key of zeros": I + f"PrivateKey = {'A' * 43}=\n",
    "allowed list": I + P + "AllowedIPs = 10.0.0.0/8,fd00::/8, 192.0.2.1 ,2001:db8::1\n",
    "allowed again": I + P + "AllowedIPs = 10.0.0.0/8\nAllowedIPs = 10.1.0.0/16\n",
    "allowed host bits": I + P + "AllowedIPs = 10.1.2.3/8, fd00::1/8\n",
    "allowed with zeros": I + P + "AllowedIPs = 10.0.0.0/08\n",
    "allowed mapped": I + P + "AllowedIPs = ::ffff:10.0.0.0/104\n",
    "allowed everything": I + P + "AllowedIPs = 0.0.0.0/0, ::/0\n",
    "allowed of two peers": I + P + "AllowedIPs = 10.0.0.0/8, 10.1.0.0/16\n" + Q + "AllowedIPs = 10.0.0.0/8\n",
    "endpoint v4": I + P + "Endpoint = 192.0.2.1:51820\n",
    "endpoint v6": I + P + "Endpoint = [2001:db8::1]:51820\n",
    "endpoint v6 bare": I + P + "Endpoint = 2001:db8::2:51820\n",
    "endpoint v6 with zone": I + P + "Endpoint = [fe80::1%lo]:51820\n",
    "endpoint v6 bare with zone": I + P + "Endpoint = fe80::1%lo:51820\n",
    "endpoint v4 in brackets": I + P + "Endpoint = [192.0.2.1]:51820\n",
    "endpoint name": I + P + "Endpoint = localhost:51820\n",
    "endpoint name in brackets": I + P + "Endpoint = [localhost]:51820\n",
    "endpoint short": I + P + "Endpoint = 127.1:51820\n",
    "endpoint as a number": I + P + "Endpoint = 2130706433:51820\n",
    "endpoint in hex": I + P + "Endpoint = 0x7f000001:51820\n",
    "endpoint port with zeros": I + P + "Endpoint = 192.0.2.1:0051820\n",
    "key again": "[Interface]\nListenPort = 7000\nListenPort = 7001\nFwMark = 1\nFwMark = 2\n",
    "private key again": I + f"PrivateKey = {ONE}\nPrivateKey = {CLAMPED}\n",
    "peer's keys again": I + P + "Endpoint = 192.0.2.1:1\nEndpoint = 192.0.2.2:2\nPersistentKeepalive = 1\n"
                                 "PersistentKeepalive = 2\n",
    "public key again": I + P + f"PublicKey = {TWO}\n",
    "public key last": I + f"[Peer]\nAllowedIPs = 10.0.0.0/8\nPublicKey = {ONE}\n",
    "interface again": I + "FwMark = 5\n" + P + f"[Interface]\nListenPort = 7001\nPrivateKey = {CLAMPED}\n",
    "peer again": I + P + f"PresharedKey = {KEY}\nAllowedIPs = 10.0.0.0/8\nPersistentKeepalive = 9\n"
                  + P + "AllowedIPs = 10.1.0.0/16\nEndpoint = 192.0.2.1:1\n",
    "peer again takes its prefix back": I + P + "AllowedIPs = 10.0.0.0/8\n" + Q + "AllowedIPs = 10.0.0.0/8\n"
                                        + P + "AllowedIPs = 10.0.0.0/8\n",
}

REFUSED = {  # by both
    "before a section": ("ListenPort = 1\n", "before the first section"),
    "unknown section": ("[Peers]\n", "neither"), "section without end": ("[Peer\n", "neither"),
    "unknown key": (I + "Nope = 1\n", "unknown key"), "no equals": (I + "ListenPort 1\n", "no '='"),
    "no private key": (I + "PrivateKey =\n", "no value"), "no preshared key": (I + P + "PresharedKey =\n", "no value"),
    "no endpoint": (I + P + "Endpoint =\n", "no value"), "no port": ("[Interface]\nListenPort =\n", "no value"),
    "no mark": (I + "FwMark =\n", "no value"), "no keepalive": (I + P + "PersistentKeepalive =\n", "no value"),
    "no public key": (I + "[Peer]\nAllowedIPs = 10.0.0.0/8\n", "no PublicKey"),
    "short key": (I + "PrivateKey = abc=\n", "44 characters"),
    "key with stray bits": (I + f"PrivateKey = {KEY[:42]}9=\n", "44 characters"),
    "key in hex": (I + P + f"PresharedKey = {'ab' * 32}\n", "44 characters"),
    "mark too big": (I + "FwMark = 0x100000000\n", "0 to 4294967295"), "negative mark": (I + "FwMark = -1\n", "number"),
    "keepalive too long": (I + P + "PersistentKeepalive = 65536\n", "0 to 65535"),
    "allowed too long": (I + P + "AllowedIPs = 10.0.0.0/33\n", "prefix length"),
    "allowed netmask": (I + P + "AllowedIPs = 10.0.0.0/255.0.0.0\n", "number of bits"),
    "allowed name": (I + P + "AllowedIPs = localhost/32\n", "prefix length"),
    "allowed octal": (I + P + "AllowedIPs = 010.0.0.0/8\n", "prefix length"),
    "allowed short": (I + P + "AllowedIPs = 10/8\n", "prefix length"),
    "allowed without commas": (I + P + "AllowedIPs = 10.0.0.0/8 10.1.0.0/16\n", "prefix length"),
    "endpoint without port": (I + P + "Endpoint = 192.0.2.1\n", "HOST:PORT"),
    "endpoint bracket open": (I + P + "Endpoint = [2001:db8::1\n", "HOST:PORT"),
    "endpoint unknown": (I + P + "Endpoint = nowhere.invalid:1\n", "cannot be resolved"),
    "utf-16": ((I + P).encode("utf-16"), "UTF-16"),
}

OURS = {  # we take it, wg(8) does not, and this is what it means
    "byte order mark": (b"\xef\xbb\xbf" + I.encode(), I), "cr": ((I + P).replace("\n", "\r"), I + P),
    "mark in big hex": (I + "FwMark = 0X10\n", I + "FwMark = 0x10\n"),
    "no allowed": (I + P + "AllowedIPs =\n", I + P),
    "empty items": (I + P + "AllowedIPs = ,10.0.0.0/8,,\n", I + P + "AllowedIPs = 10.0.0.0/8\n"),
}

NEWER = {  # wg(8) since 2025, which may not be the one that is installed
    "plus": (I + P + "AllowedIPs = +10.0.0.0/8\n", I + P + "AllowedIPs = 10.0.0.0/8\n"),
    "minus": (I + P + "AllowedIPs = 10.0.0.0/8, 10.1.0.0/16, -10.0.0.0/8\n", I + P + "AllowedIPs = 10.1.0.0/16\n"),
    "peer again plus": (I + P + "AllowedIPs = 10.0.0.0/8\n" + P + "AllowedIPs = +10.1.0.0/16\n",
                        I + P + "AllowedIPs = 10.0.0.0/8, 10.1.0.0/16\n"),
}

WHY_NOT = {  # wg(8) takes it
    "port by service": ("[Interface]\nListenPort = domain\n", "services are not looked up"),
    "port too big": ("[Interface]\nListenPort = 70000\n", "0 to 65535"),  # 70000 - 65536
    "port with sign": ("[Interface]\nListenPort = +7001\n", "not a number"),
    "endpoint by service": (I + P + "Endpoint = 192.0.2.1:domain\n", "not a number"),
    "endpoint port too big": (I + P + "Endpoint = 192.0.2.1:70000\n", "1 to 65535"),
}


class Device:
    def __init__(self, host, directory):
        self._host, self._path = host, directory / "f0.conf"
        host.run(str(Path(sys.executable).with_name("wgpyd")), "f0")

    def _write(self, text):
        self._path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self._path.chmod(0o600)

    def run(self, *command):
        return self._host.run(*command).stdout

    def shown(self):
        return self.run("wg", "showconf", "f0")

    def wg(self, text):
        """The state after `wg setconf`, None when it refuses."""
        self._write(text)
        done = self._host.run("sh", "-c", f"WG_ENDPOINT_RESOLUTION_RETRIES=0 wg setconf f0 {self._path} 2>/dev/null",
                              check=False)
        return self.shown() if done.returncode == 0 else None

    def ours(self, text):
        self._write(text)
        file = tunnel_file.load(self._path, lambda _: None)
        file = tunnel_file.resolve(file, "f0.conf", lambda _: None, Signals())
        client.set("f0", file.request)
        return self.shown()


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, Netns("forms") as host:
        patch.setattr(uapi_server, "SOCKET_DIR", f"/proc/{host.pid}/root/run/wireguard")
        patch.setenv("WG_ENDPOINT_RESOLUTION_RETRIES", "0")
        yield Device(host, tmp_path_factory.mktemp("forms"))


@pytest.fixture
def fresh(device):
    device.wg(I)
    return device


def without_port(text):
    """Where the file names no port the daemon chooses one."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("ListenPort")]


@pytest.mark.parametrize("form", SAME)
def test_read_as_wg_reads_it(fresh, form):
    text = SAME[form]
    theirs = fresh.wg(text)
    assert theirs is not None
    fresh.wg(I)
    mine = fresh.ours(text)
    assert mine == theirs if "7001" in str(text) or "70 01" in text else without_port(mine) == without_port(theirs)


@pytest.mark.parametrize("form", REFUSED)
def test_refused_as_wg_refuses_it(fresh, form):
    text, says = REFUSED[form]
    assert fresh.wg(text) is None
    before = fresh.shown()
    with pytest.raises(WgpyError, match=re.escape(says)):
        fresh.ours(text)
    assert fresh.shown() == before


@pytest.mark.parametrize("form", OURS)
def test_read_where_wg_refuses(fresh, form):
    text, means = OURS[form]
    assert fresh.wg(text) is None
    assert fresh.ours(text) == fresh.wg(means)


@pytest.mark.parametrize("form", NEWER)
def test_read_as_a_newer_wg_reads_it(fresh, form):
    text, means = NEWER[form]
    theirs = fresh.wg(text)
    want = fresh.wg(means)
    assert theirs in (None, want)
    fresh.wg(I)
    assert fresh.ours(text) == want


@pytest.mark.parametrize("form", WHY_NOT)
def test_refused_with_a_reason_where_wg_takes_it(fresh, form):
    text, says = WHY_NOT[form]
    assert fresh.wg(text) is not None
    with pytest.raises(WgpyError, match=re.escape(says)):
        fresh.ours(text)


FIELDS = ("public-key private-key listen-port fwmark peers preshared-keys endpoints allowed-ips latest-handshakes "
          "persistent-keepalive transfer dump").split()  # wg(8), `show`


@pytest.mark.parametrize("text", [I, I + f"PrivateKey = {CLAMPED}\nFwMark = 0x1234\n" + P + "AllowedIPs = 10.0.0.0/8, "
                                  f"fd00::/8\nEndpoint = [2001:db8::1]:7\nPresharedKey = {KEY}\n"
                                  "PersistentKeepalive = 25\n" + Q], ids=["bare", "full"])
@pytest.mark.parametrize("words", [*(["f0", f] for f in FIELDS), *(["all", f] for f in FIELDS if f != "endpoints"),
                                   ["interfaces"]],
                         ids=" ".join)
def test_show_takes_the_words_of_wg(fresh, words, text):
    fresh.wg(text)
    assert fresh.run(WGPY, "show", *words) == fresh.run("wg", "show", *words)


def test_show_all_endpoints_names_the_interface_in_each_line(fresh):
    """wg(8) of 2021 names it in the first only, which no script can read."""
    fresh.wg(I + P + Q + "Endpoint = 192.0.2.1:5\n")
    assert fresh.run(WGPY, "show", "all", "endpoints") == f"f0\t{ONE}\t(none)\nf0\t{TWO}\t192.0.2.1:5\n"


def test_show_all_and_a_field_that_is_none(fresh):
    assert fresh.run(WGPY, "show", "all") == fresh.run(WGPY, "show")
    assert "FIELD is one of public-key" in fresh.run("sh", "-c", f"{WGPY} show f0 nope 2>&1 || true")
