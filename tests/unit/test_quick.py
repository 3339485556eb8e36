"""The pure parts of `up` and `show`, and the command's bad-input manners. No root."""

import errno
import re
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.exceptions import NetlinkError

from wgpy.cli import guard, net, show, tunnel_file
from wgpy.cli.interrupt import Signals
from wgpy.config import ini
from wgpy.config.values import prefix, prefix_text
from wgpy.errors import HostError, WgpyError

PEER = "HPlbuq8YnehyXuVBk7KqJ1KcJAkLQPQ44WDazS2hLyQ="


def wgpy(*args, text=""):
    return subprocess.run([sys.executable, "-I", "-m", "wgpy.cli", *args], input=text, text=True, capture_output=True)


@pytest.mark.parametrize("name", ["a" * 16 + ".conf", "has space.conf", "wg0.txt"])
def test_bad_file_names(tmp_path, name):
    (tmp_path / name).write_text("[Interface]\n")
    with pytest.raises(WgpyError, match="interface name"):
        tunnel_file.locate(str(tmp_path / name))


def test_a_file_here_does_not_shadow_the_directory_of_tunnels(tmp_path, monkeypatch):
    """wg-quick(8): what can be an interface's name is one."""
    etc, here = tmp_path / "etc", tmp_path / "here"
    for directory in (etc, here):
        directory.mkdir()
        for name in ("wg0", "wg0.conf", "a.longer.name.conf"):
            (directory / name).write_text("[Interface]\n")
    monkeypatch.setattr(tunnel_file, "CONFIG_DIR", etc)
    monkeypatch.chdir(here)
    assert tunnel_file.locate("wg0") == ("wg0", etc / "wg0.conf")
    assert tunnel_file.locate("./wg0.conf") == ("wg0", here / "wg0.conf")
    with pytest.raises(WgpyError, match=r"wg0\.conf\.conf: no such file \(the one in this directory is \./wg0\.conf\)"):
        tunnel_file.locate("wg0.conf")
    assert tunnel_file.hint("wg0.conf") and not tunnel_file.hint("wg0") and not tunnel_file.hint("./wg0.conf")
    (here / "link.conf").symlink_to(etc / "wg0.conf")
    assert tunnel_file.locate("./link.conf") == ("link", etc / "wg0.conf"), "called as it is called here"


@pytest.mark.parametrize("text, tries", [(None, 15), ("0", 0), ("", 0), ("7", 7), (" +7", 7), ("infinity", float("inf"))])
def test_how_often_a_name_is_asked_for_again(monkeypatch, text, tries):
    """As wg(8) reads WG_ENDPOINT_RESOLUTION_RETRIES."""
    monkeypatch.delenv("WG_ENDPOINT_RESOLUTION_RETRIES", raising=False)
    if text is not None:
        monkeypatch.setenv("WG_ENDPOINT_RESOLUTION_RETRIES", text)
    assert tunnel_file.retries() == tries


@pytest.mark.parametrize("text", ["-1", "many", "Infinity", "1.5"])
def test_a_bad_number_of_retries_matters_only_where_there_is_a_name(monkeypatch, text):
    monkeypatch.setenv("WG_ENDPOINT_RESOLUTION_RETRIES", text)
    with pytest.raises(WgpyError, match="WG_ENDPOINT_RESOLUTION_RETRIES"):
        tunnel_file.retries()
    file = ini.parse(f"[Peer]\nPublicKey={PEER}\nEndpoint=192.0.2.1:1", "x")
    assert tunnel_file.resolve(file, "x", print, Signals()) == file


def test_what_may_pass_is_asked_again_and_what_is_final_is_not(monkeypatch):
    asked = []

    def answer(host, *_args, **_options):
        asked.append(host)
        if host == "gone.test":
            raise socket.gaierror(socket.EAI_NONAME, "gone")
        if len(asked) < 4:
            raise socket.gaierror((socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY)[len(asked) - 1], "later")
        return [(0, 0, 0, "", ("192.0.2.7", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(tunnel_file.time, "sleep", lambda _: None)
    monkeypatch.setenv("WG_ENDPOINT_RESOLUTION_RETRIES", "infinity")
    file = ini.parse(f"[Peer]\nPublicKey={PEER}\nEndpoint=later.test:1", "x")
    assert tunnel_file.resolve(file, "x", lambda _: None, Signals()).request.peers[0].endpoint == ("192.0.2.7", 1)
    assert asked == ["later.test"] * 4
    gone = ini.parse(f"[Peer]\nPublicKey={PEER}\nEndpoint=gone.test:1", "x")
    with pytest.raises(WgpyError, match="x:3: Endpoint: 'gone.test' cannot be resolved"):
        tunnel_file.resolve(gone, "x", lambda _: None, Signals())
    assert asked.count("gone.test") == 1


def test_tables_by_name(tmp_path, monkeypatch):
    """ip-route(8): rt_tables, rt_tables.d, and names that need no file."""
    (tmp_path / "etc/rt_tables.d").mkdir(parents=True)
    (tmp_path / "etc/rt_tables").write_text("# comment\n255 local\n7\tseven # more\n0x10 hex\nnonsense\n")
    (tmp_path / "etc/rt_tables.d/a.conf").write_text("8 eight\n")
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/rt_tables").write_text("9 seven\n")
    monkeypatch.setattr(net, "_TABLE_FILES", (str(tmp_path / "usr"), str(tmp_path / "etc"), str(tmp_path / "none")))
    found = {name: net.table_number(name) for name in ("main", "default", "local", "seven", "hex", "eight")}
    assert found == {"main": 254, "default": 253, "local": 255, "seven": 7, "hex": 16, "eight": 8}
    assert net.table_number(1234) == 1234
    with pytest.raises(WgpyError, match="'nine' is no routing table"):
        net.table_number("nine")


@given(st.sets(st.from_regex(r"[a-zA-Z0-9_=+.-]{1,15}", fullmatch=True), min_size=2, max_size=8))
def test_no_two_interfaces_share_a_table_of_the_firewall(names):
    tables = {guard.table_name(name) for name in names}
    assert len(tables) == len(names)
    assert all(re.fullmatch(r"[a-z][a-zA-Z0-9_./-]*", table) for table in tables), "nft(8): a STRING"


@pytest.mark.parametrize("content, says", [
    (b"\xff\xfe", "UTF-16"), (b"[Interface]\nMTU = big\n", ":2: MTU: 'big'"), (b"[Interface]\nPrivateKey = x", ":2: PrivateKey")])
def test_bad_file_is_one_line_with_its_place(tmp_path, content, says):
    path = tmp_path / "wg0.conf"
    path.write_bytes(content)
    done = wgpy("up", str(path))
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(f"wgpy: {path}") and says in last
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_world_readable_file_is_pointed_out(tmp_path):
    path = tmp_path / "wg0.conf"
    path.write_text("[Interface]\n")
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    said = []
    tunnel_file.load(path, said.append)
    assert "chmod 600" in said[0]


def test_unknown_tunnel_and_file():
    for args in (["show", "nope0"], ["down", "nope0"], ["up", "nope0"], ["up", "/nope/x.conf"], ["frob"], ["pubkey"]):
        done = wgpy(*args)
        assert done.returncode != 0 and done.stderr.startswith("wgpy: ") and done.stderr.count("\n") == 1


def test_keys():
    """X25519 of RFC 7748, section 6.1."""
    private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
    assert wgpy("pubkey", text=private + "\n").stdout.strip() == "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    made = wgpy("genkey").stdout.strip()
    assert len(made) == 44 and made != wgpy("genkey").stdout.strip()


@pytest.mark.parametrize("seconds, text", [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (90061, "1 d 1 h")])
def test_duration(seconds, text):
    assert show.duration(seconds) == text


@pytest.mark.parametrize("octets, text", [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (2**50, "1024.00 TiB")])
def test_size(octets, text):
    assert show.size(octets) == text


def test_prefix_clears_host_bits():
    assert prefix_text(prefix("10.1.2.3/9")) == "10.0.0.0/9"


class _WithoutIpv6:
    """Netlink of a kernel that was started with ipv6.disable=1: rules of an unknown family
    are an error, routes of one are everybody's, changes are not supported."""

    RULE = {"family": socket.AF_INET, "table": 254, "FRA_PRIORITY": 32766}
    ROUTE = {"family": socket.AF_INET, "table": 254, "dst_len": 24, "RTA_DST": "10.9.0.0"}

    class Message(dict):
        get_attr = dict.get

    def get_rules(self, family):
        if family == socket.AF_INET6:
            raise NetlinkError(errno.EAFNOSUPPORT, "")
        return iter([self.Message(self.RULE)])

    def get_routes(self, family, **match):
        return iter([self.Message(self.ROUTE)])

    def link_lookup(self, ifname):
        return [7]

    def _change(self, what, *, family, **fields):
        if family == socket.AF_INET6:
            raise NetlinkError(errno.EAFNOSUPPORT if "priority" in fields else errno.EOPNOTSUPP, "")

    rule = route = addr = _change


class _LinkJustGone:
    """Netlink while the kernel takes interface 9 away: it is not listed any more, its route and the one
    rule of its kind still are. 7 is another one."""

    def __init__(self):
        self.device = 9

    def link_lookup(self, ifname):
        return []

    def get_links(self):
        return ({"index": 1}, {"index": 7})

    def get_routes(self, family, **match):
        return iter([_WithoutIpv6.Message(family=family, RTA_OIF=self.device)])

    def get_rules(self, family):
        return iter([_WithoutIpv6.Message(family=family, FRA_TABLE=51820, FRA_FWMARK=51820, FRA_PRIORITY=32765)])


def test_routes_of_a_link_that_just_went_are_no_other_tunnels(monkeypatch):
    """Or `down` leaves the rules of a daemon that died this moment."""
    netlink = _LinkJustGone()
    monkeypatch.setattr(net, "IPRoute", lambda: netlink)
    assert not net.Host().is_others("q0", socket.AF_INET, 51820)
    netlink.device = 7
    assert net.Host().is_others("q0", socket.AF_INET, 51820)


def test_a_kernel_without_ipv6(monkeypatch):
    monkeypatch.setattr(net, "IPRoute", _WithoutIpv6)
    host, four, six = net.Host(), prefix("10.9.0.0/25"), prefix("::/0")
    assert host.free_table(set()) == 51820 and host.rules_of(51820) == []
    assert host.covered("q0", four) and not host.covered("q0", six)
    assert not host.is_others("q0", socket.AF_INET6, 51820)
    host.delete_rules(socket.AF_INET6, 51820, 32765)
    host.add_rules(socket.AF_INET, 51820, host.place_for_rules(socket.AF_INET))
    place = host.place_for_rules(socket.AF_INET6)
    for change in (lambda: host.add_rules(socket.AF_INET6, 51820, place), lambda: host.add_route("q0", six),
                   lambda: host.add_address("q0", "fd09::2/64")):
        with pytest.raises(WgpyError, match=r": [A-Z].* \(the kernel runs without IPv6\)$"):
            change()


@pytest.mark.parametrize("ask", [
    lambda host: host.addresses("gone"), lambda host: host.mtu("gone"), lambda host: host.covered("gone", prefix("127.0.0.0/9")),
    lambda host: host.bring_up("gone", 1400), lambda host: host.add_address("gone", "10.9.0.2/24"),
    lambda host: host.add_route("gone", prefix("10.9.0.0/24"))])
def test_of_an_interface_that_is_gone_nothing_is_said(ask):
    """Netlink without an index means all interfaces: a file must not get their addresses (SaveConfig)."""
    host = net.Host()
    try:
        with pytest.raises(HostError, match="^gone: the interface is gone$"):
            ask(host)
    finally:
        host.close()


@pytest.mark.parametrize("user, code, address, says", [
    (0, errno.EACCES, "fd09::2/64", "IPv6 is disabled here"), (1000, errno.EACCES, "fd09::2/64", "IPv6 is disabled here"),
    (0, errno.EPERM, "fd09::2/64", "CAP_NET_ADMIN is needed"), (0, errno.EPERM, "10.9.0.2/24", "CAP_NET_ADMIN is needed"),
    (1000, errno.EPERM, "fd09::2/64", "run as root"), (1000, errno.EPERM, "10.9.0.2/24", "run as root"),
])
def test_what_is_denied_and_why(monkeypatch, user, code, address, says):
    """EPERM is a right that is missing; EACCES is IPv6 disabled on the interface."""
    def refuse(*args, **fields):
        raise NetlinkError(code, "")
    monkeypatch.setattr(net, "IPRoute", _WithoutIpv6)
    monkeypatch.setattr(_WithoutIpv6, "addr", refuse)
    monkeypatch.setattr(net.os, "geteuid", lambda: user)
    with pytest.raises(WgpyError, match=rf"{address}: .* \({says}"):
        net.Host().add_address("q0", address)
