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
