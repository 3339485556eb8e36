"""The profile's arithmetic: what a function's time is put down to, and the bound drawn from it."""
import sys
from pathlib import Path

import pytest

from wgpy._fast import plane, ports

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import breakdown  # noqa: E402
import cores  # noqa: E402
import kinds  # noqa: E402


@pytest.mark.parametrize("where, what, room, kind", (
    (plane.__file__, "openssl_seal", True, kinds.AEAD),
    ("/usr/lib/libcrypto.so.3", "ChaCha20_ctr32", False, kinds.AEAD),
    (plane.__file__, "seal_run", True, kinds.PLANE),
    (ports.__file__, "csum_add", False, kinds.OFFLOAD),
    (ports.__file__, "ring_send", True, kinds.RINGS),
    ("/usr/lib/libc.so.6", "__memmove_avx_unaligned_erms", True, kinds.RINGS),
    ("/usr/lib/libc.so.6", "__memmove_avx_unaligned_erms", False, kinds.OFFLOAD),
    ("[kernel.kallsyms]", "_copy_from_iter", False, kinds.COPIES),
    ("[kernel.kallsyms]", "finish_task_switch.isra.0", False, kinds.SCHEDULING),
    ("[kernel.kallsyms]", "pv_native_safe_halt", False, kinds.IDLE),
    ("[nf_tables]", "nft_do_chain", False, kinds.FIREWALL),
    ("[kernel.kallsyms]", "__napi_poll", False, kinds.NETWORK),
    ("/usr/bin/iperf3", "[unknown]", False, kinds.USER),
))
def test_kind_of_work(where, what, room, kind):
    assert kinds.kind(where, what, room) == kind


def test_samples_are_put_down_to_their_process():
    lines = ("          python 22456/22470      7f1caeed8874 csum_add (/x/ports.cpython-311.so)",
             "         swapper     0/0     ffffffff821f236b pv_native_safe_halt ([kernel.kallsyms])",
             "   a b (c)  77/78     ffffffff821f236b tcp_ack ([kernel.kallsyms])", "")
    work, threads = breakdown.classify(lines, {22456: "red a"})
    assert work == {("red a", kinds.OFFLOAD): 1, ("kernel", kinds.IDLE): 1, (kinds.OTHERS, kinds.OTHERS): 1}
    assert threads == {("red a", "22470"): 1}


def test_ceiling_is_amdahls():
    """Half of the busy time for AEAD: twice as much without it. A fifth idle beside four
    fifths busy: a quarter more."""
    shares = {"wgpyd a": {kinds.AEAD: 0.4, kinds.COPIES: 0.4}, "kernel": {kinds.IDLE: 0.2}}
    assert breakdown.ceilings(shares, 3.0) == pytest.approx(
        {kinds.AEAD: 6.0, kinds.COPIES: 6.0, kinds.IDLE: 3.75})


def test_models_go_through_the_measured_points():
    for points in ({1: 1.0, 2: 1.6}, {1: 1.0, 2: 1.8, 4: 2.9}):
        for model in cores.models(points):
            for n, speedup in points.items():
                assert cores.cores_report.scaled(model, n) == pytest.approx(speedup)
    assert cores.models({1: 1.0}) == []
