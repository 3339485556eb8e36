"""Applications for tests, and what became of them when they were last looked at by a person.
`python tests/camkes/applications.py` writes golden/ anew."""

import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from site_files import LIMA, edited, site_of  # noqa: E402

from wgpy.camkes import drawing, platform, render  # noqa: E402
from wgpy.camkes.check import check  # noqa: E402

GOLDEN = HERE / "golden"
ARM, X86, BOCHS = "qemu-arm-virt", "x86-supermicro", "x86-bochs"
ALL = [(ARM, "large"), (ARM, "small"), (X86, "large"), (X86, "small"), (BOCHS, "large")]
GIVEN = {render.PLATFORM_FILE, render.SITE_FILE}  # what was read and is only carried along


def site_text(mode: str) -> str:
    return edited(LIMA, ('mode = "small"', f'mode = "{mode}"'))


@cache
def files(machine: str, mode: str) -> dict[str, bytes]:
    text = site_text(mode)
    return render.render(site_of(text), text.encode(), platform.load(machine))


def as_text(machine: str, mode: str) -> str:
    """All that is made, one file behind the other."""
    made = files(machine, mode)
    app, _ = check(made, {})
    made = made | {render.DRAWING: drawing.draw(app).encode()}
    return "".join(f"==> {name} <==\n{made[name].decode()}" for name in sorted(made.keys() - GIVEN))


def main() -> None:
    for machine, mode in ALL:
        (GOLDEN / f"{machine}-{mode}.txt").write_text(as_text(machine, mode), encoding="utf-8")


if __name__ == "__main__":
    main()
