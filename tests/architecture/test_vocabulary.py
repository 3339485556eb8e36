"""What stands in C and in Python is the same: notice bits, sizes, times and bounds. Python
keeps its own, since its pure rooms import no extension module; here the compiler says what
C has."""
import re
import subprocess
from pathlib import Path

import pytest
from needs import need

from wgpy import constants, drops, notices

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "wgpy/_fast/c"
PAIRS = {
    "WG_REKEY_AFTER_TIME": "REKEY_AFTER_TIME", "WG_REJECT_AFTER_TIME": "REJECT_AFTER_TIME",
    "WG_REKEY_TIMEOUT": "REKEY_TIMEOUT", "WG_REKEY_AFTER_MESSAGES": "REKEY_AFTER_MESSAGES",
    "WG_REJECT_AFTER_MESSAGES": "REJECT_AFTER_MESSAGES", "WG_SECOND": "SECOND",
    "WG_INITIATION_LEN": "INITIATION_SIZE", "WG_RESPONSE_LEN": "RESPONSE_SIZE",
    "WG_COOKIE_REPLY_LEN": "COOKIE_REPLY_SIZE", "WG_OVERHEAD": "TRANSPORT_OVERHEAD",
    "WG_STAGED_PACKETS": "STAGED_PACKETS", "WG_HANDSHAKE_TOS": "HANDSHAKE_TOS",
    "WG_UNDER_LOAD_DEPTH": "HANDSHAKE_QUEUE_UNDER_LOAD", "WG_UNDER_LOAD_HOLD": "UNDER_LOAD_HOLD",
    "WG_UNDER_LOAD_RATE": "UNDER_LOAD_RATE", "WG_ANSWERS": "ANSWERS",
    "WG_COOKIE_REPLIES": "COOKIE_REPLIES_PER_SECOND", "WG_COOKIE_REPLIES_BURST": "COOKIE_REPLIES_BURST",
    "WG_COOKIE_LIFETIME": "COOKIE_SECRET_LIFETIME",
}


def bits() -> set[str]:
    """Names of the notice bits in C, without the prefix."""
    return set(re.findall(r"\bNOTICE_(\w+) =", (CORE / "plane/plane.h").read_text()))


@pytest.fixture(scope="module")
def in_c(tmp_path_factory) -> dict[str, int]:
    need("cc")
    place = tmp_path_factory.mktemp("vocabulary")
    names = [*PAIRS, *(f"NOTICE_{bit}" for bit in sorted(bits())), "WG_REKEY_RECEIVE_TIME"]
    prints = "".join(f'printf("{n} %llu\\n", (unsigned long long){n});' for n in names)
    (place / "say.c").write_text(f'#include <stdio.h>\n#include "plane/plane.h"\nint main(void) {{ {prints} return 0; }}\n')
    subprocess.run(["cc", "-std=gnu11", f"-I{CORE}", f"-I{ROOT / 'wgpy/suite'}", place / "say.c", "-o", place / "say"],
                   check=True, timeout=60)
    said = subprocess.run([place / "say"], capture_output=True, text=True, check=True, timeout=60).stdout
    return {name: int(value) for name, value in map(str.split, said.splitlines())}


@pytest.mark.parametrize("name", PAIRS)
def test_a_constant_is_the_same_in_both(in_c, name):
    assert in_c[name] == getattr(constants, PAIRS[name])


def test_the_receiver_rekeys_before_its_last_keepalive_and_attempt(in_c):
    assert in_c["WG_REKEY_RECEIVE_TIME"] == (constants.REJECT_AFTER_TIME - constants.KEEPALIVE_TIMEOUT
                                             - constants.REKEY_TIMEOUT)


def test_notice_bits_are_the_same_in_both(in_c):
    ours = {name: value for name, value in vars(notices).items() if name.isupper() and isinstance(value, int)}
    assert ours == {bit: in_c[f"NOTICE_{bit}"] for bit in bits()} and ours
    assert all(value.bit_count() == 1 for value in ours.values()) and len(set(ours.values())) == len(ours)


def test_drops_are_those_of_the_header():
    """The one list, in its order, came through the compiler."""
    listed = re.findall(r"^    X\((\w+), ", (CORE / "core/drops.h").read_text(), re.MULTILINE)
    assert tuple(listed) == drops.REASONS and len(listed) > 30


def test_no_extension_source_retypes_a_constant():
    """Cython takes them from the C headers or from wgpy.constants."""
    for path in (ROOT / "wgpy/_fast").glob("*.p*[xd]*"):
        found = re.findall(r"\b(148|1344|1420|131072|1024|0x88|180000000000|65535)\b", path.read_text(encoding="utf-8"))
        where = [n for n in found if (path.name, n) not in {("ports.pyx", "1024"), ("aead.pxi", "1420"),
                                                           ("endpoint.pxi", "65535")}]
        assert not where, f"{path.name} retypes {where}"
