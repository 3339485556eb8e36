"""PreUp, PostUp, PreDown and PostDown, run as wg-quick(8) runs them: by bash with errexit,
pipefail and extglob in the C locale, knowing $INTERFACE and $CONFIG_FILE."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable

from wgpy.cli.interrupt import Interrupted, Signals
from wgpy.config.values import quoted
from wgpy.errors import HostError

_ENDS_WITHIN = 5.0  # s from SIGTERM to SIGKILL of a hook


class Hooks:
    """Of one tunnel. `say` gets each command; `out` is where they write, None our stdout."""

    def __init__(self, name: str, path: str, say: Callable[[str], None], signals: Signals, out: int | None = None):
        self._name, self._path, self._say, self._signals, self._out = name, path, say, signals, out

    def run(self, hooks: tuple[str, ...]) -> None:
        """Raises HostError at the first that fails."""
        for hook in hooks:
            command = hook.replace("%i", self._name)
            self._say(command)
            status = self._status(command)
            if status:
                raise HostError(f"{quoted(command)} ended with status {status}")

    def run_all(self, hooks: tuple[str, ...]) -> list[str]:
        """Runs each of them whatever the others do; what failed, in words."""
        failed = []
        for hook in hooks:
            try:
                self.run((hook,))
            except Interrupted:
                raise
            except HostError as e:
                self._say(f"failed: {e}")
                failed.append(str(e))
        return failed

    def _status(self, command: str) -> int:
        shell = shutil.which("bash")
        if shell is None:
            raise HostError("bash is missing: install it, hooks are written for it")
        # From memory: a hook may contain a key, and everybody may read arguments.
        script = os.memfd_create("hook")
        try:
            os.write(script, os.fsencode(f"exec {script}<&-\nINTERFACE={shlex.quote(self._name)}\n"
                                         f"CONFIG_FILE={shlex.quote(self._path)}\n{command}\n"))
            process = subprocess.Popen(
                [shell, "-e", "-o", "pipefail", "-O", "extglob", f"/proc/self/fd/{script}"],
                pass_fds=(script,), stdout=self._out, env={**os.environ, "LC_ALL": "C"})
        finally:
            os.close(script)
        try:
            with self._signals.waiting():
                status = process.wait()
        except Interrupted:
            _end(process)
            raise
        return status if status >= 0 else 128 - status


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
