"""Small programs in the rooms' place, so that a node is up as soon as Python runs in its guests."""

import stat
from pathlib import Path

from wgpy.vms import newc

FILE = stat.S_IFREG | 0o644

# Says that it is ready and shows on the console what is done to it. Each writes its name into what it
# shares with its neighbours, and tells what it finds there.
COMMON = """
import mmap, os, socket, subprocess, sys, time
room = ROOM
def shared(slot):
    device = f"/sys/bus/pci/devices/0000:00:{slot:02x}.0"
    if not os.path.exists(device + "/uio"):
        return mmap.mmap(os.open(device + "/resource2", os.O_RDWR), 0)
    name, = os.listdir(device + "/uio")
    size = int(open(f"/sys/class/uio/{name}/maps/map1/size").read(), 16)
    return mmap.mmap(os.open("/dev/" + name, os.O_RDWR), size, offset=4096)
def ip(*words):
    subprocess.run(["ip", *words], check=True)
slots = {"black": {"crypto": 5}, "crypto": {"black": 5, "red": 6}, "red": {"crypto": 5}}[room]
half = 0 if room == "crypto" else 1
memory = {neighbour: shared(slot) for neighbour, slot in slots.items()}
for region in memory.values():
    at = half * len(region) // 2
    region[at:at + 8] = room.encode().ljust(8)
cards = sorted(n for n in os.listdir("/sys/class/net") if n != "lo")
print("cards:", *cards, flush=True)
print("comments:", *(line.strip() for line in open("/etc/wgpy/site.toml") if line.startswith("#")), flush=True)
"""
OWN = {
    "black": """
ip("address", "add", "192.0.2.10/24", "dev", "eth0")
ip("link", "set", "eth0", "up")
if "eth1" in cards:
    ip("address", "add", "169.254.77.1/30", "dev", "eth1")
    ip("link", "set", "eth1", "up")
    clear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
""",
    "crypto": """
if os.path.exists("/dev/vda"):
    print("disk:", open("/sys/block/vda/serial").read(), os.path.getsize("/sys/block/vda/size"), flush=True)
""",
    "red": """
ip("address", "add", "10.1.0.1/24", "dev", "eth0")
ip("link", "set", "eth0", "up")
if "eth1" in cards:
    ip("address", "add", "169.254.77.2/30", "dev", "eth1")
    ip("link", "set", "eth1", "up")
    clear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    clear.bind(("169.254.77.2", 9))
    clear.setblocking(False)
""",
}
READY = """
print(room, "guest INFO: ready", flush=True)
told = set()
while True:
    if "eth1" in cards and room == "black":
        clear.sendto(b"black", ("169.254.77.2", 9))
    try:
        if "eth1" in cards and room == "red" and clear.recv(99) and "clear" not in told:
            told.add("clear")
            print("heard: clear", flush=True)
    except BlockingIOError:
        pass
    for neighbour, region in memory.items():
        at = (1 - half) * len(region) // 2
        said = bytes(region[at:at + 8]).decode(errors="replace").strip(" \\0")
        if said and (neighbour, said) not in told:
            told.add((neighbour, said))
            print("heard:", neighbour, said, flush=True)
    time.sleep(0.1)
"""
ASKS = """
import threading
import tty as modes
tty = open("/dev/hvc0", "r+b", buffering=0)
modes.setraw(tty)
print("crypto guest INFO: asks for the passphrase", flush=True)
while True:
    line = tty.readline()
    tty.write(b"heard " + line.strip() + b"\\n")
    if line.strip() == b"go":
        break
def administered():
    while True:
        words = tty.readline().strip(b"\\x03\\x0c \\r\\n").split()
        if words[:1] == [b"hello"]:
            tty.write(b" wgpy 1 lima open " + words[1] + b"\\nok\\n")
        elif words[:1] == [b"reload"]:
            tty.write(b"? the site file\\n")
            while tty.readline().strip() != b".":
                pass
            print("crypto has a file of", *words[2:3], flush=True)
            tty.write(b"ok\\n")
threading.Thread(target=administered, daemon=True).start()
"""


def stand_in(folder: Path, room: str, *, asks: bool = False) -> None:
    """Changes the image of a room in a folder of images."""
    program = COMMON.replace("ROOM", repr(room)) + OWN[room] + (ASKS if asks else "") + READY
    put(folder, room, {f"usr/lib/python3.11/wgpy/{place}": program for place in (f"{room}/main.py", "guest/main.py")})


def put(folder: Path, room: str, files: dict[str, str]) -> None:
    """Files that take the place of the image's own."""
    image = folder / f"{room}.cpio.zst"
    image.write_bytes(newc.appended(image.read_bytes(), {name: newc.Entry(FILE, text.encode()) for name, text in files.items()}))
