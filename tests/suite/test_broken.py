"""Each check of `wgpy suite check` fails for a library that is wrong in what it looks at, and says
why; for the same library without that fault it passes. F8."""

import re
import subprocess
from pathlib import Path

import pytest
from needs import need, need_header

from wgpy.conformance import checks, runner
from wgpy.conformance.build import INCLUDE

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples/suites/p384-aes256gcm-sha384"

# Fault in broken.c, the check that finds it, what it says.
FAULTS = [
    ("VERSION", "table", "ABI version 2"),
    ("SIZES", "table", "tag_size is 64, not 12 to 32"),
    ("NAME", "table", "name is not of lower case letters"),
    ("NO_FUNCTION", "table", "open_one is missing"),
    ("NO_SYMBOL", "table", "it exports no wgpy_suite"),
    ("NO_TABLE", "table", "gives no table"),
    ("WRONG_ANSWER", "vectors", "hash does not give the answer of vector .*FIPS 180-4"),
    ("NO_VECTOR", "vectors", "no vector is of cookie_seal"),
    ("SELF_TEST", "self-test", "broken on purpose"),
    ("SELF_TEST_HANGS", "self-test", "does not come back within"),
    ("NO_COMMUTE", "keys", "does not commute"),
    ("CRASHES", "keys", "SIGSEGV in dh"),
    ("EXITS", "keys", "ends by itself, with status 0"),
    ("TAKES_ZEROS", "points", "dh takes zeros and gives zeros"),
    ("LOW_ORDER", "points", "a point of low order: 24 keys give 4 secrets"),
    ("FORMS", "points", "bits of a public key make no difference"),
    ("CUTS", "hash", "depends on how .* cut into parts"),
    ("PRINTS", "hash", "it prints: 'hashing"),
    ("SHORT_KEY", "mac", "does not look at bit .* of a key"),
    ("LONGEST", "lengths", "seal refuses 65535 bytes"),
    ("BATCH", "batches", "packet 32 of a batch of 33"),
    ("PART_OF_TAG", "forgeries", "takes a packet .* another bit of the tag"),
    ("PLAINTEXT", "forgeries", "open leaves plaintext"),
    ("COUNTER", "forgeries", "bit of the counter"),
    ("ADDITIONAL", "additional", "takes another bit .* of additional data"),
    ("NONCE", "cookie", "another bit .* of the nonce"),
    ("WRITES", "bounds", "SIGSEGV in seal"),
    ("READS", "bounds", "SIGSEGV in hash"),
    ("CHANGES_INPUT", "bounds", "SIGSEGV in dh"),
    ("ALLOCATES", "allocations", "[0-9]+ allocations in"),
    ("CALLS", "calls", "system call [0-9]+ in seal"),
    ("SHARES", "threads", "MACs are others"),
    ("KEEPS_KEY", "wiping", "bytes of the key after context_free are left in memory"),
    ("KEEPS_BLOCK", "wiping", "hold [0-9]+ bytes that depend on the key"),
    ("KEEPS_PRIVATE", "wiping", "bytes of the private key after dh are left"),
    ("STARTS_THREAD", "process", "it has started threads"),
    ("DESCRIPTOR", "process", "leaves descriptors open"),
    ("SIGNAL", "process", "changes what signal 13 does"),
    ("COMPARES", "timing", "open, .*times differ"),
    ("MAC_TIME", "timing", "mac, .*times differ"),
    ("DH_TIME", "timing", "dh, .*times differ"),
    ("SELF_TEST", "node", "self-test: .*broken on purpose"),
    ("OVERRUNS", "sanitized", "mac: .*"),
    ("BRANCHES", "secrets", "depends on a secret in bad_mac"),
]


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    need("cc")
    need_header("openssl/evp.h", "libssl-dev")
    return checks.Kit(tmp_path_factory.mktemp("kit"))


def broken(folder: Path, fault: str) -> Path:
    library = folder / f"{fault.lower()}.so"
    subprocess.run(["cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden",
                    f"-DBREAK={fault}", f"-DBREAK_NO_SYMBOL={int(fault == 'NO_SYMBOL')}", f"-I{INCLUDE}", f"-I{EXAMPLE}",
                    HERE / "broken.c", "-o", library, "-lcrypto", "-pthread"], check=True, timeout=300)
    return library


def verdicts(report: checks.Report) -> dict[str, tuple[str, str]]:
    return {r.name: (r.verdict, "; ".join(r.lines)) for r in report.results}


def test_without_a_fault_every_check_passes(kit, tmp_path):
    need("valgrind")
    found = verdicts(checks.examine(broken(tmp_path, "GOOD"), kit))
    assert set(found) == set(checks.NAMES)
    assert {name: said for name, said in found.items() if said[0] not in ("passed", "noted")} == {}


@pytest.mark.parametrize("fault, check, reason", FAULTS, ids=[fault for fault, *_ in FAULTS])
def test_a_fault_is_found_by_its_check(kit, tmp_path, monkeypatch, fault, check, reason):
    if check == "secrets":
        need("valgrind")
    monkeypatch.setattr(runner, "SECONDS", 3.0 if fault == "SELF_TEST_HANGS" else runner.SECONDS)
    report = checks.examine(broken(tmp_path, fault), kit, (check,))
    verdict, lines = verdicts(report)[check]
    assert verdict == report.verdict == "failed"
    assert re.search(reason, lines), lines


def test_every_check_that_can_fail_has_a_fault():
    assert set(checks.NAMES) - {check for _, check, _ in FAULTS} == {"speed"}
