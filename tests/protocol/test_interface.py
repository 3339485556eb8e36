"""The plane in C, the one in pure Python and the tests' fake are one interface, and what
the drivers are told of them is what they are."""

import ast
import inspect
from pathlib import Path

import pytest
from fake_plane import FakePlane

from wgpy._fast import plane as module
from wgpy.loop import Loop, Watcher
from wgpy.protocol.device import Device
from wgpy.protocol.interface import Plane, ProtocolCore
from wgpy.protocol.plane import Plane as Specification

ROOT = Path(__file__).resolve().parents[2]
PLANES = {"C": module.Plane, "specification": Specification, "fake": FakePlane}
ONLY_IN_C = {"lengths", "seal_stage", "open_stage", "lookup", "set_counter"}


def members(protocol) -> dict[str, object]:
    return {name: value for name, value in vars(protocol).items() if not name.startswith("_")}


def parameters(function) -> list[tuple]:
    """Names, kinds and defaults: what a caller depends on."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def differences(protocol, kind) -> list[str]:
    found = []
    for name, wanted in members(protocol).items():
        has = getattr(kind, name, None)
        if isinstance(wanted, property):
            if has is None or callable(has):
                found.append(f"{name} is no attribute")
        elif has is None or parameters(has) != parameters(wanted):
            found.append(f"{name}: {has and parameters(has)}, not {parameters(wanted)}")
    return found


@pytest.mark.parametrize("kind", PLANES.values(), ids=PLANES)
def test_planes_are_one_interface(kind):
    assert differences(Plane, kind) == []


def test_the_interface_is_all_that_the_planes_have():
    for name, kind in PLANES.items():
        public = {n for n in dir(kind) if not n.startswith("_")} - set(members(Plane))
        if name == "C":
            assert public == ONLY_IN_C
        else:  # the specification has stages of its own
            assert public <= {"seal", "open", "pull"}


@pytest.mark.parametrize("protocol, kind", [(ProtocolCore, Device), (Watcher, Loop)])
def test_core_and_loop_are_what_their_drivers_expect(protocol, kind):
    assert differences(protocol, kind) == []


def test_a_difference_is_seen():
    class Other(FakePlane):
        def purge(self, slot, more):
            return 0

        received = None
    assert [d.partition(":")[0] for d in differences(Plane, Other)] == ["purge", "received"]


def definitions(path: str) -> dict[str, str]:
    """Each method of class Plane with its annotations, as written."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    plane = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Plane")
    return {f.name: f"({ast.unparse(f.args)}) -> {f.returns and ast.unparse(f.returns)}"
            for f in plane.body if isinstance(f, ast.FunctionDef)}


@pytest.mark.parametrize("path", ["wgpy/protocol/plane.py", "wgpy/_fast/plane.pyi"])
def test_types_are_those_of_the_interface(path):
    wanted, has = definitions("wgpy/protocol/interface.py"), definitions(path)
    assert {name: has[name] for name in has.keys() & wanted.keys()} == {
        name: wanted[name] for name in has.keys() & wanted.keys()}
