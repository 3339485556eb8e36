"""Public functions and classes say what they take, give and raise. Those that do not are
counted, and the count may only fall."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = 74  # put it down whenever the test counts less


def public(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Of a module, and methods of its public classes. What is nested in a function is nobody
    else's, and a property's setter says what its getter does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list):
                yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", inner) for name, inner in public(node))


def without(trees: dict[str, ast.Module]) -> list[str]:
    """What a base class says of a method, as an interface does, need not be said again, and
    help() shows it."""
    found = [(path, name, node) for path, tree in trees.items() for name, node in public(tree)]
    bases = {(path, name): {ast.unparse(b).rpartition(".")[2] for b in node.bases}
             for path, name, node in found if isinstance(node, ast.ClassDef)}
    said = {name for _, name, node in found if ast.get_docstring(node)}
    return [f"{path}:{node.lineno} {name}" for path, name, node in found if not ast.get_docstring(node)
            and not any(f"{base}.{name.rpartition('.')[2]}" in said for base in bases.get((path, name.rpartition(".")[0]), ()))]


def undocumented() -> list[str]:
    return without({str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
                    for path in sorted((ROOT / "wgpy").rglob("*.py"))})


def test_no_more_public_names_without_a_docstring():
    found = undocumented()
    assert len(found) <= WITHOUT, f"{len(found)}, and only {WITHOUT} may lack one. All:\n" + "\n".join(found)


def test_the_count_sees_classes_methods_and_functions():
    tree = ast.parse("class A:\n def f(self): 'x'\n def g(self): pass\n def _h(self): pass\n"
                     "class _B:\n def f(self): pass\ndef c():\n def d(): pass\nasync def e(): 'x'\n")
    assert [(n, bool(ast.get_docstring(node))) for n, node in public(tree)] == [
        ("A", False), ("A.f", True), ("A.g", False), ("c", False), ("e", True)]


def test_what_a_base_says_counts():
    trees = {"a": ast.parse("class A:\n 'x'\n def f(self): 'x'\n def g(self): pass\n"),
             "b": ast.parse("class B(a.A):\n 'x'\n def f(self): pass\n def g(self): pass\nclass C:\n 'x'\n def f(self): pass\n")}
    assert without(trees) == ["a:4 A.g", "b:4 B.g", "b:7 C.f"]
