"""What `wgpy camkes generate` makes (A4): the same as when a person read it last, no rule broken, and
parts that other programs accept: a C compiler, the compiler of device trees, a reader of SVG."""

import subprocess
import xml.etree.ElementTree as xml

import pytest
from applications import ALL, ARM, BOCHS, GOLDEN, HERE, X86, as_text, files, site_text
from needs import need
from site_files import edited, site_of

from wgpy.camkes import application, drawing, platform, render, syntax
from wgpy.camkes.check import check
from wgpy.camkes.platform import ROOMS
from wgpy.guest import roomfile

COMPILERS = {ARM: "aarch64-linux-gnu-gcc-12", X86: "gcc"}


@pytest.mark.parametrize("machine, mode", ALL)
def test_as_it_was_when_it_was_read(machine, mode):
    golden = (GOLDEN / f"{machine}-{mode}.txt").read_text(encoding="utf-8")
    assert as_text(machine, mode) == golden, "read the difference, then python tests/camkes/applications.py"


@pytest.mark.parametrize("machine, mode", ALL)
def test_every_rule_holds(machine, mode):
    assert check(files(machine, mode), {})[1] == []


def test_a_card_with_ports_gets_them_and_is_proven():
    card = 'pci = "65:00.0"'
    text = edited((platform.KNOWN / f"{X86}.toml").read_text(), (card, card + "\nports = [{ base = 0x7040, size = 0x20 }]"))
    site = site_text("large")
    made = render.render(site_of(site), site.encode(), platform.parse(text.encode(), "p.toml"))
    assert b'vm0.vm_ioports = [\n            {"start": 0x7040, "end": 0x705f, "pci_device": 0, "name": "wan"},\n' in made[render.ASSEMBLY]
    app, violations = check(made, {})
    assert violations == [] and "ports 0x7040+0x20" in drawing.draw(app)


@pytest.mark.parametrize("machine, mode", ALL)
@pytest.mark.parametrize("room", ROOMS)
def test_glue_compiles_without_a_warning(machine, mode, room, tmp_path):
    """With what upstream's generator would declare for the component, and stubs of its libraries."""
    made = files(machine, mode)
    arm = machine == ARM
    compiler = COMPILERS[ARM if arm else X86]
    need(compiler)
    app, _ = check(made, {})
    lines = ["#include <sel4vmmplatsupport/drivers/cross_vm_connection.h>"]
    for name, interface in app.component(room).interfaces.items():
        if interface.kind == "emits":
            lines.append(f"void {name}_emit(void);")
        elif interface.kind == "consumes" and not arm:
            lines.append(f"int {name}_reg_callback(event_callback_fn callback, void *argument);")
    (tmp_path / "camkes.h").write_text("\n".join([*lines, ""]))
    (tmp_path / "glue.c").write_bytes(made[f"src/{room}.c"])
    stubs = HERE / "stubs"
    done = subprocess.run([compiler, "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-c", "glue.c", "-o", "glue.o",
                           f"-I{tmp_path}", f"-I{stubs / 'both'}", f"-I{stubs / ('arm' if arm else 'x86')}"],
                          cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


MONITOR = """
#include <stdio.h>
#include <stdlib.h>
#include <sel4vm/arch/guest_x86_context.h>
struct vm_vcpu { seL4_Word registers[4]; };
int __wrap_vm_cpuid_handler(vm_vcpu_t *vcpu);
int vm_get_thread_context_reg(vm_vcpu_t *vcpu, vcpu_context_reg_t reg, seL4_Word *value) { *value = vcpu->registers[reg]; return 0; }
int vm_set_thread_context_reg(vm_vcpu_t *vcpu, vcpu_context_reg_t reg, seL4_Word value) { vcpu->registers[reg] = value; return 0; }
int __real_vm_cpuid_handler(vm_vcpu_t *vcpu)
{
    printf("%lx ", vcpu->registers[VCPU_CONTEXT_EAX]);
    for (int i = 0; i < 4; i++) { vcpu->registers[i] = 0x10; }
    return 7;
}
int main(int number, char **words)
{
    vm_vcpu_t vcpu = {{strtoul(words[number - 1], NULL, 16)}};
    int result = __wrap_vm_cpuid_handler(&vcpu);
    printf("%d %lx %lx %lx %lx\\n", result, vcpu.registers[0], vcpu.registers[1], vcpu.registers[2], vcpu.registers[3]);
}
"""


def test_no_question_for_a_hypervisor_ends_the_monitor(tmp_path):
    """What the guest asks of CPUID, what upstream's handler is asked then, its result, and what the guest sees."""
    need("gcc")
    text = files(BOCHS, "large")["src/black.c"].decode()
    (tmp_path / "monitor.c").write_text(MONITOR + text[text.index("#define HYPERVISOR"):])
    stubs = HERE / "stubs"
    subprocess.run(["gcc", "-Wall", "-Werror", "monitor.c", "-o", "monitor", f"-I{stubs / 'both'}", f"-I{stubs / 'x86'}"],
                   cwd=tmp_path, check=True)
    for asked, heard, feature in (("40000100", "40000000", "10"), ("4000ff00", "40000000", "10"), ("7fffffff", "40000000", "10"),
                                  ("3fffffff", "3fffffff", "10"), ("80000000", "80000000", "10"), ("1", "1", "110"),
                                  ("ffffffff40000100", "40000000", "10"), ("0", "0", "10")):
        said = subprocess.run([tmp_path / "monitor", asked], text=True, capture_output=True, check=True).stdout
        assert said == f"{heard} 7 10 10 10 {feature}\n", asked


def test_the_clock_is_right_for_years(tmp_path):
    """Upstream's overflows 295 s after the start, at this frequency, and its time after three days."""
    need("gcc")
    (tmp_path / "time.c").write_bytes(files(ARM, "large")["src/time.c"])
    subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-fsanitize=undefined",
                    f"-I{HERE / 'stubs/arm'}", "time.c", HERE / "clock.c", "-o", "clock"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "clock"], text=True, capture_output=True, check=True).stdout == ""


@pytest.mark.parametrize("mode", ["large", "small"])
def test_the_overlay_makes_interrupts_level(mode, tmp_path):
    """Behind a tree that declares them as edges, as QEMU does."""
    need("dtc")
    tree = "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; interrupt-parent = <&gic>; " + "".join(
        f"virtio_mmio@{base:x} {{ reg = <0 {base:#x} 0 0x200>; interrupts = <0 {spi:#x} 1>; }}; " for base, spi in
        ((0xA000000, 16), (0xA000200, 17), (0xA001000, 24))) + (
        "gic: intc@8000000 { reg = <0 0x8000000 0 0x1000>; interrupt-controller; #interrupt-cells = <3>; #address-cells = <0>; }; };\n")
    (tmp_path / "all.dts").write_text(tree + files(ARM, mode)["overlay.dts"].decode())
    done = subprocess.run(["dtc", "-I", "dts", "-O", "dts", "all.dts"], cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    kinds = [line.split()[-1].rstrip(">;") for line in done.stdout.splitlines() if "interrupts = " in line]
    assert kinds == ["0x04", "0x01", "0x04"]


@pytest.mark.parametrize("machine, mode", ALL)
@pytest.mark.parametrize("room", ROOMS)
def test_a_guest_understands_its_room_file(machine, mode, room, tmp_path):
    path = tmp_path / "room.toml"
    path.write_bytes(files(machine, mode)[f"rooms/{room}.toml"])
    found = roomfile.load(path)
    assert found.room == room and all(where.startswith("uio:") for where in found.rings.values())
    assert ("clear" in found.links) == (mode == "small" and room != "crypto")


def test_the_drawing_says_who_can_write_what():
    svg = drawing.draw(check(files(ARM, "large"), {})[0])
    texts = [e.text for e in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"black RW, crypto R", "crypto RW, black R", "crypto RW, red R", "red RW, crypto R"} <= set(texts)
    assert texts.count("DMA: ALL MEMORY, no IOMMU") == 2 and "link in clear: virtual network cards" not in texts
    assert "fserv_crypto (FileServer): crypto" in texts and "fserv (FileServer): black, red" in texts
    other = drawing.draw(check(files(X86, "small"), {})[0])
    assert other.count("DMA: its own memory (IOMMU)") == 2 and "link in clear" in other


def test_nothing_of_upstream_is_hidden_in_macros():
    """The edges of the assembly stand in it one by one."""
    for machine, mode in ALL:
        document = syntax.parse(files(machine, mode)["wgpy.camkes"].decode(), "wgpy.camkes")
        assert len([c for c in document.connections.values() if c.connector == "seL4SharedDataWithCaps"]) == 4
        assert not [m for m in document.macros if "CONNECTION" in m.name or "PER_VM_COMP" in m.name]


def test_an_edited_platform_is_another_application():
    """A person copies a platform's file and changes it: the dataport's size is an example."""
    machine = platform.parse(files(ARM, "large")["platform.toml"].replace(b"dataport = 0x200000", b"dataport = 0x100000"), "mine.toml")
    assert machine.dataport == 1 << 20
    app, _ = application.read(files(ARM, "large"), {})
    assert app.platform.dataport == 2 << 20
