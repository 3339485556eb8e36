"""What benchmarks compare stands on the same network, whoever carries the traffic."""

import pytest

from wgpy.lab import between
from wgpy.lab.traffic import iperf3

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("make", (between.encryptors, between.standalone))
def test_hosts_and_the_time_it_takes(make):
    with make() as line:
        assert len(line.a.ip("route").splitlines()) == 2
        before = line.cpu()
        assert iperf3(line.b, line.a, line.address, megabytes=50).bits_per_second > 0
        assert iperf3(line.a, line.b, line.back, megabytes=50).bits_per_second > 0
        assert 0.02 < line.cpu() - before < 30


def test_packets_of_jumbo_frames_cross_encryptors_whole():
    """MTU 9000 on LAN and WAN leaves 8920 for the tunnel; what is larger is refused, not cut."""
    def whole(line, size: int) -> bool:
        return line.a.run("ping", "-M", "do", "-c", 1, "-W", 5, "-s", size - 28, line.address, check=False).returncode == 0

    with between.encryptors(mtu=9000) as line:
        assert whole(line, 8920) and not whole(line, 8921)
