"""Messages, docstrings and pages are in plain English: each word on the left has a plainer one."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, text_of

PLAIN = {
    "what became of": "outcome",
    "how (it|they) stopped": "outcome",
    "nothing leads back": "no way back",
    "to be believed": "reliable",
    "told (apart|from)": "distinguished",
    "the dearest": "the most expensive",
    "for want of": "without",
    "whatever (it|they) (is|are|was|were)": "(leave it out)",
    "good alike": "successful runs like this",
    "good runs?": "successful runs",
    "(do|does) not advance": "loops",
    "after the onset": "after it started repeating",
    "side trips?": "detours",
    "walked (both ways|one way|round|more|less|as often|too rarely)": "taken, seen",
    "would have shown": "would have been found",
    "not seen to": "no difference found, not significantly",
    "as was clear after": "detected after",
    "at every look": "however often you look",
    "a push of": "a factor, or: driven by",
    "log E(?!-)": "log e-value",
    "(normal|stationary|chi-square|beta|asymptotic|same|one) law": "distribution",
    "knows? (no )?(runs|moves|labels)": "has runs",
    "with care": "may be inaccurate",
    "begun? anew": "start again",
    "stood in another place": "out of order",
    "turned down": "rejected",
    r"(?<!there )(is|was) no (state|move|text|number|table|list|key|valid)": "is not a",
}
"""What is not written, as a pattern, and what to write."""

SOURCES = [
    path
    for floor in ("plugin", "callbacks", "analyzers")
    for kind in ("*.py", "*.js")
    for path in sorted((ROOT / floor).rglob(kind))
    if "vendor" not in path.parts and not any(part.is_symlink() for part in path.parents)
]


def find_dialect(text):
    """Return what should be written in another way, and how."""
    text = " ".join(text.split())
    return {
        found.group(): plain
        for pattern, plain in PLAIN.items()
        for found in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE)
    }


def strings_of(path: Path):
    """Yield the texts of a source file: its strings, without what is put into them."""
    if path.suffix != ".py":
        yield path.read_text(encoding="utf-8")
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_in_plain_english(page):
    assert find_dialect(text_of(page)) == {}


def test_messages_and_docstrings_are_in_plain_english():
    assert len(SOURCES) > 100
    found = {
        str(path.relative_to(ROOT)): dialect
        for path in SOURCES
        if (dialect := find_dialect("\n".join(strings_of(path))))
    }
    assert found == {}


def test_the_check_finds_what_it_looks_for():
    assert find_dialect("the potentials\nare not seen to differ") == {
        "not seen to": "no difference found, not significantly"
    }
    assert find_dialect("there is no state 'a'; the agent walked on") == {}
