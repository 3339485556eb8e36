"""What kind of work a function does, by the object that it is in and its name."""
import os
import re
import subprocess
from functools import cache
from pathlib import Path

from wgpy._fast import plane, ports

CORE = Path(__file__).resolve().parents[1] / "wgpy/_fast/c"

AEAD, OFFLOAD, RINGS, PLANE = "AEAD", "split, merge, checksums", "rings", "rest of the data plane"
USER, COPIES, SCHEDULING = "other user code", "system calls' copies", "scheduling, polling"
FIREWALL, NETWORK, OTHERS, IDLE = "firewall", "rest of the kernel's network", "other processes", "idle"
COLOURS = {AEAD: "#c0392b", OFFLOAD: "#1b6ca8", RINGS: "#6fa8d0", PLANE: "#b7d4ea", USER: "#d9c77e",
           COPIES: "#e08e45", SCHEDULING: "#8e6bb0", FIREWALL: "#7a9a6b", NETWORK: "#6c757d",
           OTHERS: "#c4cad0", IDLE: "#eeeeee"}

# The first row counts whose two patterns match object and function whole; clones of a
# function (.constprop, .isra, .part, .cold) count as the function. With a clock instead
# of a hardware counter, what runs with interrupts off shows where they come on again:
# a wake-up as _raw_spin_unlock_irqrestore, an interrupt's work as handle_softirqs.
_TABLE = [(re.compile(where), re.compile(what), kind) for where, what, kind in (
    (r"libcrypto\..*", r".*", AEAD),
    (r"(ports|plane)\..*", r"(csum|ip4?|merge|split|ecn)(_.*)?|advance|intact", OFFLOAD),
    (r"(ports|plane)\..*", r".*", PLANE),
    (r"\[kernel.*", r"(pv_)?native_safe_halt|.*_idle(_.*)?|cpuidle.*|mwait.*", IDLE),
    (r"\[kernel.*", r"_?copy_(from|to)_(iter|user).*|__copy_.*|copy_(mc|user)_.*|rep_movs.*", COPIES),
    (r"\[kernel.*", r"finish_task_switch|__schedule|schedule.*|sched_.*|pick_.*|ttwu.*|.*wake_?up.*|futex.*|"
                    r".*_(rq|entity|fair|eevdf|curr)|_raw_spin_unlock_irq(restore)?|.*hrtimer.*|.*tick.*|read_tsc|"
                    r"(?!.*napi).*poll.*|.*sys_p?select.*|do_p?select|select_estimate_accuracy|eventfd_.*|.*pipe_.*|"
                    r"fdget.*|fput|.*(do|x64_sys|entry)_(syscall|SYSCALL).*|x64_sys_call|syscall_.*|"
                    r".*exit_to_user_mode.*|__rseq.*|.*seccomp.*|__secure_computing", SCHEDULING),
    (r"\[(?!vdso).*", r"nft?_.*|.*conntrack.*", FIREWALL),
    (r"\[(?!vdso).*", r".*", NETWORK),
)]


@cache
def functions(library: str, room: str) -> frozenset[str]:
    """Static functions of the source files in a room of the C core, whatever the functions are
    called: the symbol table lists them after the name of their file."""
    sources = {path.name for path in (CORE / room).glob("*.c")}
    listed = subprocess.run(["readelf", "-sW", library], capture_output=True, text=True, check=True)
    found, source = set(), ""
    for fields in map(str.split, listed.stdout.splitlines()):
        if fields[3:4] == ["FILE"]:
            source = fields[7] if len(fields) > 7 else ""
        elif fields[3:4] == ["FUNC"] and source in sources:
            found.add(fields[7])
    return frozenset(found)


@cache
def kind(where: str, what: str, room: bool) -> str:
    """`where`: the object's path as perf tells it. In a `room` of the encryptor what the
    C library copies goes into and out of rings; in one process it is split and merged."""
    where, name = os.path.basename(where), re.sub(r"\.(constprop|isra|part|cold|\d).*", "", what)
    for module, part, of in ((plane, "aead", AEAD), (ports, "ring", RINGS)):
        if where == os.path.basename(module.__file__) and what in functions(module.__file__, part):
            return of
    if where.startswith("libc.") and "mem" in name:
        return RINGS if room else OFFLOAD
    return next((k for o, s, k in _TABLE if o.fullmatch(where) and s.fullmatch(name)), USER)
