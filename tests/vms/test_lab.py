"""`wgpy lab vms`, where it cannot be played: the whole of it is what tests of three guests do."""

import subprocess

import pytest
from needs import need

from wgpy.isolate import start


@pytest.mark.netns
def test_without_images_it_ends_with_the_remedy_and_leaves_nothing(tmp_path):
    need("qemu-system-x86_64", "iperf3", "nft")
    (tmp_path / "images").mkdir()
    done = subprocess.run(start.python("wgpy.cli", "lab", "vms", "--images", tmp_path / "images"), capture_output=True, text=True,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(tmp_path)}, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "no such file: make guests builds the images, --images DIR says where they are" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["images"]
