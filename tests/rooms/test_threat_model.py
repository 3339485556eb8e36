"""Every proof that docs/threat-model.md names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_proofs_exist():
    text = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    proofs = re.findall(r"`(tests/[\w/.]+|)(?:::(\w+))?`", text)
    paths = {path for path, _ in proofs if path}
    tests = {name for _, name in proofs if name}
    assert len(paths) >= 8 and len(tests) >= 8
    assert not [p for p in paths if not (ROOT / p).exists()]
    known = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").glob("*/test_*.py"))
    assert not [t for t in tests if f"def {t}(" not in known]
