"""The systemd units: what one grants is enough for a node, and no more than it needs; both find
the programs wherever they were installed."""

import configparser
import re
from pathlib import Path

import pytest
from rooms.nodes import Pair

from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns
UNITS = Path(__file__).parents[2] / "packaging/systemd"
UNIT = UNITS / "wgpy-encryptor@.service"


def service():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    text = UNIT.read_text()
    parser.read_string(text)
    capabilities = re.findall(r"CAP_(\w+)", " ".join(re.findall(r"CapabilityBoundingSet=(.*)", text)))
    return dict(parser["Service"]), [c.lower() for c in capabilities]


def test_a_node_runs_with_the_capabilities_of_the_unit(tmp_path):
    options, capabilities = service()
    assert options["NoNewPrivileges"] == "yes"
    pair = Pair(tmp_path)
    try:
        pair.b.start()
        pair.a.start("setpriv", "--no-new-privs", "--bounding-set", ",".join(["-all", *(f"+{c}" for c in capabilities)]))
        assert ping(pair.a.host, pair.b.address, wait=60).lost == 0
        pair.a.stop()
        assert "wan0" in pair.a.box.ip("link")
    finally:
        pair.close()


def test_after_a_crash_nothing_of_the_unit_gives_wan_and_lan_back():
    """`systemctl stop` is SIGTERM to the supervisor, which does."""
    options, _ = service()
    assert not {"ExecStopPost", "ExecStop", "ExecStartPre"} & set(options)
    assert options["KillMode"] == "mixed" and options["RuntimeDirectoryPreserve"] == "yes"


def test_the_unit_needs_no_mount_namespace():
    """Else the rooms' network namespaces could not be seen by the host's administrator."""
    options, _ = service()
    assert not {o for o in options if o.startswith(("Protect", "Private", "ReadOnly", "Inaccessible", "Bind", "Temporary"))}


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda p: p.name)
def test_a_unit_looks_for_its_programs(unit):
    """By name, which systemd looks for in /usr/local/bin, where the README puts it, and /usr/bin."""
    commands = re.findall(r"^Exec(?:Start|Stop)=(\S+)", unit.read_text(), re.M)
    assert commands and set(commands) == {"wgpy"}
