"""Libraries of suites for labs and benchmarks: whatever file is named is meant."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wgpy.errors import HostError
from wgpy.isolate.library import Library


@contextmanager
def loaded(path: str | None) -> Iterator[Library | None]:
    """Tried as a node tries it, its digest taken from the file; None for none. HostError."""
    if path is None:
        yield None
        return
    file = Path(path).resolve()
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
    library = Library(str(file), digest)
    try:
        yield library
    finally:
        library.close()
