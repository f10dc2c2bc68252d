"""Every block of code in the documentation runs, and every link leads somewhere.

A block that cannot run says why in a comment in the line before: `<!-- not run: REASON -->`. In the
blocks, `...` at the end of a list stands for more of the same. A block of `text` under the comment
`<!-- output -->` is what the block before it prints, `...` for lines left out. A block under
`<!-- file: NAME -->` is written to that file, for a command below it.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from html import unescape
from pathlib import Path

import pytest
import typer
import yaml
from commands import describe_commands
from typer.testing import CliRunner

from detailed_balance import analyze, compare
from detailed_balance.analyzers import Outcome
from detailed_balance.cli import app
from detailed_balance.diagnosis import FINDING_KINDS
from detailed_balance.readers import FORMATS
from tests.support.docs_world import environment, make_names, make_world
from tests.support.pages import FENCE, PAGES, ROOT, anchors_of, blocks_of, links_of, text_of
from tests.support.programs import run_file
from tests.support.sources import MODULES

for package in ("langgraph.checkpoint.sqlite", "pandas", "duckdb"):
    pytest.importorskip(package, reason="the made-up inputs need what `dev` installs")

NOT_RUN = {
    "make": "other checks run it",
    "pip install": "changes the environment",
    "createdb": "needs PostgreSQL",
    "export ": "sets a variable of the shell",
    "PYTHONPATH=": "the same program by another way",
    "detailed-balance demo": "tests/plugin/test_cli.py runs it",
    "detailed-balance serve": "a server, which tests/plugin/dashboard/test_dashboard.py runs",
    "python examples/": "tests/examples/test_examples.py and those of each experiment run them",
    "python -m examples.paper": "the tests of each experiment run them",
    "python -m benchmarks": "takes minutes",
    "python -m pytest": "the tests themselves",
    "pytest": "the tests themselves",
}
"""Commands that are not run, by how they begin, with the reason."""

INSTEAD = {"port=9464": "port=0"}
"""A port that is free."""

VERDICTS = {"PROBLEM", "WATCH", "OK", "UNKNOWN", "WORSE", "BETTER", "DIFFERENT", "SAME"}
MARKUP = {"text": str, "json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
HOSTS = {
    *("arxiv.org", "doi.org", "github.com", "huggingface.co", "opentelemetry.io", "pypi.org"),
    *("keepachangelog.com", "semver.org"),
}


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_runs(page, world, tmp_path, monkeypatch):
    blocks = blocks_of(page)
    if not blocks:
        return
    folder = shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(folder)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    names = make_names(page)
    printed = ""
    for block in blocks:
        if block.note == "output":
            assert_shown(block, printed)
        elif block.file:
            Path(block.file).write_text(block.code, encoding="utf-8")
        elif block.reason is None:
            printed = run_block(block, names)


def run_block(block, names):
    """Run or parse one block, and return what it printed."""
    if block.language == "console":
        return "".join(run_commands(block))
    if block.language != "python":
        assert block.language in MARKUP, f"{block}: name one of the languages that are checked"
        MARKUP[block.language](block.code)
        return ""
    code = block.code
    for before, after in INSTEAD.items():
        code = code.replace(before, after)
    code = re.sub(r"(,\s*)?\.\.\.(?=\s*\])", "", code)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile("\n" * block.line + code, block.page, "exec"), names)  # noqa: S102 - our pages
    return printed.getvalue()


def run_commands(block):
    """Run the commands of a block in turn; what stands below one must be in its output."""
    text = block.code.replace("\\\n", "")
    assert text.startswith("$ "), f"{block}: a console block begins with a command"
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        if command.startswith(tuple(NOT_RUN)):
            continue
        output = run_command(block, shlex.split(command, comments=True))
        assert_lines(block, shown, output)
        yield output


def run_command(block, words):
    """Run one command; 2 is the exit code of those that found what they look for."""
    programs = {"python": sys.executable, "head": "head"}
    assert words[0] in {"detailed-balance", *programs}, (
        f"{block}: what is {words[0]!r}? see NOT_RUN"
    )
    if words[0] == "python" and words[1].endswith(".py"):
        return run_file(*words[1:])
    if words[0] in programs or words[1] == "record":  # it becomes the program
        words[0] = programs.get(words[0], words[0])
        done = subprocess.run(words, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, f"{block}: {done.stderr}"
        return done.stdout
    words += ["--once"] if words[1] == "watch" else []
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code in ({0, 2} if {"--fail-on", "--once"} & {*words} else {0}), (
        f"{block}: {' '.join(words)}: {done.output}"
    )
    return done.output


def assert_shown(block, printed):
    assert printed, f"{block}: the block before it printed nothing"
    assert_lines(block, block.code, printed)


def assert_lines(block, shown, output):
    """Assert that each line shown is in the output, whatever the spaces."""
    lines = {" ".join(line.split()) for line in output.splitlines()}
    shown = [" ".join(line.split()) for line in shown.splitlines()]
    assert [s for s in shown if s not in lines | {"", "..."}] == [], f"{block}: not in\n{output}"


def test_the_first_screens_of_the_readme_are_those_of_the_page_that_explains_them():
    """Those are what the examples print, by `tests/examples/test_examples.py`."""
    blocks = [b for b in blocks_of("README.md") if b.code.startswith("$ python examples/")]
    shown = "\n".join(block.code.partition("\n")[2] for block in blocks)
    known = "\n".join(block.code for block in blocks_of("docs/reference/diagnosis.md"))
    shown, known = (re.sub("since .* UTC", "since", text).splitlines() for text in (shown, known))
    assert len(shown) > 10
    assert [line for line in shown if line not in {*known, "..."}] == []


def test_few_blocks_are_not_run_and_each_says_why():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    left = {str(block): block.reason for block in blocks if block.reason is not None}
    assert len(blocks) > 40
    assert 8 * len(left) <= len(blocks), left
    assert [where for where, reason in left.items() if len(reason) < 10] == []


def test_every_fence_is_found():
    fences = {page: len(re.findall(r"^ *```", text_of(page), re.MULTILINE)) for page in PAGES}
    assert fences == {page: 2 * len(blocks_of(page)) for page in PAGES}
    assert [page for page in PAGES if re.search(r"\n\n {4,}(from|import) ", text_of(page))] == []


@pytest.mark.parametrize("page", PAGES)
def test_lists_and_tables_stand_by_themselves(page):
    """GitHub finds them below a line of text as well; the site does not."""
    prose = FENCE.sub("", text_of(page))
    parts = [part.strip("\n").splitlines() for part in re.split(r"\n\s*\n", prose)]
    opens = re.compile(r" *(?:[-*] |\d+\. |\|)")
    below = [part for part in parts if any(map(opens.match, part)) and not opens.match(part[0])]
    assert below == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_one_title(page):
    assert len(re.findall(r"^# ", FENCE.sub("", text_of(page)), re.MULTILINE)) == 1


def test_the_reference_has_every_face():
    pages = tomllib.loads((ROOT / "docs" / "api.toml").read_text())
    listed = {module for page in pages.values() for module in page["modules"]}
    faces = {module for module, path in MODULES.items() if path.with_suffix(".pyi").exists()}
    assert len(faces) > 8
    assert faces - listed == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    links = [link for link in links_of(page) if not link.startswith("https://")]
    assert [link for link in links if not leads(page, link)] == []


def leads(page, link):
    """Say whether a file is there, and its heading."""
    path, _, anchor = link.partition("#")
    target = (PAGES[page].parent / path).resolve() if path else PAGES[page]
    name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
    return target.exists() and (not anchor or (name in PAGES and anchor in anchors_of(name)))


@pytest.mark.parametrize("page", PAGES)
def test_links_to_other_sites_go_to_known_ones(page):
    found = set(re.findall(r"\]\((\w+:[^)\s]*)\)", text_of(page)))
    assert [url for url in found if not re.fullmatch(r"https://[\w.:-]+(/[^\s)]*)?", url)] == []
    assert [url for url in found if url.split("/")[2] not in HOSTS] == []


def test_the_glossary_has_every_label_of_reports_comparisons_and_the_dashboard(world, tmp_path):
    cells = re.findall(r"^\| (.+?) \| .+ \|$", text_of("docs/reference/glossary.md"), re.MULTILINE)
    terms = {term.strip("`") for cell in cells for term in re.split("[,;] ", cell)}
    pages = []
    for number, source in enumerate(("support.db", "runs.db")):
        analyze(world / source).to_html(tmp_path / f"{number}.html")
        pages.append((tmp_path / f"{number}.html").read_text(encoding="utf-8"))
    compare(world / "before.db", world / "after.db").to_html(tmp_path / "compare.html")
    pages.append((tmp_path / "compare.html").read_text(encoding="utf-8"))
    found = re.findall(r"<(th|dt)\b[^>]*>(.*?)</\1>", "".join(pages), re.DOTALL)
    labels = {unescape(re.sub("<[^>]+>", "", label)).strip() for _, label in found} - {""}
    labels |= {*FINDING_KINDS, *VERDICTS, *Outcome}
    labels = {label for label in labels if not re.fullmatch(r"in \d+ (successful|failed)", label)}
    for script in (ROOT / "plugin" / "dashboard" / "static").glob("*.js"):
        labels |= {*re.findall(r'\bname: "([A-Z][^"]+)"', script.read_text(encoding="utf-8"))}
    assert len(labels) > 80
    known = {term.casefold() for term in terms}
    assert sorted(label for label in labels if label.casefold() not in known) == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/explanation/how-sure.md"])
def test_the_tests_that_hold_a_claim_are_there(page):
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text_of(page))
    assert len(named) > 10
    lost = [(file, name) for file, name in named if f"def {name}(" not in read(file) and name]
    assert lost == []


def read(file):
    return (ROOT / file).read_text(encoding="utf-8")


def test_the_command_line_page_names_every_option_of_every_command():
    page = "\n".join(describe_commands())
    for name, command in typer.main.get_command(app).commands.items():
        assert f"## `{name}`" in page
        options = [option for each in command.params for option in each.opts if "-" in option]
        assert [option for option in options if not re.search(rf"{option}[ `,]", page)] == []


def test_every_picture_is_shown_somewhere():
    shown = "".join(map(text_of, PAGES))
    pictures = [path.name for path in (ROOT / "docs").rglob("*.png")]
    assert [name for name in pictures if name not in shown] == []


@pytest.mark.parametrize(
    ("page", "words"), [("reference/readers.md", FORMATS), ("how-to/monitor.md", FINDING_KINDS)]
)
def test_a_page_names_every_format_and_every_kind_of_finding(page, words):
    text = text_of(f"docs/{page}")
    assert [word for word in words if f"`{word}`" not in text] == []
