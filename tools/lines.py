"""Counts the lines of Python, Cython and C by room, tests and benchmarks not included.

Prints all lines and, beside them, those that are neither blank nor comment.
"""
from collections import defaultdict
from pathlib import Path

LANGUAGES = {".py": "Python", ".pyi": "Python", ".pyx": "Cython", ".pxd": "Cython", ".pxi": "Cython", ".c": "C", ".h": "C"}


def count(path: Path) -> tuple[int, int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    code, block = 0, False
    for line in (text.strip() for text in lines):
        if path.suffix in (".c", ".h"):
            block = block or line.startswith("/*")
            code += bool(line) and not block and not line.startswith("//")
            block = block and "*/" not in line
        else:
            code += bool(line) and not line.startswith("#")
    return len(lines), code


def main() -> None:
    root = Path(__file__).resolve().parent.parent / "wgpy"
    rooms: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path in root.rglob("*"):
        generated = path.parent == root / "_fast" and path.suffix == ".c"
        if path.suffix in LANGUAGES and not generated:
            room = path.relative_to(root).parts[0] if path.parent != root else "(top)"
            total, code = count(path)
            rooms[room][LANGUAGES[path.suffix]] += total
            rooms[room]["all"] += total
            rooms[room]["code"] += code
    columns = ("Python", "Cython", "C", "all", "code")
    print(f"{'room':<12}" + "".join(f"{c:>8}" for c in columns))
    for room in sorted(rooms):
        print(f"{room:<12}" + "".join(f"{rooms[room][c]:>8}" for c in columns))
    print(f"{'sum':<12}" + "".join(f"{sum(r[c] for r in rooms.values()):>8}" for c in columns))


if __name__ == "__main__":
    main()
