from collections.abc import Callable
from functools import partial

import pytest
from images_under_test import Built, build_once


@pytest.fixture(scope="session")
def built_for(tmp_path_factory) -> Callable[[str], Built]:
    """All three images for an architecture, once a run."""
    return partial(build_once, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def built(built_for) -> Built:
    """Those for this machine."""
    return built_for("amd64")
