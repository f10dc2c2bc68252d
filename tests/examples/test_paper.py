"""The experiments by their names, and the rules that hold for every file of the paper."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.paper.__main__ import EXPERIMENTS, main
from tests.support.sources import failed_examples

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    file
    for file in sorted((ROOT / "examples" / "paper").rglob("*.py"))
    if file.parent.name != "bootstrap"  # a program that stands alone
]
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in FILES
]


def test_the_help_lists_every_experiment_with_one_line_each(capsys):
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        for name, title in EXPERIMENTS.items():
            assert f"  {name:12} {title}" in lines


def test_all_runs_every_experiment_in_order_and_says_how_far_it_is(tmp_path, capsys, monkeypatch):
    run = []
    for name in EXPERIMENTS:
        module = importlib.import_module(f"examples.paper.experiments.{name}")
        monkeypatch.setattr(module, "main", lambda given, name=name: run.append((name, given)))
    main(["all", "--output", str(tmp_path)])
    assert [name for name, _ in run] == list(EXPERIMENTS)
    assert dict(run)["figures"] == ["--output", str(tmp_path)]
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"[1 of {len(EXPERIMENTS)}, after 0 s] words: ")
    assert len(said) == len(EXPERIMENTS) + 1


def test_an_unknown_name_is_an_error_that_lists_what_is_allowed(capsys):
    with pytest.raises(SystemExit) as left:
        main(["wrods"])
    assert left.value.code == 2
    message = capsys.readouterr().err
    assert "'wrods'" in message
    assert [name for name in EXPERIMENTS if name not in message] == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"usage: python -m examples.paper {name} " in capsys.readouterr().out


def test_every_experiment_is_in_the_list():
    folder = ROOT / "examples" / "paper" / "experiments"
    assert {file.stem for file in folder.glob("[!_]*.py")} == set(EXPERIMENTS)


def test_the_program_runs_from_the_root():
    options = ["words", "--only", "claude", "--probes", "20"]
    command = [sys.executable, "-m", "examples.paper", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "ATTITUDE" in done.stdout


def test_what_cannot_be_done_is_said_without_a_traceback():
    with pytest.raises(SystemExit, match=r"^error: --model 'nobody': "):
        main(["search", "--model", "nobody"])


@pytest.mark.parametrize("module", MODULES)
def test_every_example_in_a_docstring_runs(module):
    assert failed_examples(module) == 0


@pytest.mark.parametrize("file", FILES, ids=MODULES)
def test_every_file_is_short_and_says_what_it_is(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 600
    assert re.match(r'"""[^\n]+\.("""\n|\n\n)', text)


def test_a_folder_has_at_most_13_files():
    assert max(Counter(file.parent for file in FILES).values()) <= 13


def test_a_class_name_is_defined_once():
    names = Counter(
        node.name
        for file in FILES
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("file", FILES, ids=MODULES)
def test_it_imports_nothing_private_of_the_library(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [name for name in imported if name and name.startswith("detailed_balance")]
    assert [name for name in ours if "._" in name] == []
