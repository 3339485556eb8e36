"""What wg-quick(8) does with a file and what `wgpy up` does with it: addresses, routes,
rules, firewall, MTU and the daemon's state must be the same after both, hooks must have
seen and done the same, and after both downs nothing is left. Both use our daemon."""

import re
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join

pytestmark = pytest.mark.netns
WGPY, WGPYD = (str(Path(sys.executable).with_name(n)) for n in ("wgpy", "wgpyd"))
KEY = "CAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8="
PEER = "HPlbuq8YnehyXuVBk7KqJ1KcJAkLQPQ44WDazS2hLyQ="
WG_QUICK = ("env", f"WG_QUICK_USERSPACE_IMPLEMENTATION={WGPYD}", "wg-quick")
DEFAULT = "AllowedIPs = 0.0.0.0/0"

FORMS = {  # (lines of [Interface] after PrivateKey and Address = 10.9.0.2/24, fd09::2/64; lines of [Peer])
    "plain": ("", "AllowedIPs = 10.1.0.0/16, fd01::/32"),
    "addresses": ("Address = 10.8.0.1/255.255.255.0, 10.7.0.1,fd07::1\nAddress = 10.6.0.1/30 10.5.0.1/32", ""),
    "any case": ("aDDress = 10.8.0.1/24\nmtu = 1300\nTABLE = off", "AllowedIPs = 10.1.0.0/16"),
    "tabs and spaces": ("\tAddress\t=\t10.8.0.1/24 \t\n  MTU\t=  1300  ", "\tAllowedIPs = 10.1.0.0/16"),
    "comments": ("MTU = 1300 # one\n# MTU = 1280", "AllowedIPs = 10.1.0.0/16 # two"),
    "mtu in hex": ("MTU = 0x578", ""), "mtu empty": ("MTU =", ""), "mtu again": ("MTU = 1280\nMTU = 1300", ""),
    "mtu from the way": ("", "Endpoint = 203.0.113.9:51820"),
    "no such way": ("", "Endpoint = [2001:db8::9]:51820"),
    "empty lists": ("Address =\nDNS =\nTable =", "AllowedIPs = 10.1.0.0/16"),
    "search domain alone": ("DNS = corp.example", ""),
    "covered by an address": ("", "AllowedIPs = 10.9.0.0/24, 10.9.0.7/32, fd09::7/128, fd09::/64"),
    "wider than an address": ("", "AllowedIPs = 10.9.0.0/16, fd09::/48"),
    "own address": ("Address = 10.8.0.1/32, fd08::1/128", "AllowedIPs = 10.8.0.1/32, fd08::1/128, 10.9.0.2/32"),
    "within each other": ("", "AllowedIPs = 10.1.0.0/16, 10.0.0.0/8, 10.1.1.0/24"),
    "host bits": ("", "AllowedIPs = 10.1.2.3/16"),
    "halves": ("", "AllowedIPs = 0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1"),
    "table off": ("Table = off", DEFAULT), "table auto": ("Table = auto", "AllowedIPs = 10.1.0.0/16"),
    "table by number": ("Table = 1234", f"{DEFAULT}, 10.9.0.0/24, ::/0"), "table in hex": ("Table = 0x4d2", DEFAULT),
    "table by name": ("Table = default", "AllowedIPs = 10.1.0.0/16, fd01::/32"),
    "table main": ("Table = main", "AllowedIPs = 10.1.0.0/16"), "table 0": ("Table = 0", "AllowedIPs = 10.1.0.0/16"),
    "table again": ("Table = off\nTable = 1234", DEFAULT),
    "default": ("", DEFAULT), "default v6": ("", "AllowedIPs = ::/0"),
    "default both": ("", f"{DEFAULT}, ::/0, 10.1.0.0/16"),
    "default with a mark": ("FwMark = 0x1234", DEFAULT),
    "interface again": ("[Interface]\nMTU = 1300\nAddress = 10.8.0.1/24", "AllowedIPs = 10.1.0.0/16"),
    "empty hooks": ("PreUp =\nPostUp =\nPreDown =\nPostDown = ", ""),
    "save false": ("SaveConfig = FALSE", ""),
}

HOOKS = {  # written by a hook to $OUT, or how up ends
    "words": "PostUp = echo %i %%i a\\ \"b  c\" '%i' > $OUT",
    "interface": "PostUp = echo $INTERFACE > $OUT; env | grep -c ^INTERFACE= >> $OUT || true",
    "locale": "PostUp = echo $LC_ALL > $OUT",
    "order": "PostUp = echo 1 >> $OUT\nPreUp = echo 0 >> $OUT\nPostUp = echo 2 >> $OUT",
    "fails in the middle": "PostUp = false; echo on > $OUT",
    "pipe fails": "PostUp = false | cat; echo on > $OUT",
    "may fail": "PostUp = false || true; ! true; if false; then :; fi; echo on > $OUT",
    "exits": "PostUp = exit 3", "exits well": "PostUp = exit 0; echo on > $OUT\nPostUp = echo two > $OUT",
    "unset variable": "PostUp = echo \"[$NOWHERE]\" > $OUT",
    "process substitution": "PostUp = cat <(echo sub) > $OUT",
    "pattern": "PostUp = x=aab; echo ${x/+(a)/z} > $OUT",
    "syntax": "PostUp = if",
    "background": "PostUp = (sleep 1; true) & echo on > $OUT",
    "tab": "PostUp = echo\ton > $OUT",
    "latin-1": b"PostUp = echo \xfc > $OUT",
    "first fails": "PreUp = false\nPostUp = echo on > $OUT",
}


class Twice:
    def __init__(self, host, directory):
        self.host, self.directory, self.path = host, directory, directory / "q0.conf"

    def write(self, interface, peer=""):
        head = f"[Interface]\nPrivateKey = {KEY}\nListenPort = 7001\nAddress = 10.9.0.2/24, fd09::2/64\n"
        body = interface if isinstance(interface, bytes) else interface.encode()
        self.path.write_bytes(head.encode() + body.replace(b"$OUT", bytes(self.directory / "out"))
                              + f"\n[Peer]\nPublicKey = {PEER}\n{peer}\n".encode())
        self.path.chmod(0o600)

    def up(self, *command):
        """(status, what it said), whatever bytes that were."""
        said = self.directory / "said"
        done = self.host.run("sh", "-c", f'exec "$@" > {said} 2>&1', "sh", *command, "up", self.path, check=False)
        return done.returncode, said.read_text(errors="replace")

    def state(self):
        """Of the whole namespace; link numbers and the daemon's sockets are not part of it."""
        said = [self.host.settle().run(*c.split(), check=False).stdout for c in (
            "ip -o addr show", "ip -4 route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule",
            "wg showconf q0")]
        mtu = re.findall(r"q0.* mtu (\d+)", self.host.run("ip", "-o", "link").stdout)
        said[0] = re.sub(r"^\d+:", "", said[0], flags=re.MULTILINE)
        # the kernel gives user-space links no link-local address only when told so in time
        said = ["\n".join(sorted(x for x in text.splitlines() if "fe80::" not in x)) for text in said]
        rules = re.sub("fe80::[0-9a-f:]+", "fe80::x", self.host.run("nft", "list", "ruleset").stdout)
        rules = sorted(" ".join(x.split()) for x in rules.splitlines())
        return [*said, mtu, rules]


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    with Netns("far") as far, Netns("twice") as host:
        join(far, host, mtu=1400, b_addresses=("203.0.113.2/24",))
        host.ip("route", "add", "default", "via", "203.0.113.1")
        yield Twice(host, tmp_path_factory.mktemp("twice"))


@pytest.mark.parametrize("form", FORMS)
def test_the_host_is_the_same_after_both(twice, form):
    twice.write(*FORMS[form])
    before = twice.state()
    assert twice.up(*WG_QUICK)[0] == 0
    theirs = twice.state()
    twice.host.run(*WG_QUICK, "down", twice.path)
    assert twice.state() == before
    status, said = twice.up(WGPY)
    assert status == 0, said
    mine = twice.state()
    twice.host.run(WGPY, "down", twice.path)
    assert twice.state() == before and twice.host.run("ls", "/run/wireguard").stdout == ""
    assert mine == theirs


@pytest.mark.parametrize("hooks", HOOKS)
def test_hooks_do_the_same_in_both(twice, hooks):
    out = twice.directory / "out"
    twice.write(HOOKS[hooks])
    results = []
    for command in (WG_QUICK, (WGPY,)):
        out.unlink(missing_ok=True)
        status, _ = twice.up(*command)
        results.append((status == 0, out.read_bytes() if out.exists() else None))
        assert (twice.host.run("ip", "link", "show", "q0", check=False).returncode == 0) == (status == 0)
        if status == 0:
            twice.host.run(*command, "down", twice.path)
    assert results[0] == results[1]


@pytest.mark.parametrize("up, down", [((WGPY,), WG_QUICK), (WG_QUICK, (WGPY,))], ids=["ours first", "theirs first"])
def test_what_one_brought_up_the_other_takes_down(twice, up, down):
    before = twice.state()
    twice.write("", f"{DEFAULT}, ::/0")
    assert twice.up(*up)[0] == 0 and twice.state() != before
    twice.host.run(*down, "down", twice.path)
    assert twice.state() == before
    status, said = twice.up(WGPY)  # whatever the other left on record
    assert status == 0, said
    twice.host.run(WGPY, "down", "q0")
    assert twice.state() == before


def test_a_comment_in_a_hook_is_the_shells(twice):
    """wg-quick(8) before 2025 cut a hook at any '#'."""
    out = twice.directory / "out"
    twice.write("PostUp = echo 'a#b' > $OUT # what for")
    assert twice.up(WGPY)[0] == 0 and out.read_text() == "a#b\n"
    twice.host.run(WGPY, "down", twice.path)


def test_a_hook_sets_the_key_before_the_file_is_applied(twice):
    """PreUp runs when the interface exists, as in wg-quick(8) since 2023, and what the file
    leaves out is not cleared, as since 2025."""
    (twice.directory / "key").write_text(KEY)
    twice.write(f"PreUp = wg set %i private-key {twice.directory / 'key'}")
    twice.path.write_text(twice.path.read_text().replace(f"PrivateKey = {KEY}\n", ""))
    assert twice.up(WGPY)[0] == 0
    assert twice.host.run("wg", "show", "q0", "private-key").stdout.strip() == KEY
    twice.host.run(WGPY, "down", twice.path)


def test_a_hook_is_in_nobodys_arguments(twice):
    out = twice.directory / "out"
    twice.write("PostUp = cat /proc/$$/cmdline /proc/$$/environ > $OUT; : a-secret")
    assert twice.up(WGPY)[0] == 0 and b"a-secret" not in out.read_bytes() and out.stat().st_size
    twice.host.run(WGPY, "down", twice.path)
