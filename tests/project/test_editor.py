"""What an editor, a debugger and coverage see: the real files, not the links to them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import jedi
import pytest

from tests.support.sources import ROOT

PROJECT = jedi.Project(ROOT, added_sys_path=[str(ROOT / "src")])
COUNTS = ROOT / "analyzers" / "counts.py"
LINE = 1 + COUNTS.read_text(encoding="utf-8").split("\n").index(
    "        rows: list[tuple[int, int, int]] = []"
)


@pytest.mark.parametrize(
    ("file", "name", "home"),
    [
        ("plugin/diagnosis/measure.py", "check_balance", "analyzers/balance/check.py"),
        ("plugin/report/_analyze.py", "open_source", "plugin/sources/source.py"),
        ("callbacks/middleware.py", "RunWatch", "analyzers/guard/watch.py"),
        ("examples/attach_to_agent.py", "analyze", "plugin/report/_analyze.py"),
    ],
)
def test_go_to_definition_leads_from_floor_to_floor(file: str, name: str, home: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    before = text[: text.index(name)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n") - 1
    script = jedi.Script(text, path=ROOT / file, project=PROJECT)
    found = script.goto(line, column, follow_imports=True)
    assert [Path(definition.module_path).resolve() for definition in found] == [ROOT / home]
    assert found[0].name == name


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(
        "from detailed_balance import TransitionCounts\n"
        "TransitionCounts.from_edges([('a', 'b', 3)]).total\n"
    )
    return file


def test_coverage_is_of_the_real_files(program: Path, tmp_path: Path) -> None:
    coverage = [sys.executable, "-m", "coverage"]
    data = f"--data-file={tmp_path / 'data'}"
    source = [*coverage, "run", data, f"--source={ROOT / 'analyzers'}", str(program)]
    report = [*coverage, "json", data, "-q", "-o", str(tmp_path / "report.json")]
    for command in (source, report):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    counted = {str((ROOT / file).resolve().relative_to(ROOT)): files[file] for file in files}
    assert not [file for file in files if "src" in Path(file).parts]
    assert counted["analyzers/counts.py"]["summary"]["covered_lines"] > 50


@contextmanager
def debug_adapter() -> Iterator[tuple[Callable[..., None], Callable[[str], Any]]]:
    """Start what Visual Studio Code debugs by; yield how to ask it, and to wait for an answer."""
    command = [sys.executable, "-m", "debugpy.adapter"]
    numbers = count(1)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as adapter:

        def ask(command: str, **arguments: Any) -> None:
            request = {"seq": next(numbers), "type": "request", "command": command}
            body = json.dumps({**request, "arguments": arguments}).encode()
            adapter.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            adapter.stdin.flush()

        def wait_for(name: str) -> Any:
            while True:
                length = int(adapter.stdout.readline().split(b":")[1])
                adapter.stdout.readline()
                said = json.loads(adapter.stdout.read(length))
                assert said.get("success", True), said
                assert said.get("event") != "terminated", "it ended before it came there"
                if name in (said.get("event"), said.get("command")):
                    return said.get("body")

        try:
            yield ask, wait_for
        finally:
            ask("disconnect", terminateDebuggee=True)
            adapter.communicate(timeout=60)


def test_a_debugger_of_an_editor_stops_at_a_line_of_the_real_file(program: Path) -> None:
    with debug_adapter() as (ask, wait_for):
        ask("initialize", adapterID="test")
        wait_for("initialize")
        settings = {"python": [sys.executable], "cwd": str(ROOT), "console": "internalConsole"}
        variables = {"PYDEVD_RESOLVE_SYMLINKS": "1"}  # as CONTRIBUTING says: shows the real file
        ask("launch", program=str(program), justMyCode=False, env=variables, **settings)
        wait_for("initialized")
        ask("setBreakpoints", source={"path": str(COUNTS)}, breakpoints=[{"line": LINE}])
        ask("configurationDone")
        ask("stackTrace", threadId=wait_for("stopped")["threadId"])
        frame = wait_for("stackTrace")["stackFrames"][0]
    assert (frame["source"]["path"], frame["line"]) == (str(COUNTS), LINE)


def test_pdb_stops_at_a_line_by_the_path_that_imports_give(program: Path) -> None:
    asked = f"b detailed_balance/analyzers/counts.py:{LINE}\nc\nw\nq\n"
    command = [sys.executable, "-m", "pdb", str(program)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT)
    assert f"analyzers/counts.py({LINE})from_edges()" in done.stdout
