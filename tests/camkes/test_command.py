"""`wgpy camkes` (A4): all or nothing, and every refusal is a line with file, key and reason."""

import gzip
import json
import zlib

import pytest
from applications import ARM, BOCHS, site_text
from bzimage import ELF, bzimage
from click.testing import CliRunner

from wgpy.camkes import platform, write
from wgpy.cli.commands import cli
from wgpy.errors import ConfigError, HostError
from wgpy.vms import newc
from wgpy.vms.images import this_wgpy


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "lima.toml"
    path.write_text(site_text("large"))
    return path


def built(folder, crypto: bytes = b"image of crypto", architecture: str = "arm64", kernel: bytes = b"kernel"):
    """What `make guests` leaves, as far as it is read."""
    folder.mkdir()
    for room in platform.ROOMS:
        (folder / f"{room}.cpio.zst").write_bytes(crypto if room == "crypto" else b"image of " + room.encode())
        manifest = {"room": room, "architecture": architecture, "kernel": "6.1", **this_wgpy()}
        (folder / f"{room}.manifest.json").write_text(json.dumps(manifest))
    (folder / "vmlinuz").write_bytes(kernel)
    (folder / "command-line").write_text("quiet\n")
    return folder


def left(tmp_path) -> list[str]:
    return sorted(p.name for p in tmp_path.iterdir())


def test_generate_then_check_then_draw(site, tmp_path):
    out, run = tmp_path / "out", CliRunner()
    done = run.invoke(cli, ["camkes", "generate", str(site), "--platform", ARM, "--out", str(out)])
    assert done.exit_code == 0 and "15 files, every rule holds" in done.output and "without images" in done.output
    assert run.invoke(cli, ["camkes", "check", str(out)]).output == f"{out}: every rule holds\n"
    assert run.invoke(cli, ["camkes", "draw", str(out)]).output == (out / "capabilities.svg").read_text()
    assert left(tmp_path) == ["lima.toml", "out"] and (out / "site.toml").read_text() == site.read_text()


def test_an_edit_is_found_and_makes_the_status_1(site, tmp_path):
    out, run = tmp_path / "out", CliRunner()
    write.generate(site, ARM, out, None, None)
    assembly = out / "wgpy.camkes"
    assembly.write_text(assembly.read_text().replace("vm1.dtb = dtb([{}]);", 'vm1.dtb = dtb([{"path": "/pl011@9000000"}]);'))
    done = run.invoke(cli, ["camkes", "check", str(out)])
    assert done.exit_code == 1 and done.stderr == "error: wgpy.camkes: vm1.dtb: gives /pl011@9000000; platform.toml has nothing\n"
    said = json.loads(run.invoke(cli, ["camkes", "check", str(out), "--json"]).stdout)
    assert said["ok"] is False and [v["key"] for v in said["violations"]] == ["vm1.dtb"]
    with pytest.raises(ConfigError):
        write.picture(out)


def test_images_are_made_this_nodes_and_keys_are_in_cryptos_alone(site, tmp_path):
    keys = tmp_path / "keys.sealed"
    keys.write_bytes(b"sealed")
    out = tmp_path / "out"
    write.generate(site, ARM, out, built(tmp_path / "guests"), keys)
    for room in platform.ROOMS:
        whole = (out / f"images/{room}.initrd").read_bytes()
        image = b"image of " + room.encode()
        assert whole.endswith(image) and (len(whole) - len(image)) % 4 == 0  # as Linux wants archives behind each other
        unpacker = zlib.decompressobj(wbits=31)  # gzip, which upstream's monitor on arm looks for
        added = newc.entries(unpacker.decompress(whole))
        assert unpacker.unused_data.lstrip(b"\0") == image
        assert added["dev/urandom"].device == (1, 9)
        files = {name for name in added if name.startswith("etc/wgpy/")}
        assert files == {"etc/wgpy/room.toml", "etc/wgpy/site.toml"} | ({"etc/wgpy/keys.sealed"} if room == "crypto" else set())
        assert added["etc/wgpy/room.toml"].data == (out / f"rooms/{room}.toml").read_bytes()
    assert (out / "images/linux").read_bytes() == b"kernel"
    assert write.examine(out) == []


def test_upstreams_monitor_on_x86_gets_a_kernel_that_it_can_load(site, tmp_path):
    out = tmp_path / "out"
    write.generate(site, BOCHS, out, built(tmp_path / "guests", architecture="amd64", kernel=bzimage(gzip.compress(ELF))), None)
    assert (out / "images/linux").read_bytes() == ELF
    assert write.examine(out) == []


@pytest.mark.parametrize("change, said", [
    (lambda a, t: (t / "out").mkdir(), "out exists already and is left as it is"),
    (lambda a, t: (t / "out").symlink_to(t / "nowhere"), "out exists already"),
    (lambda a, t: a.__setitem__(1, "odroid"), "odroid: no such platform"),
    (lambda a, t: a[0].write_text(site_text("small")) and a.__setitem__(1, BOCHS),
     "x86-bochs.toml: platform.clear: small mode needs the link in clear"),
    (lambda a, t: a[0].write_text("[node]"), "lima.toml"),
    (lambda a, t: a.__setitem__(3, t / "guests"), "black.manifest.json: no such file: make guests builds the images"),
    (lambda a, t: a.__setitem__(4, t / "keys"), "--keys goes into crypto's image"),
    (lambda a, t: a.__setitem__(3, built(t / "guests", bytes(145 << 20))),
     r"images/crypto.initrd: 152\d+ bytes are too large for crypto"),
    (lambda a, t: (a.__setitem__(1, BOCHS), a.__setitem__(3, built(t / "guests"))), "images for arm64, not for amd64"),
    (lambda a, t: (a.__setitem__(1, BOCHS), a.__setitem__(3, built(t / "guests", architecture="amd64"))),
     "guests/vmlinuz: no Linux image for x86"),
])
def test_what_is_wrong_leaves_nothing_behind(site, tmp_path, change, said):
    arguments = [site, ARM, tmp_path / "out", None, None]
    change(arguments, tmp_path)
    before = left(tmp_path)
    with pytest.raises((ConfigError, HostError), match=said):
        write.generate(*arguments)
    assert left(tmp_path) == before


def test_a_platform_of_ones_own_that_breaks_a_rule_is_told_line_by_line(site, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text((platform.KNOWN / f"{ARM}.toml").read_text().replace("number = 56", "number = 48"))
    done = CliRunner().invoke(cli, ["camkes", "generate", str(site), "--platform", str(mine), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and "platform.toml: red.device: interrupt 48 is black's already" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_directory_of_something_else_is_told_from_ours(tmp_path):
    with pytest.raises(HostError, match="no wgpy.camkes: not a directory that wgpy camkes generate wrote"):
        write.examine(tmp_path)
