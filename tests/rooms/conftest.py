import pytest
from rooms.nodes import Pair


@pytest.fixture(scope="session", params=["small", "large"])
def both_modes(request, tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp(request.param), request.param)
    try:
        yield pair.start()
    finally:
        pair.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("small"))
    try:
        yield pair.start()
    finally:
        pair.close()


@pytest.fixture
def pair(tmp_path):
    """Not started."""
    pair = Pair(tmp_path)
    try:
        yield pair
    finally:
        pair.close()
