"""What opens a node's key store, found outside the rooms and handed to crypto as a
descriptor: nobody here reads it."""

import mmap
import os
import shutil
import subprocess
from pathlib import Path

from wgpy.errors import HostError
from wgpy.isolate import kernel

ENCRYPTED = ".cred"  # suffix of what systemd-creds(1) encrypted
_SECONDS = 60


def find(node: str, path: str | None) -> dict[str, int]:
    """Descriptors for the crypto room: of the credential `path`; else of systemd's
    (LoadCredential=wgpy-NODE or wgpy); else the terminal. And a page in which the room
    keeps, for its restart, what a terminal or a change of the passphrase has unlocked.
    HostError."""
    return _source(node, path) | {"unlocked": kernel.secret_memory("unlocked", mmap.PAGESIZE)}


def of_systemd(node: str) -> Path | None:
    """What a unit was given by LoadCredential=, if anything."""
    if directory := os.environ.get("CREDENTIALS_DIRECTORY"):
        for name in (f"wgpy-{node}", "wgpy"):
            if (credential := Path(directory) / name).exists():
                return credential
    return None


def _source(node: str, path: str | None) -> dict[str, int]:
    if path is not None:
        return {"credential": _open(Path(path), node)}
    if (credential := of_systemd(node)) is not None:
        return {"credential": _open(credential, node)}
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        raise HostError("the key store is locked, and there is no terminal to ask for the passphrase: "
                        "--credential FILE, or LoadCredential= in the unit") from None
    return {"tty": tty}


def _open(path: Path, node: str) -> int:
    if path.suffix == ENCRYPTED:
        return _decrypt(path, node)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None


def _decrypt(path: Path, node: str) -> int:
    """systemd-creds writes into a memfd of ours: TPM2 or the host's key is its affair."""
    out = os.memfd_create("credential", os.MFD_CLOEXEC)
    try:
        done = subprocess.run(["systemd-creds", "decrypt", f"--name=wgpy-{node}", str(path), "-"],
                              stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as e:
        os.close(out)
        raise HostError(f"systemd-creds: {getattr(e, 'strerror', None) or 'does not end'}") from None
    if done.returncode:
        os.close(out)
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise HostError(f"{path}: systemd-creds: {said}")
    return out


def tpm2() -> str:
    """Empty when systemd-creds can seal to a TPM2 here; else what is missing, for a person."""
    if shutil.which("systemd-creds") is None:
        return "systemd-creds is missing (systemd 250 or later)"
    try:
        done = subprocess.run(["systemd-creds", "has-tpm2"], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return "systemd-creds does not work"
    lacking = [line[1:] for line in done.stdout.splitlines() if line.startswith("-")]
    return "" if done.returncode == 0 else f"no TPM2: {', '.join(lacking) or 'absent'}"
