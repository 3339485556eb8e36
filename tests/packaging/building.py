"""How a release is built."""
import os
import subprocess
import sys
from pathlib import Path


def run(*command, cwd: Path) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env["SOURCE_DATE_EPOCH"] = "1700000000"
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True,
                          text=True, timeout=1800)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def build_wheel(sdist: Path, folder: Path) -> Path:
    """As `make wheel` does, of the unpacked archive in `folder`."""
    run("tar", "-xf", sdist, cwd=folder)
    run(sys.executable, "-I", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        "-w", folder, ".", cwd=folder / sdist.name.removesuffix(".tar.gz"))
    (built,) = folder.glob("*.whl")
    return built
