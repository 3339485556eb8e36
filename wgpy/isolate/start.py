"""How a Python program of ours is started, and what each does before anything else.

Started as root in a directory that others can write to, plain Python would run their
files: `-m` looks for modules in the current directory first, a script in its own
directory, and PYTHONPATH, PYTHONHOME and the user's site-packages name more of them."""

import contextlib
import os
import resource
import sys

DESCRIPTORS = 4096
DEFAULT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def python(module: str, *arguments: object) -> list[str]:
    """The command line that runs `module` in this Python, isolated: modules come from the
    standard library and the installed packages only, and PYTHON* variables are ignored."""
    return [sys.executable, "-I", "-m", module, *map(str, arguments)]


def python_in(environment: dict[str, str], module: str, *arguments: object) -> tuple[list[str], dict[str, str]]:
    """As `python`, for a process whose whole environment is `environment`: PYTHON*
    variables in it hold, which -I would ignore. ValueError when it names modules."""
    if named := {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"} & environment.keys():
        raise ValueError(f"{', '.join(sorted(named))} must not be given to a program of ours")
    return [sys.executable, "-P", "-s", "-m", module, *map(str, arguments)], environment


def begin() -> None:
    """To be called first in every program; what we open or start depends on it."""
    open_standard_descriptors()
    raise_descriptor_limit()
    os.environ["PATH"] = absolute_path(os.environ.get("PATH", ""))


def open_standard_descriptors() -> None:
    """Who starts a program may have closed 0, 1 or 2; what is opened next would take its
    place, and be read, written or closed as if it were the terminal. A closed input or
    output stays an error (EBADF) to whoever uses it; messages to a closed 2 are lost."""
    for fd, name, flags, mode in ((0, "stdin", os.O_WRONLY, "r"), (1, "stdout", os.O_RDONLY, "w"),
                                  (2, "stderr", os.O_WRONLY, "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # gets `fd`, the lowest that is free
            setattr(sys, name, open(fd, mode, closefd=False))


def raise_descriptor_limit() -> None:
    """To DESCRIPTORS, or as far as this process may: a node holds some 60 at once, and the
    limit that a shell had is no reason to fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((DESCRIPTORS, max(hard, DESCRIPTORS)), (hard, hard)):
        if 0 <= soft < DESCRIPTORS:
            with contextlib.suppress(OSError, ValueError):
                return resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def absolute_path(path: str) -> str:
    """PATH without entries that depend on the current directory, where `ip` or `nft` may
    be anyone's file; an empty entry means that directory, too."""
    return os.pathsep.join(p for p in path.split(os.pathsep) if p.startswith("/")) or DEFAULT_PATH
