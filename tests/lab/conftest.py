import hashlib
import os

import pytest

from wgpy.lab.encryptors import Pair

FILE_BYTES = 1_000_000_000
BLOCK = 1_000_000


@pytest.fixture(scope="session")
def large_file(tmp_path_factory):
    """(directory, SHA-256) of a file of 1 GB, no two blocks of it equal."""
    directory = tmp_path_factory.mktemp("served")
    noise, digest = os.urandom(BLOCK - 8), hashlib.sha256()
    with open(directory / "file", "wb") as f:
        for number in range(FILE_BYTES // BLOCK):
            block = number.to_bytes(8, "big") + noise
            f.write(block)
            digest.update(block)
    yield directory, digest.hexdigest()
    (directory / "file").unlink()


@pytest.fixture(scope="module", params=["small", "large"])
def pair(request, tmp_path_factory):
    """Two encryptors; in large mode each behind its site's router."""
    with Pair(tmp_path_factory.mktemp(request.param), request.param, routers=request.param == "large") as made:
        yield made
