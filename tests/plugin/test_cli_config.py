"""Settings of a file: found near, checked against the options, weaker than the command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from detailed_balance.cli import app

STEPS = "state-field = 'tool'\ntrajectory-field = 'run'\n"
COUNTS = ["export", "runs.csv", "-", "--to", "csv", "--what", "counts"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = ["run,step,tool", "A,1,a", "A,2,hub", "A,3,b", "B,1,a", "B,2,hub", "B,3,a"]
    (tmp_path / "runs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "detailed-balance.toml") -> None:
    (folder / name).write_text(text, encoding="utf-8")


def run(*arguments: str, **given: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, **given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def states(*arguments: str) -> set[str]:
    code, output, error = run(*COUNTS, *arguments)
    assert code == 0, error
    return {cell for line in output.splitlines()[1:] for cell in line.split(",")[:2]}


def test_a_file_of_its_own_sets_what_the_options_say(folder: Path) -> None:
    write(folder, STEPS + "hide = ['hub']\n")
    assert states() == {"__start__", "a", "b", "__end__"}
    assert run(*COUNTS)[2] == (
        f"settings of {folder}/detailed-balance.toml: state-field, trajectory-field, hide "
        "(--no-config uses none)\n"
    )
    assert run(*COUNTS, "--quiet")[2] == ""


def test_the_project_file_does_it_in_a_table(folder: Path) -> None:
    lines = STEPS.splitlines()
    table = "\n".join(["[project]", "name = 'x'", "[tool.detailed-balance]", *lines])
    write(folder, table + "\nmerge = {'a' = 'first'}\n", "pyproject.toml")
    assert states() == {"__start__", "first", "hub", "b", "__end__"}


def test_the_nearest_file_with_settings_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, STEPS + "hide = 'hub'\n")
    inner = folder / "deep" / "deeper"
    inner.mkdir(parents=True)
    (inner / "runs.csv").write_bytes((folder / "runs.csv").read_bytes())
    write(inner, "[project]\nname = 'without settings'\n", "pyproject.toml")
    monkeypatch.chdir(inner)
    assert "hub" not in states()
    write(folder / "deep", STEPS)
    assert "hub" in states()


def test_the_command_line_wins(folder: Path) -> None:
    write(folder, STEPS + "hide = ['hub']\n")
    assert "b" not in states("--hide", "b")
    assert "hub" in states("--hide", "b")
    fields = ("--state-field", "tool", "--trajectory-field", "run")
    assert "hub" in states("--no-config", *fields)


def test_a_file_can_be_named(folder: Path) -> None:
    write(folder, "[", "broken.toml")
    write(folder, STEPS, "mine.toml")
    assert "hub" in states("--config", "mine.toml")
    assert run(*COUNTS, "--config", "-", input=STEPS)[0] == 0
    for options, message in (
        (["--config", "broken.toml"], "broken.toml is no TOML: "),
        (["--config", "none.toml"], "none.toml: No such file"),
        (["--config", "mine.toml", "--no-config"], "give --config or --no-config, not both"),
        (["--no-config", "--config", "mine.toml"], "give --config or --no-config, not both"),
    ):
        code, _, error = run(*COUNTS, *options)
        assert (code, message in error) == (1, True), error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden = ['a']", "there is no setting hidden; is it hide? allowed are [analyze], "),
        ("fail-on = ['limit']", "there is no setting fail-on; "),
        ("since = '2020-01-01'", "there is no setting since; "),
        ("hide = 3", "hide = 3 is not a list of texts"),
        ("hide = ['a', 3]", "hide = ['a', 3] is not a list of texts"),
        ("context = {model = 3}", "context = {'model': 3} is not a list of texts"),
        ("state-field = true", "state-field = True is not a text"),
        ("skip-bad-lines = 'yes'", "skip-bad-lines = 'yes' is not true or false"),
        ("analyze = 3", "analyze is a table of settings, as in [analyze]"),
        ("[analyze]\nhtml = 'x'", "there is no setting analyze.html; "),
        ("[watch]\nnotify = 'json://x'", "there is no setting watch.notify; "),
        ("[analyze]\nalpha = '0.1'", "analyze.alpha = '0.1' is not a number"),
        ("[analyze]\nruns = 2.5", "analyze.runs = 2.5 is not a whole number"),
        ("[analyze]\nruns = -1", "analyze.runs: "),
        ("[analyze]\nviolation = 'square'", "analyze.violation: "),
        ("[record]\ncontext = {a = 'b'}", "there is no setting record.context; "),
        ("states = 'mine:name'", "states: there is no state function 'mine:name'; allowed are "),
        ("states = 'tool'", "states: there is no state function 'tool'; is it tools? allowed are "),
        ("[record]\nstates = 'a:b'", "record.states: there is no state function 'a:b'; "),
    ],
)
def test_what_is_not_allowed_is_named_with_its_file(folder: Path, text: str, message: str) -> None:
    write(folder, text)
    code, output, error = run(*COUNTS)
    assert (code, output) == (1, "")
    assert error.startswith(f"error: {folder}/detailed-balance.toml: {message}")
    assert error.count("\n") == 1


def test_a_table_of_a_command_is_for_that_command(folder: Path) -> None:
    write(folder, STEPS + "[analyze]\nfail-on = ['cardinality', 'violation']\nruns = 0\n[watch]\n")
    code, output, error = run("analyze", "runs.csv")
    assert (code, "fail-on, runs" in error) == (0, True), output
    assert "fail-on" not in run(*COUNTS)[2]


def test_a_file_that_is_named_is_looked_for_beside_the_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, STEPS + "baseline = 'good.csv'\n")
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    code, _, error = run("analyze", "../runs.csv")
    assert (code, f"there is no file {folder}/good.csv" in error) == (1, True), error
