"""The reader of CAmkES (A4): what it cannot read it refuses, with file and line, and never passes over."""

import pytest
from applications import ARM, files
from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.camkes.syntax import Call, End, parse
from wgpy.errors import ConfigError

WORDS = st.sampled_from([
    "component", "assembly", "composition", "configuration", "connection", "from", "to", "dataport", "Buf", "a", "b", "{", "}", "(", ")",
    "[", "]", ";", ":", ",", ".", "=", "<<", "&", "~", "1", "0x10", '"t"', "/* c */", "// c\n",
    "\n#include <x.h>\n", "import", "<", ">", "\n#if 1\n", "\0"])


def whole(configuration: str, composition: str = "") -> str:
    return f"assembly {{ composition {{ {composition} }} configuration {{ {configuration} }} }}"


@pytest.mark.parametrize("text, value", [
    ("1 << 27", 1 << 27), ("0x1fffffff & ~0x1fffe", 0x1FFE0001), ("[]", []), ('["a", "b",]', ["a", "b"]), ("false", False), ("True", True),
    ('dtb([{"path": "/x@1"}])', Call("dtb", [{"path": "/x@1"}])), ('{"a": {"b": 1},}', {"a": {"b": 1}}), ("name", "=name"), ('""', "")])
def test_values(text, value):
    assert parse(whole(f"a.b = {text};"), "f").settings["a", "b"].value == value


def test_connections_and_their_lines():
    document = parse(whole("", "\ncomponent A a;\nconnection X c(from a.x, from a.y, to b.z);"), "f")
    found = document.connections["c"]
    assert (found.connector, found.sources, found.sinks, found.line) == ("X", [End("a", "x"), End("a", "y")], [End("b", "z")], 3)
    assert document.instances["a"].type == "A"


@pytest.mark.parametrize("text, said", [
    ("#define X 1\n", r"f:1: of the preprocessor only #include <file> is read"),
    ('#include "x.h"\n', r"f:1: of the preprocessor"),
    ("import <a.camkes>;\nimport <b\n", r"f:3: the end where '>' belongs"),
    (whole("a.b = 1;\na.b = 2;"), r"f:2: a where another attribute, because line 1 has this one, belongs"),
    (whole('a.b = {"k": 1, "k": 2};'), r"f:1: \{ where a key for each value belongs"),
    (whole("a.b = ;"), r"f:1: ; where a value belongs"),
    (whole("a.b = 1 << 64;"), r"a shift of less than 64"),
    (whole("a.b = " + "[" * 40 + "]" * 40 + ";"), r"a shallower value belongs"),
    (whole("", "component A a; component B a;"), r"another name, because this one is taken"),
    (whole("", "connection X c(from a.b);"), r"c where an end in each direction belongs"),
    (whole("", "connection X c(within a.b);"), r"within where from or to belongs"),
    (whole("", "group g { }"), r"f:1: group where component or connection belongs"),
    (whole("", "") + whole("", ""), r"assembly where import, component, struct or the one assembly belongs"),
    ("component A { dataport Buf(x) y; }", r"x where a value belongs"),
    ("component A { emits E e; emits E e; }", r"another name"),
    ("component A { include \"x.h\"; }", r"f:1: \"x.h\" where|include where"),
    ("component A { control", r"the end where ';' belongs"),
    ("procedure P { }", r"f:1: procedure where import"),
    ("\n\n@", r"f:3: '@' is no part of CAmkES"),
    ("/* open", r"f:1: / where a name belongs"),
    ("component A { vm(0) }", r"vm where a statement belongs"),
])
def test_what_is_not_read_is_refused_with_its_line(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text, "f")


@settings(deadline=None)
@given(st.lists(WORDS, max_size=60).map(" ".join))
def test_any_words_are_read_or_refused(text):
    try:
        parse(text, "f")
    except ConfigError as e:
        assert str(e).startswith("f:")


@settings(deadline=None)
@given(st.data())
def test_a_piece_taken_out_of_an_assembly_is_no_crash(data):
    text = files(ARM, "small")["wgpy.camkes"].decode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    try:
        parse(text[:start] + text[end:], "f")
    except ConfigError as e:
        assert str(e).startswith("f:")
