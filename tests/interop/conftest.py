import os

import pytest
from arena import PEERS, Arena
from longrun import LongRun


@pytest.fixture(scope="session")
def arenas(tmp_path_factory):
    """Arenas by peer, made when first asked for."""
    directory = tmp_path_factory.mktemp("served")
    (directory / "file").write_bytes(os.urandom(200_000))
    made: dict[str, Arena] = {}

    def get(peer: str) -> Arena:
        if peer not in made:
            made[peer] = Arena(peer, directory)
        return made[peer]

    yield get
    for arena in made.values():
        arena.close()


@pytest.fixture(scope="module", params=PEERS)
def peer(request):
    return request.param


@pytest.fixture
def arena(arenas, peer):
    arena = arenas(peer)
    marks = [len(t.log()) for t in (arena.ours, arena.theirs)]
    yield arena
    for tunnel, mark in zip((arena.ours, arena.theirs), marks):
        print(f"--- {tunnel.impl.name} ---\n{tunnel.log()[mark:][-6000:]}")


def pytest_collection_modifyitems(items):
    """What waits for the long run comes last, so that the wait overlaps everything."""
    items.sort(key=lambda item: "long_run" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def long_run():
    run = LongRun()
    yield run
    run.close()


@pytest.fixture(scope="session", autouse=True)
def _start_long_run_early(request):
    if any("long_run" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("long_run")
