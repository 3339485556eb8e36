"""`up` and `down` when things go wrong: signals, a file that changed, a daemon that died, two
tunnels of nearly one name, hosts that lack nft or may not write sysctls. After `down`, and
after an `up` that failed, the host is as it was."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.tunnel import private_key, public_key

pytestmark = pytest.mark.netns
WGPY = str(Path(sys.executable).with_name("wgpy"))
STATE = (["ip", "rule"], ["ip", "-6", "rule"], ["ip", "route", "show", "table", "all"], ["ip", "-o", "-br", "link"],
         ["nft", "list", "ruleset"], ["ls", "/run/wireguard"])
DEFAULT = "AllowedIPs = 0.0.0.0/0, ::/0"


class House:
    def __init__(self, host, directory):
        self.host, self.directory = host, directory
        self.marker = directory / "marker"

    def file(self, interface="", peer=DEFAULT, name="q0", address="10.9.0.2/32, fd09::2/128"):
        path = self.directory / f"{name}.conf"
        path.write_text(f"[Interface]\nPrivateKey = {private_key()}\nAddress = {address}\n{interface}\n"
                        f"[Peer]\nPublicKey = {public_key(private_key())}\nEndpoint = 203.0.113.1:51820\n{peer}\n")
        path.chmod(0o600)
        return path

    def wgpy(self, *args, check=True, before=()):
        return self.host.run("env", "WG_ENDPOINT_RESOLUTION_RETRIES=0", *before, WGPY, *args, check=check)

    def state(self):
        return [self.host.settle().run(*c).stdout for c in STATE]

    def daemon(self, name="q0"):
        """Its PID inside the namespace, where nothing of others' is seen."""
        return self.host.run("pgrep", "-f", f"wgpy.*{name}$").stdout.split()[-1]

    def stuck_up(self, path):
        """`up` inside its last hook."""
        self.marker.unlink(missing_ok=True)
        process = self.host.popen(WGPY, "up", path)
        wait_until(self.marker.exists, 60, "the hook runs")
        return process


@pytest.fixture
def house(tmp_path):
    with Netns("far") as far, Netns("house") as host:
        join(far, host, a_addresses=("203.0.113.1/24",), b_addresses=("203.0.113.2/24",))
        host.ip("route", "add", "default", "via", "203.0.113.1")
        yield House(host, tmp_path)


@pytest.mark.parametrize("number", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGALRM"])
def test_up_undoes_itself_on_a_signal(house, number):
    before = house.state()
    process = house.stuck_up(house.file(f"PostUp = touch {house.marker}; sleep 100"))
    assert house.state() != before
    process.send_signal(getattr(signal, number))
    assert process.wait(60) == -getattr(signal, number), "it ends by the signal, as far as others see"
    assert house.state() == before


def test_a_signal_while_a_name_is_looked_up(house):
    before = house.state()
    path = house.file(f"PreUp = touch {house.marker}", "Endpoint = later.test:1")
    process = house.host.popen("env", "WG_ENDPOINT_RESOLUTION_RETRIES=infinity", WGPY, "up", path)
    wait_until(house.marker.exists, 60, "the hook runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM and house.state() == before


def test_ignored_signals_stay_ignored(house):
    path = house.file(f"PostUp = touch {house.marker}; sleep 1")
    process = house.host.popen("nohup", WGPY, "up", path)
    wait_until(house.marker.exists, 60, "the hook runs")
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0 and "q0" in house.host.run("wg", "show", "interfaces").stdout


@pytest.mark.parametrize("then", ["down", "up"])
def test_what_a_killed_up_left_is_taken_away(house, then):
    before = house.state()
    path = house.file(f"PostUp = touch {house.marker}; sleep 100")
    process = house.stuck_up(path)
    process.kill()
    process.wait()
    if then == "up":  # the tunnel has to be gone for another up
        house.host.run("kill", "-9", house.daemon())
        wait_until(lambda: "q0" not in house.host.run("ip", "-br", "link").stdout, 20, "the link goes with its daemon")
        house.wgpy("up", house.file())
    house.wgpy("down", path)
    assert house.state() == before


BROKEN = {
    "slip": lambda p: p.write_text(p.read_text() + "AllowedIPs = 10.0.0.0/33\nNonsense\n"),
    "nothing left": lambda p: p.write_bytes(b"\xff\xfe\x00"),
    "gone": lambda p: p.unlink(),
    "no such name": lambda p: p.write_text(p.read_text().replace("203.0.113.1:", "nowhere.invalid:")),
    "no peers, no mark, other table": lambda p: p.write_text(
        f"[Interface]\nTable = off\nPostDown = touch {p.parent / 'marker'}\n"),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("by", ["file", "name"])
def test_down_needs_nothing_of_the_file_but_hooks(house, how, by):
    before = house.state()
    path = house.file(f"PostDown = touch {house.marker}")
    house.wgpy("up", path)
    BROKEN[how](path)
    house.wgpy("down", path if by == "file" else "q0")
    assert house.state() == before and house.marker.exists()


def test_hooks_of_a_broken_file_are_the_files(house):
    path = house.file("PostDown = false")
    house.wgpy("up", path)
    path.write_text(path.read_text().replace("PostDown = false", f"PostDown = touch {house.marker}") + "Nonsense\n")
    done = house.wgpy("down", path)
    assert house.marker.exists() and "Nonsense" not in done.stderr and "passed over" in done.stderr


@pytest.mark.parametrize("hook", ["", "PreDown = wg show %i fwmark"])
def test_down_when_the_daemon_is_dead(house, hook):
    """A hook that asks the daemon then fails; everything else is undone, and it is said."""
    before = house.state()
    path = house.file(f"{hook}\nPostDown = touch {house.marker}")
    house.wgpy("up", path)
    house.host.run("kill", "-9", house.daemon())
    wait_until(lambda: "q0" not in house.host.run("ip", "-br", "link").stdout, 20, "the link goes with its daemon")
    done = house.wgpy("down", path, check=False)
    assert house.state() == before and house.marker.exists()
    assert done.returncode == (1 if hook else 0) and ("ended with status" in done.stderr) == bool(hook)
    assert house.wgpy("down", path, check=False).returncode == 1, "nothing is up any more"


def test_down_when_the_daemon_hangs(house):
    before = house.state()
    house.wgpy("up", house.file())
    pid = house.daemon()
    house.host.run("kill", "-STOP", pid)
    done = house.wgpy("down", "q0")
    assert "does not answer" in done.stderr and house.state() == before
    assert house.host.run("pgrep", "-f", "wgpy.*q0$", check=False).stdout == ""


def test_a_failing_predown_leaves_the_tunnel_up(house):
    """As in wg-quick(8)."""
    path = house.file("PreDown = false")
    house.wgpy("up", path)
    up = house.state()
    assert house.wgpy("down", path, check=False).returncode == 1 and house.state() == up


@pytest.mark.parametrize("one, two", [("wg.0", "wg_0"), ("wg=0", "wg+0"), ("wg-0", "wg.0"), ("q0", "q0.up")])
def test_names_that_look_alike_share_nothing(house, one, two):
    before = house.state()
    first = house.file(name=one)
    second = house.file(name=two, address="10.9.1.2/32, fd09:1::2/128")
    house.wgpy("up", first)
    middle = house.state()
    house.wgpy("up", second)
    assert len({line for line in house.host.run("nft", "list", "tables").stdout.splitlines()}) == 4
    house.wgpy("down", second)
    assert house.state() == middle
    house.wgpy("down", first)
    assert house.state() == before


def test_a_second_up_of_one_name_waits_for_nobody(house):
    process = house.stuck_up(house.file(f"PostUp = touch {house.marker}; sleep 100"))
    for verb in ("up", "down"):
        done = house.wgpy(verb, house.directory / "q0.conf", check=False)
        assert done.returncode == 1 and "another up or down of it is running" in done.stderr
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM


def test_the_rules_of_another_tunnel_are_not_taken_away(house):
    """One died and its record is old; another has its table since."""
    old = house.file()
    house.wgpy("up", old)
    record = house.host.run("cat", "/run/wireguard/q0.up").stdout
    house.wgpy("down", old)
    house.wgpy("up", house.file(name="q1"))
    house.host.run("sh", "-c", "umask 077; cat > /run/wireguard/q0.up", input=record)
    rules = house.host.ip("rule") + house.host.ip("-6", "rule")
    house.wgpy("down", "q0")
    assert house.host.ip("rule") + house.host.ip("-6", "rule") == rules and "51820" in rules


def test_full_tunnels_that_come_up_at_once(house):
    """Each has a mark, a table and a place for its rules."""
    before = house.state()
    files = [house.file(name=f"q{i}", address=f"10.9.{i}.2/32, fd09:{i}::2/128") for i in range(4)]
    ups = [house.host.popen(WGPY, "up", path) for path in files]
    assert [up.wait(60) for up in ups] == [0] * 4
    marks = house.host.run("wg", "show", "all", "fwmark").stdout.split()[1::2]
    assert len(set(marks)) == 4
    assert house.host.ip("rule").count("suppress_prefixlength") == house.host.ip("-6", "rule").count("suppress_prefix") == 4
    for path in files[::2] + files[1::2]:
        house.wgpy("down", path)
    assert house.state() == before


def test_nobody_reads_what_it_says(house):
    before = house.state()
    path = house.file()
    for verb in ("up", "down"):
        done = house.host.run("sh", "-c", f"(sleep 0.2; {WGPY} {verb} {path}; echo $? > {house.marker}) 2>&1 | true")
        wait_until(lambda: house.marker.exists() and house.marker.read_text() == "0\n", 60, "it ends well")
        house.marker.unlink()
        assert ("q0" in house.host.run("ip", "-br", "link").stdout) == (verb == "up"), done.stderr
    assert house.state() == before


def test_a_mark_that_two_files_share(house):
    """The second full tunnel cannot have the table; it goes without a trace."""
    before = house.state()
    first = house.file("FwMark = 0x1234")
    house.wgpy("up", first)
    middle = house.state()
    second = house.file("FwMark = 0x1234", name="q1", address="10.9.1.2/32")
    assert house.wgpy("up", second, check=False).returncode == 1 and house.state() == middle
    house.wgpy("down", first)
    assert house.state() == before


def test_families_of_one_mark(house):
    before = house.state()
    v4 = house.file("FwMark = 0xfffffff0", "AllowedIPs = 0.0.0.0/0")
    v6 = house.file("FwMark = 0xfffffff0", "AllowedIPs = ::/0", name="q1", address="fd09:1::2/128")
    house.wgpy("up", v4)
    middle = house.state()
    house.wgpy("up", v6)
    house.wgpy("down", v6)
    assert house.state() == middle and "0xfffffff0" in house.host.ip("rule")
    house.wgpy("down", v4)
    assert house.state() == before


def test_the_record_is_roots_alone(house):
    house.wgpy("up", house.file("PostUp = true"))
    assert house.host.run("stat", "-c", "%a %u", "/run/wireguard/q0.up").stdout == "600 0\n"


def test_hooks_of_preup_come_before_names(house):
    hosts = house.directory / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    house.host.run("mount", "--bind", hosts, "/etc/hosts")
    house.wgpy("up", house.file("PreUp = echo 203.0.113.1 gw.test >> /etc/hosts", "Endpoint = gw.test:7"))
    assert "203.0.113.1:7" in house.host.run("wg", "show", "q0", "endpoints").stdout


def test_a_link_gives_the_interface_its_name(house):
    before = house.state()
    link = house.directory / "other.conf"
    link.symlink_to(house.file())
    house.wgpy("up", link)
    assert house.host.run("wg", "show", "interfaces").stdout == "other\n"
    house.wgpy("down", link)
    assert house.state() == before


@pytest.mark.parametrize("value", ["1", "0"])
def test_a_sysctl_that_is_right_is_not_written(house, value):
    before = house.state()
    house.host.run("sysctl", "-qw", f"net.ipv4.conf.all.src_valid_mark={value}")
    done = house.host.run("unshare", "-m", "sh", "-c", f"mount -o bind,ro /proc/sys /proc/sys; {WGPY} up {house.file()}",
                          check=False)
    assert done.returncode == (0 if value == "1" else 1), done.stderr
    if value == "0":
        assert "src_valid_mark=1: Read-only file system (in a container" in done.stderr and house.state() == before


def tools(house, *without):
    """A PATH that lacks these programs."""
    path = house.directory / "bin"
    path.mkdir(exist_ok=True)
    for directory in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        for program in os.listdir(directory):
            if program not in without and not (path / program).is_symlink():
                (path / program).symlink_to(f"{directory}/{program}")
    return f"PATH={path}"


IPTABLES = [f"{n}-{verb}" for n in ("iptables", "ip6tables") for verb in ("save", "restore")]


def test_iptables_where_nft_is_missing(house):
    path = tools(house, "nft", *IPTABLES)
    for v in ("iptables", "ip6tables"):  # that keep what they are told
        kept = house.directory / v
        (house.directory / "bin" / f"{v}-restore").write_text(
            f'#!/bin/sh\nsed -e "s/^-I/-A/" -e "s/^-D/-X/" >> {kept}\n[ "$*" = -n ]\n')
        (house.directory / "bin" / f"{v}-save").write_text(f"#!/bin/sh\ncat {kept} 2>/dev/null\n")
        for verb in ("save", "restore"):
            (house.directory / "bin" / f"{v}-{verb}").chmod(0o755)
    config = house.file()
    house.wgpy("up", config, before=(path,))
    comment = '-m comment --comment "wg-quick(8) rule for q0"'
    told = (house.directory / "iptables").read_text()
    assert told == ("*raw\n"
                    f"-A PREROUTING ! -i q0 -d 10.9.0.2 -m addrtype ! --src-type LOCAL -j DROP {comment}\n"
                    "COMMIT\n*mangle\n"
                    f"-A POSTROUTING -m mark --mark 51820 -p udp -j CONNMARK --save-mark {comment}\n"
                    f"-A PREROUTING -p udp -j CONNMARK --restore-mark {comment}\nCOMMIT\n")
    assert "-d fd09::2 " in (house.directory / "ip6tables").read_text()
    house.wgpy("down", config, before=(path,))
    deleted = (house.directory / "iptables").read_text().removeprefix(told)
    assert deleted == told.replace("-A ", "-D ").replace("-D ", "-X ")


def test_neither_nft_nor_iptables_is_a_clear_refusal(house):
    before = house.state()
    done = house.wgpy("up", house.file(), check=False, before=(tools(house, "nft", *IPTABLES),))
    assert done.returncode == 1 and "needs nft or iptables-restore" in done.stderr and house.state() == before
    assert house.wgpy("up", house.file(peer="AllowedIPs = 10.1.0.0/16"), before=(tools(house, "nft"),)).returncode == 0


def test_hooks_need_bash_and_say_so(house):
    done = house.wgpy("up", house.file("PostUp = true"), check=False, before=(tools(house, "bash"),))
    assert done.returncode == 1 and "bash is missing" in done.stderr
    shutil.rmtree(house.directory / "bin")


def test_json_is_not_mixed_with_what_hooks_print(house):
    import json
    done = house.wgpy("up", "--json", house.file("PostUp = echo loud"))
    assert json.loads(done.stdout)["interface"] == "q0" and "loud" in done.stderr
