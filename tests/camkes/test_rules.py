"""`wgpy camkes check` (A4): each rule is broken once, in one file of an application that a person might have
edited, and is found there."""

import pytest
from applications import ARM, BOCHS, X86, files

from wgpy.camkes.check import check

A = "wgpy.camkes"
G = "guests.camkes"
P = "platform.toml"
CARD = "        ${CAMKES_VM_DIR}/components/VM_Arm/src/modules/virtio_net_virtqueue.c\n"

# machine, mode, file, what stands there, what is put there instead, what is said
BROKEN = [
    # Crypto has nothing but memory.
    (ARM, "large", A, "vm1.dtb = dtb([{}]);", 'vm1.dtb = dtb([{"path": "/pl011@9000000"}]);', "vm1.dtb: gives /pl011@9000000"),
    (ARM, "large", A, "vm1.dtb = dtb([{}]);", 'vm1.dtb = dtb([{"type": "pci"}]);', "vm1.dtb: has to be dtb"),
    (ARM, "large", A, "vm1.dtb = dtb([{}]);", "vm1.dtb = dtb([{}]); vm1.dtb_irqs = [35];", "vm1.dtb_irqs: crypto has no device"),
    (ARM, "large", A, "vm1.dtb = dtb([{}]);", 'vm1.dtb = dtb([{}]); vm1.untyped_mmios = ["0xa000000:12"];',
     "vm1.untyped_mmios: crypto has no device"),
    (ARM, "large", A, 'vm1.mmios = ["0x8040000:0x1000:12"];', 'vm1.mmios = ["0x8040000:0x1000:12", "0x9000000:0x1000:12"];', "vm1.mmios"),
    (ARM, "large", A, '"initrd_name": "crypto.initrd",', '"initrd_name": "crypto.initrd", "map_one_to_one": true,',
     "a key for each value"),
    (ARM, "large", A, '"map_one_to_one": false', '"map_one_to_one": true', "crypto's memory is mapped one to one"),
    (ARM, "large", A, '            "map_one_to_one": false,\n', "", "crypto's memory is mapped one to one"),
    (ARM, "large", A, "vm1.simple = true;", "vm1.simple = true; vm1.smmu = true;", "vm1.smmu: is not known here"),
    (X86, "large", A, "vm1.iospace_domain", 'vm1.vm_ioports = [{"start": 0x3f8, "end": 0x3ff}]; vm1.iospace_domain',
     "vm1.vm_ioports: crypto has no device"),
    (X86, "large", A, "vm1.iospace_domain", 'vm1.pci_devices = []; vm1.iospace_domain', "vm1.pci_devices: crypto has no device"),
    # Edges.
    (ARM, "large", A, "(from vm0.ring_crypto, to vm1.rung_by_black)", "(from vm0.ring_crypto, to vm2.rung_by_crypto)",
     "joins black and red: in large mode nothing may"),
    (ARM, "large", A, "        crypto_to_black.size", "        crypto_to_black.length = 4;\n        crypto_to_black.size",
     "crypto_to_black.length: is not known here"),
    (ARM, "large", A, "from vm2.to_crypto, to vm1.from_red", "from vm2.to_crypto, to vm0.from_crypto", "joins black and red"),
    (ARM, "small", A, "        component VirtQueueInit clear;",
     "        component VirtQueueInit clear;\n        connection seL4Notification more(from vm0.ring_crypto, to vm2.rung_by_crypto);",
     "joins black and red: in small mode by the link in clear alone"),
    (ARM, "small", A, "from vm2.clear_recv);", "from vm2.clear_recv, from vm1.clear_recv);", "lacks the connection seL4VirtQueues"),
    (X86, "large", A, "connection seL4Notification red_rings_crypto(from vm2.ring_crypto, to vm1.rung_by_red);", "",
     "lacks the connection seL4Notification"),
    (ARM, "large", A, "connection seL4SharedDataWithCaps red_to_crypto", "connection seL4SharedData red_to_crypto",
     "lacks the connection seL4SharedDataWithCaps"),
    (ARM, "large", A, "component SerialServer serial;", "component SerialServer serial; component Bridge bridge;",
     "type Bridge belongs to no room"),
    (ARM, "large", A, "component SerialServer serial;", "component SerialServer serial; VM_MORE(0)",
     "VM_MORE(0): a macro of which nothing is known"),
    (X86, "large", A, "        VM_COMPOSITION_DEF()\n", "", "VM_COMPOSITION_DEF(): belongs here once"),
    (ARM, "large", A, "connection seL4VMDTBPassthrough vm1_tree(from vm1.dtb_self",
     "connection seL4VMDTBPassthrough vm1_tree(from vm1.dtb", "is an edge of crypto that neither"),
    (ARM, "large", G, "    emits Doorbell ring_red;", "    emits Doorbell ring_red;\n    dataport Buf(4096) more;",
     "Crypto.more: is no interface of crypto's guest"),
    (ARM, "large", G, "    consumes Doorbell rung_by_red;\n", "", "Crypto.rung_by_red: is missing"),
    (ARM, "large", G, "component Crypto {\n    VM_INIT_DEF()", "component Crypto {\n    VM_INIT_DEF() VM_MORE_DEF()",
     "Crypto: has to have VM_INIT_DEF() and no other macro"),
    (ARM, "large", G, "component Red {", "component Red {\n    hardware;", "Red: is hardware"),
    (ARM, "large", A, "component Red vm2;", "component Black vm2;", "two guests have one type"),
    (ARM, "large", A, "        component Red vm2;\n", "", "vm2: is missing"),
    # One way, sizes, window.
    (ARM, "large", A, 'vm0.from_crypto_access = "R";', 'vm0.from_crypto_access = "RW";', "crypto alone may write what black reads"),
    (ARM, "large", A, '        vm1.from_red_access = "R";\n', "", "red alone may write what crypto reads"),
    (ARM, "large", A, "red_to_crypto.size = 0x200000;", "red_to_crypto.size = 0x180000;", "is no power of two"),
    (ARM, "large", A, "        red_to_crypto.size = 0x200000;\n", "", "red_to_crypto.size: None is no power of two"),
    (ARM, "large", G, "    dataport Buf(2097152) to_red;", "    dataport Buf(1048576) to_red;",
     "Crypto.to_red: Buf(1048576) is not the dataport's size"),
    (ARM, "large", P, "size = 0x1000000\n", "size = 0x800000\n", "crypto's connections end at 0xe0000000, behind the window"),
    (ARM, "large", "src/red.c", "FIRST_ADDRESS 0xdf000000", "FIRST_ADDRESS 0x3f000000", "FIRST_ADDRESS: is 0x3f000000, not"),
    (X86, "large", P, "base = 0xA0000000", "base = 0xB0000000", "upstream's monitor has 0xa0000000"),
    # Tables of connections.
    (ARM, "large", "src/crypto.c", "ring_red_emit", "ring_black_emit", "connections[2]: is to_red that rings ring_black"),
    (ARM, "large", "src/crypto.c", "connections[3].consume_badge = rung_by_red", "connections[3].consume_badge = rung_by_black",
     "connections[3]: is from_red that rings nobody and hears rung_by_black"),
    (ARM, "large", "src/black.c", '"to-crypto"', '"to-red"', "named 'to-red'"),
    (ARM, "large", "src/black.c", '    {&from_crypto_handle, NULL, -1, "from-crypto"},\n', "", "has 1 rows"),
    (X86, "large", "src/crypto.c", "rung_by_red_reg_callback", "rung_by_black_reg_callback", "connections[3]"),
    (ARM, "large", "CMakeLists.txt", "src/red.c\n    EXTRA_LD_FLAGS -Wl,--wrap=vm_run", "src/red.c", "Red: is not built with"),
    (ARM, "small", "CMakeLists.txt", "src/crypto.c\n", "src/crypto.c\n" + CARD, "Crypto: is not built with"),
    (ARM, "small", "CMakeLists.txt", CARD, "", "Black: is not built with"),
    (X86, "large", "CMakeLists.txt", "src/red.c EXTRA_LD_FLAGS -Wl,--wrap=vm_cpuid_handler", "src/red.c", "Init2: is not built with"),
    (X86, "large", "CMakeLists.txt", "src/red.c", "src/black.c", "Init2: is not built with"),
    (ARM, "large", "rooms/red.toml", "uio:to-crypto,from-crypto", "uio:from-crypto,to-crypto", "rooms/red.toml: rings"),
    (ARM, "large", "rooms/red.toml", 'room = "red"', 'room = "black"', "rooms/red.toml: room"),
    (ARM, "large", "CMakeLists.txt", "    LD_FLAGS -Wl,--wrap=ltimer_default_init\n", "", "TimeServer: is not built with"),
    (ARM, "large", "CMakeLists.txt", "DeclareCAmkESComponent(\n    TimeServer", "DeclareCAmkESComponent(\n    SerialServer",
     "SerialServer: is built anew"),
    # Memory.
    (ARM, "large", A, "vm1.simple_untyped24_pool = 20;", "vm1.simple_untyped24_pool = 16;", "the pools are 256 MiB, 320 MiB are needed"),
    (X86, "large", A, "vm0.simple_untyped23_pool = 38;", "vm0.simple_untyped23_pool = 30;",
     "vm0.simple_untyped23_pool: the pools are 244 MiB"),
    (ARM, "large", A, 'vm0.untyped_mmios = ["0x40000000:28"];', 'vm0.untyped_mmios = ["0x40000000:29"];', "is not the guest's memory"),
    (ARM, "large", A, 'vm2.untyped_mmios = ["0x50000000:28"];', 'vm2.untyped_mmios = ["0x40000000:28"];',
     "shares a page or more with 0x40000000+0x10000000 of black"),
    (ARM, "large", A, '        vm2.untyped_mmios = ["0x50000000:28"];\n', "", "lacks the guest's memory"),
    (ARM, "large", P, "memory = 0x80000000", "memory = 0x34000000", "the guests take 960 MiB of the machine's 832"),
    (ARM, "large", A, '"initrd_addr": "0x46000000"', '"initrd_addr": "0x4ff00000"', "initrd_addr and dtb_addr have to lie in this order"),
    # Devices and interrupts.
    (ARM, "large", A, '{"path": "/virtio_mmio@a001000"}', '{"path": "/virtio_mmio@a000000"}', "vm2.dtb: gives /virtio_mmio@a000000"),
    (ARM, "large", P, "memory = [{ base = 0xA001000, size = 0x1000 }]", "memory = [{ base = 0xA000200, size = 0x200 }]",
     "has this device already|overlaps|shares a page"),
    (ARM, "large", P, "number = 56", "number = 48", "interrupt 48 is black's already"),
    (ARM, "large", "overlay.dts", "<0x0 0x18 0x4>", "<0x0 0x18 0x1>", "virtio_mmio@a001000: is interrupt 56 of kind 1"),
    (ARM, "large", "overlay.dts", "virtio_mmio@a000000", "virtio_mmio@a000400", "virtio_mmio@a000000: is not here"),
    (X86, "large", A, '"dest": 11', '"dest": 10', "vm2.vm_irqs: is not what platform.toml gives red"),
    (X86, "large", P, "dest = 11", "dest = 10", "10 is black's; it has to be the only one"),
    (X86, "large", P, "dest = 11", "dest = 12", "12 belongs to the rings"),
    (X86, "large", P, "dest = 11", "dest = 4", "4 belongs to COM1"),
    (X86, "large", P, "dest = 11", "dest = 16", "16 is none of 1 to 15"),
    (X86, "large", A, '"level_trig": 1, "active_low": 1, "dest": 11', '"level_trig": 0, "active_low": 1, "dest": 11', "vm2.vm_irqs"),
    (X86, "large", A, '"fun": 1, "irq": "lan"', '"fun": 0, "irq": "lan"', "vm2.pci_devices: is not what"),
    (X86, "large", A, '"paddr": 0xe2000000, "size": 0x8000, "page_bits": 12', '"paddr": 0xe2000000, "size": 0x8000, "page_bits": 21',
     "not of whole pages of 12 bits"),
    (X86, "large", P, 'pci = "65:00.0"', 'pci = "65:00.0"\nports = [{ base = 0x7040, size = 0x20 }]',
     "vm0.vm_ioports: is not what platform.toml gives black"),
    (X86, "large", A, "vm0.vm_irqs", 'vm0.vm_ioports = [{"start": 0xcf8, "end": 0xcff, "pci_device": 0, "name": "wan"}]; vm0.vm_irqs',
     "vm0.vm_ioports: is not what platform.toml gives black"),
    # IOMMU.
    (X86, "large", "app_settings.cmake", "CAmkESVMGuestDMAIommu ON", "CAmkESVMGuestDMAIommu OFF", "CAmkESVMGuestDMAIommu: is OFF, not ON"),
    (X86, "large", A, "        vm2.pci_devices_iospace = 1;\n", "", "vm2.pci_devices_iospace: has to be 1"),
    (X86, "large", A, "vm2.iospace_domain = 0x11;", "vm2.iospace_domain = 0xf;", "15 is not a number of its own: black has it"),
    (X86, "large", P, "iommu = true", "iommu = false", "without an IOMMU no card is passed through"),
    # Time.
    (ARM, "large", A, "vm0.base_prio = 100;", "vm0.base_prio = 110;", "a guest is above crypto"),
    (ARM, "large", A, "vm1._priority = 101;", "vm1._priority = 120;", "differs: on arm an idle guest keeps its processor"),
    (X86, "large", A, "vm2._priority = 100;", "vm2._priority = 254;", "below 250 where the servers are"),
    # What upstream is built with.
    (ARM, "large", "settings.cmake", "KernelMaxNumNodes 1", "KernelMaxNumNodes 4", "KernelMaxNumNodes: is 4, not 1"),
    (ARM, "large", "settings.cmake", "set(KernelArmExportPCNTUser ON", "# set(KernelArmExportPCNTUser ON",
     "KernelArmExportPCNTUser: is not set"),
    (ARM, "large", "settings.cmake", "set(LibUSB OFF", 'set(SIMULATION ON CACHE BOOL "")\nset(LibUSB OFF', "SIMULATION"),
    (ARM, "small", "settings.cmake", "VmVirtioNetVirtqueue OFF", "VmVirtioNetVirtqueue ON", "VmVirtioNetVirtqueue: is ON"),
    # Who is typed to.
    *((machine, "large", A, "from vm0.serial_getchar, from vm1.serial_getchar,", "from vm1.serial_getchar, from vm0.serial_getchar,",
       "typed: numbers the guests vm1, vm0, vm2, not vm0, vm1, vm2") for machine in (ARM, X86)),
    (ARM, "large", A, "from vm2.serial_getchar, to serial.getchar);",
     "to serial.getchar);\n        connection seL4SerialServer more(from vm2.serial_getchar, to serial.getchar);",
     "lacks the connection seL4SerialServer"),
    (ARM, "large", A, "from vm1.batch, from vm2.batch,", "from vm2.batch, from vm1.batch,", "printed: numbers the guests vm0, vm2, vm1"),
    (ARM, "small", P, "clear = true", "clear = false", "platform.clear: is false"),
    # What guests boot from.
    (ARM, "large", A, "to fserv_crypto.fs_ctrl", "to fserv.fs_ctrl", "black and crypto share fserv"),
    (ARM, "large", "CMakeLists.txt", 'AddToFileServer("red.initrd" "${images}/red.initrd")',
     'AddToFileServer("red.initrd" "${images}/crypto.initrd")', "puts crypto's image into fserv"),
    (ARM, "large", "CMakeLists.txt", 'AddToFileServer("red.initrd" "${images}/red.initrd")', "",
     "red.initrd: is not in fserv, from which red boots"),
    # Files.
    (ARM, "large", A, "import <std_connector.camkes>;", "#define MORE 1",
     "wgpy.camkes:10: of the preprocessor only #include <file> is read"),
    (ARM, "large", A, 'import "guests.camkes";', 'import "other.camkes";', "other.camkes: is missing"),
    (ARM, "large", P, "iommu = false", "iommu = 0", "platform.toml: platform.iommu: has to be true or false"),
    (BOCHS, "large", "site.toml", 'mode = "large"', 'mode = "huge"', "site.toml:3: node.mode"),
]


@pytest.mark.parametrize("machine, mode, file, old, new, said", BROKEN, ids=lambda v: v if isinstance(v, str) and len(v) < 60 else None)
def test_a_broken_rule_is_found(machine, mode, file, old, new, said):
    made = dict(files(machine, mode))
    text = made[file].decode()
    assert old in text, f"{file} has no {old!r}"
    made[file] = text.replace(old, new, 1).encode()
    found = [str(v) for v in check(made, {})[1]]
    assert [line for line in found if any(part in line for part in said.split("|"))], found


@pytest.mark.parametrize("machine", [ARM, X86])
def test_a_file_that_is_missing_is_named(machine):
    for name in files(machine, "large"):
        made = {n: data for n, data in files(machine, "large").items() if n != name}
        found = check(made, {})[1]
        assert [v for v in found if v.file == name and "missing" in v.reason or name.startswith("rooms/") and v.file == name], name


def test_images_have_to_fit_and_to_be_there():
    sizes = {"images/linux": 28 << 20, **{f"images/{room}.initrd": 8 << 20 for room in ("black", "crypto", "red")}}
    made = files(ARM, "large")
    assert check(made, sizes)[1] == []
    large = check(made, sizes | {"images/crypto.initrd": 145 << 20})[1]
    assert [str(v) for v in large] == ["images/crypto.initrd: 152043520 bytes are too large for crypto: there is room for 150994944"]
    kernel = check(made, sizes | {"images/linux": 97 << 20})[1]
    assert len(kernel) == 3 and "too large for black" in kernel[0].reason
    del sizes["images/red.initrd"]
    assert [str(v) for v in check(made, sizes)[1]] == ["images/red.initrd: is missing"]


def test_violations_of_one_edit_are_told_together():
    made = dict(files(ARM, "large"))
    made["wgpy.camkes"] = made["wgpy.camkes"].replace(b'_access = "R";', b'_access = "RW";')
    found = check(made, {})[1]
    assert len(found) == 4 and all("alone may write" in v.reason for v in found)
