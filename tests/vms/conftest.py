import shutil
from pathlib import Path

import pytest
from images_under_test import build_once
from needs import need
from vms.standins import stand_in


@pytest.fixture(scope="session")
def standing_in(tmp_path_factory) -> Path:
    """The images as `make guests` makes them, with small programs in the rooms' place."""
    need("qemu-system-x86_64", "mkfs.ext4")
    folder = tmp_path_factory.mktemp("standing-in")
    shutil.copytree(build_once(tmp_path_factory.getbasetemp(), "amd64").folder, folder, dirs_exist_ok=True)
    for room in ("black", "crypto", "red"):
        stand_in(folder, room)
    return folder
