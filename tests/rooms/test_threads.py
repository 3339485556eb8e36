"""P1: with more cores the crypto room seals and opens with more threads."""
import os

import pytest

from wgpy.lab.encryptors import Pair
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns


def test_crypto_room_has_threads_for_each_direction(tmp_path, monkeypatch):
    monkeypatch.setenv("WGPY_QUEUES", "3")
    pair = Pair(tmp_path)
    try:
        pair.start()
        assert ping(pair.a.host, pair.b.address, wait=60).lost == 0
        crypto = pair.a.pid("crypto")
        wait_until(lambda: len(os.listdir(f"/proc/{crypto}/task")) == 1 + 2 * 3, 60, "a thread of each direction and queue")
    finally:
        pair.close()
