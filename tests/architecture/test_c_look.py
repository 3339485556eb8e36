"""How C looks here: the kernel's braces, four columns an indentation, stars at the name. Rules
that can be told line by line; a formatter would set tables and short functions otherwise."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("wgpy/_fast/c", "wgpy/suite", "wgpy/conformance", "tests", "benchmarks", "examples")
FILES = sorted(p for top in TOPS for p in (ROOT / top).rglob("*.[ch]"))
LENGTH = 140  # columns, as for Python
TYPE = r"(?:void|bool|char|(?:unsigned |u?int)\w*|size_t|ssize_t|(?:struct|enum) \w+)"
# what stands before a parenthesis with a space between
SPACED = r"if|for|while|switch|return|case|do|else|defined|sizeof|__attribute__|__asm__|__volatile__|volatile|goto|in"
RULES = {
    "keyword": (r"\b(if|for|while|switch)\(", "a space after if, for, while and switch"),
    "call": (rf"\b(?!(?:{SPACED})\b)[a-z_][a-z0-9_]* \((?!\*)", "none before the parenthesis of a call"),
    "star": (rf"\b{TYPE}(?:\*+ ?| \*+ )\w", "a pointer's star at the name"),
    "cast": (rf"\({TYPE}(?: \*+)?\) (?=\w)(?!{SPACED})", "none after a cast"),
    "comma": (r",(?=[^\s\\)}\]])", "a space after a comma"),
    "inside": (r"\( |(?<=\S)(?<!;) \)", "none inside parentheses"),
    "operator": (r"[\w)\]](?:==|!=|&&|\|\||[-+*/|&^]=|<<=|>>=)|(?:==|!=|&&|\|\||[-+*/|&^]=|<<=|>>=)(?=[\w(])", "spaces around an operator"),
    "brace": (r"^ +\{$|^[a-z].*\) ?\{$", "a brace ends its line; a function's has one"),
    "cuddle": (r"^\s*\}\n\s*else\b", "else beside the brace before it"),
    "tab": (r"\t", "no tab"),
    "trailing": (r"[ \t]+$", "nothing at a line's end"),
    "length": (rf"^.{{{LENGTH + 1}}}", f"at most {LENGTH} columns"),
    "blank": (r"\n\n\n", "one blank line at a time"),
    "indentation": (r"(?<=[;{}]\n)(?:    )* {1,3}(?=\w)", "indentation by four"),
}
WHOLE = {"tab", "trailing", "length"}  # comments, too


def bare(text: str) -> str:
    """Without comments, strings and directives, in the same places."""
    gone = r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'|^[ ]*#(?:\\\n|[^\n])*"
    blank = lambda m: m[0][0] + re.sub(r"[^\n]", "_", m[0][1:-1]) + m[0][-1] if m[0][0] in "\"'" else re.sub(r"[^\n]", " ", m[0])
    return re.sub(r"[ ]+$", "", re.sub(gone, blank, text, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE)


def faults(text: str, rule: str) -> list[str]:
    pattern, says = RULES[rule]
    looked = text if rule in WHOLE else bare(text)
    if rule == "blank":
        looked = re.sub(r"^[^\n]+$", "x", text, flags=re.MULTILINE)
    return [f"{looked.count(chr(10), 0, m.start()) + 1}: {says}" for m in re.finditer(pattern, looked, re.MULTILINE)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_c_looks_as_it_does(path):
    text = path.read_text(encoding="utf-8")
    assert [f for rule in RULES for f in faults(text, rule)] == []
    assert text.endswith("\n") and not text.endswith("\n\n")


GOOD = """/* a comment,with( what it likes */
static int f(const char *name, uint8_t **out)
{
    if (name && *out != NULL) {
        g((uint32_t)*name, ",( no code");
    } else if (!name)
        return h(1, 2);
    for (;;)
        x += (struct pair){1, 2}.a << 2;
}
"""


def test_good_code_passes():
    assert [f for rule in RULES for f in faults(GOOD, rule)] == []


@pytest.mark.parametrize("rule, good, bad", [
    ("keyword", "if (name", "if(name"), ("call", "h(1", "h (1"),
    ("star", "char *name", "char* name"), ("star", "char *name", "char * name"),
    ("cast", "(uint32_t)*name", "(uint32_t) name"), ("comma", "1, 2)", "1,2)"), ("inside", "h(1", "h( 1"), ("inside", "2);", "2 );"),
    ("operator", "name && *out", "name&& *out"), ("operator", "x += (", "x +=("), ("brace", "out)\n{", "out) {"),
    ("brace", "NULL) {", "NULL)\n    {"), ("cuddle", "} else if", "}\n    else if"), ("tab", "        return", "\treturn"),
    ("trailing", "2);", "2); "), ("length", "2);", "2);" + " " * 140 + ";"), ("blank", "    for", "\n\n    for"),
    ("indentation", "        g(", "      g("), ("indentation", "    if (", "   if (")])
def test_each_rule_can_fail(rule, good, bad):
    assert good in GOOD and faults(GOOD.replace(good, bad, 1), rule)
