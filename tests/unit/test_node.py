"""The lock of a node: one supervisor, and anybody may look whether there is one."""

import fcntl
import threading

import pytest

from wgpy.errors import HostError
from wgpy.node import keeper, life


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("WGPY_RUN_DIR", str(tmp_path))
    return tmp_path / "lima"


def test_one_supervisor_a_node(directory):
    first = keeper.Lock("lima")
    first.write_pid()
    with pytest.raises(HostError, match="lima is up already"):
        keeper.Lock("lima")
    assert keeper.holder("lima") is not None
    first.close()
    assert keeper.holder("lima") is None
    keeper.Lock("lima").close()


def test_a_directory_of_the_nodes_name_is_not_taken_for_its_site_file(directory, monkeypatch):
    (directory.parent / "here" / "lima").mkdir(parents=True)
    monkeypatch.chdir(directory.parent / "here")
    monkeypatch.setattr(keeper, "need_root", lambda: None)
    with pytest.raises(HostError, match="lima: no such node is up"):
        life.down("lima")


def test_who_looks_whether_it_is_up_does_not_keep_it_down(directory):
    """holder() shares the lock for a moment; `wgpy node top` does so every second."""
    keeper.Lock("lima").close()
    with open(directory / "lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.05, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        timer.start()
        keeper.Lock("lima").close()
        timer.join()
