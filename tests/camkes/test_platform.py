"""Platform files (A4): a person writes them, so that what is wrong is one line with file and key."""

import pytest
from site_files import edited

from wgpy.camkes import platform
from wgpy.errors import ConfigError

ARM = platform.KNOWN / "qemu-arm-virt.toml"
X86 = platform.KNOWN / "x86-supermicro.toml"


def refusal(path, *changes) -> str:
    with pytest.raises(ConfigError) as caught:
        platform.parse(edited(path.read_text(), *changes).encode(), "p.toml")
    return str(caught.value)


@pytest.mark.parametrize("path, old, new, said", [
    (ARM, "iommu = false\n", "", "p.toml: platform.iommu: has to be true or false"),
    (ARM, "iommu = false", "iommu = false\nmore = 1", "p.toml: platform.more: is not known here"),
    (ARM, 'architecture = "arm"', 'architecture = "riscv"', "p.toml: platform.architecture: has to be arm or x86"),
    (ARM, 'console = "hvc0"', 'console = "hvc0\\" x"', 'p.toml: platform.console: has to be a text of ASCII without " and \\'),
    (ARM, "dataport = 0x200000", "dataport = 0x180000", "p.toml: connections.dataport: 0x180000 is no power of two of at least 1 MiB"),
    (ARM, "dataport = 0x200000", "dataport = -1", "p.toml: connections.dataport: has to be a number that is not negative"),
    (ARM, "base = 0x50000000", "base = 0x48000000", "p.toml: red: 0x48000000+0x10000000 overlaps 0x40000000+0x10000000 of black"),
    (ARM, "base = 0x50000000", "base = 0x70000000",
     "p.toml: red.base: 0x70000000+0x10000000 is not in platform.free, which seL4 leaves for guests"),
    (ARM, "base = 0x50000000", "base = 0xD8000000", "p.toml: red.base: 0xd8000000+0x10000000 overlaps the connections' window"),
    (ARM, 'path = "/virtio_mmio@a001000"', 'path = "/virtio_mmio@a000000"', "p.toml: red.device: black has this device already"),
    (ARM, "[crypto]", '[[crypto.device]]\nlink = "wan"\n[crypto]', "p.toml"),
    (ARM, 'link = "lan"', '', "p.toml: red.device.link: has to be lan"),
    (ARM, "[red]", "[rouge]", "p.toml: red.base: has to be a number that is not negative"),
    (ARM, "memory = 0x80000000", "memory = 0x20000000", "p.toml: platform.memory: 0x20000000 bytes are too few for the guests' memory"),
    (X86, 'pci = "65:00.1"', 'pci = "65:00.0"', "p.toml: red.device: black has this device already"),
    (X86, 'pci = "65:00.1"', 'pci = "65:00"', "p.toml: red.device.pci: has to be bus:device.function as lspci writes it, such as 65:00.0"),
    (X86, "base = 0xE0000000", "base = 0xE1800000", "p.toml: red: 0xe1800000+0x1000000 overlaps 0xe1000000+0x1000000 of black"),
    (X86, 'link = "lan"', 'link = "wan"', "p.toml: red.device.link: has to be lan"),
    (X86, 'pci = "65:00.0"', 'pci = "65:00.0"\nports = [{ base = 0xCF8, size = 8 }]',
     "p.toml: black.device.ports: has to be in 0x1000+0xf000, where firmware puts those of cards"),
    (X86, 'trigger = "level"', 'trigger = "both"', "p.toml: black.device.interrupt.trigger: has to be level or edge"),
])
def test_what_is_wrong_is_one_line(path, old, new, said):
    assert refusal(path, (old, new)).startswith(said)


def test_ports_of_one_card_are_not_anothers():
    ports = "\nports = [{ base = 0x7040, size = 0x20 }]"
    assert refusal(X86, *((f'pci = "65:00.{n}"', f'pci = "65:00.{n}"{ports}') for n in (0, 1))) == (
        "p.toml: red.device.ports: 0x7040+0x20 overlaps 0x7040+0x20 of black")


def test_crypto_gets_no_device():
    text = ARM.read_text().replace("[red]\n", '[[crypto.device]]\nlink = "wan"\n\n[red]\n')
    with pytest.raises(ConfigError, match="crypto.device: has to be left out: crypto has no device"):
        platform.parse(text.encode(), "p.toml")


def test_a_platform_that_nobody_knows_is_told_which_are_known():
    with pytest.raises(ConfigError, match="odroid: no such platform; known are qemu-arm-virt, x86-bochs, x86-supermicro, or the path"):
        platform.load("odroid")


def test_no_toml_is_one_line():
    with pytest.raises(ConfigError, match=r"^p\.toml: .+$"):
        platform.parse(b"\xff", "p.toml")
    with pytest.raises(ConfigError, match="p.toml: more than"):
        platform.parse(b"#" * (platform.MAX_FILE + 1), "p.toml")
