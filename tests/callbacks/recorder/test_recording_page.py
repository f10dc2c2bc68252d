"""The page that says what is recorded names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs" / "reference" / "recording.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert len(named) > 50
    assert sorted(named - defined) == []


def test_every_shape_names_its_test():
    page = (ROOT / "docs" / "reference" / "recording.md").read_text(encoding="utf-8")
    shapes = page.split("## Shapes")[1].split("\n## ")[0]
    rows = [line for line in shapes.splitlines() if line.startswith("| ")][1:]
    assert [row for row in rows if not re.search(r"\| `test_\w+` \|$", row)] == []
