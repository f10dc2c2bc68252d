"""What an editor, a debugger and coverage see: the real files, not the links to them."""

import json
import subprocess
import sys
from pathlib import Path

import jedi
import pytest

from tests.support.sources import ROOT

PROJECT = jedi.Project(ROOT, added_sys_path=[str(ROOT / "src")])


@pytest.mark.parametrize(
    ("file", "name", "home"),
    [
        ("plugin/report/_analyze.py", "check_balance", "analyzers/balance/check.py"),
        ("plugin/report/_analyze.py", "load_counts", "plugin/sources/source.py"),
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


def test_coverage_is_of_the_real_files(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from detailed_balance import TransitionCounts\n"
        "TransitionCounts.from_edges([('a', 'b', 3)]).total\n"
    )
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
