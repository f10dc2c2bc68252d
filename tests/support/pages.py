"""The pages of the documentation: their blocks of code, their headings and their links."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
}

FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]+?) -->\n+)?"
    r"(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
REASON = re.compile(r"not run: (.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its code, and the comment in the line before."""

    page: str
    line: int
    language: str
    code: str
    note: str

    @property
    def reason(self):
        """Why it is not run, or None."""
        found = REASON.fullmatch(self.note)
        return found[1] if found else None

    @property
    def file(self):
        """The file that it is written to, or None."""
        found = re.fullmatch(r"file: (\S+)", self.note)
        return found[1] if found else None

    def __str__(self):
        return f"{self.page}:{self.line}"


@cache
def text_of(page):
    return PAGES[page].read_text(encoding="utf-8")


@cache
def blocks_of(page):
    """Return the fenced blocks of a page, in order."""
    text, found = text_of(page), []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] or "\n" for line in match["code"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(page, line, match["language"], code, match["note"] or ""))
    return found


def prose_of(page):
    """Return the text of a page without its code."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", text_of(page)))


def anchors_of(page):
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links_of(page):
    """Return what the links and pictures of a page lead to."""
    return re.findall(r"\]\(([^)\s]+)\)", prose_of(page))
