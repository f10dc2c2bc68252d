"""Judgements of runs: one or many at once, of runs that are there, all or none."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from detailed_balance import Transition, TransitionStore, read_runs
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.cli import app

NAMES = [f"run-{number}" for number in range(6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(Transition("a", "b", name) for name in NAMES)
        store.append([Beginning("T", "id-7", thread="T"), Transition("a", "b", "T", run="id-7")])
    return path


def judged(path: Path) -> dict[str | None, bool | None]:
    return {run.name: run.success for run in read_runs(path) if run.judged}


def run(*arguments: object, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["judge", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_names_that_are_suggested_are_those_of_threads(path: Path) -> None:
    with TransitionStore("sqlite://") as store:
        for name in ("ticket-1", "ticket-2"):
            store.append(
                [Transition("a", "b", name, run=f"{name[-1]:0>8}-4d1e-4c7a-9b58-0a1b2c3d")]
            )
        for unknown in ("ticket-3", "quite another name"):
            with pytest.raises(InvalidInputError, match=r"names are 'ticket-[12]', 'ticket-[12]'$"):
                store.judge(unknown, success=True)
        with pytest.raises(InvalidInputError, match="nearest names are '00000001-4d1e-4c7a"):
            store.judge("00000001-4d1e-4c7a", success=True)


def test_a_run_that_is_not_there_is_refused_with_the_nearest_and_the_number(path: Path) -> None:
    with TransitionStore(f"sqlite:///{path}") as store:
        with pytest.raises(
            InvalidInputError,
            match=r"no run is called 'run-9'; the store holds 7 runs; the nearest names are 'run-",
        ):
            store.judge("run-9", success=True)
        with pytest.raises(InvalidInputError, match=r"nearest names are 'id-7'"):
            store.judge("id-77", success=True)
        with pytest.raises(InvalidInputError, match="success must be True or False; got 1"):
            store.judge("run-1", success=1)  # type: ignore[arg-type]
        assert store.endings() == ()
    with (
        TransitionStore("sqlite://") as empty,
        pytest.raises(InvalidInputError, match="no run is called 'x'; the store is empty"),
    ):
        empty.judge("x", success=True)


def test_many_are_judged_at_once_or_none(path: Path) -> None:
    with TransitionStore(f"sqlite:///{path}") as store:
        with pytest.raises(InvalidInputError, match="no run is called 'nobody', 'no one'"):
            store.judge_runs({"run-1": True, "nobody": True, "no one": False})
        assert store.judge_runs({"run-1": True}, dry_run=True) == ()
        assert store.endings() == ()
        given = {"run-1": True, "id-7": False, "nobody": True}
        assert store.judge_runs(given, skip_unknown=True) == ("nobody",)
        assert [(end.trajectory, end.run, end.success) for end in store.endings()] == [
            ("run-1", None, True),
            ("T", "id-7", False),
        ]
    assert judged(path) == {"run-1": True, "T": False}


def test_names_are_found_however_many_there_are(tmp_path: Path) -> None:
    names = [f"{number} \x00" for number in range(1_203)]
    with TransitionStore(f"sqlite:///{tmp_path / 'many.db'}") as store:
        store.append(Transition("a", "b", name) for name in names)
        assert store.judge_runs(dict.fromkeys(names, True)) == ()
        assert sorted(end.trajectory or "" for end in store.endings()) == sorted(names)


def test_a_table_judges_runs(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "judged.csv"
    file.write_text("run,success,by\nrun-0,true,ann\nrun-1,0,ben\nrun-2,,ann\nid-7,failure,\n")
    assert run(path, file, "--dry-run") == (0, "would judge 3 runs: 1 successful, 2 not\n", "")
    assert judged(path) == {}
    assert run(path, file) == (0, "judged 3 runs: 1 successful, 2 not\n", "")
    assert judged(path) == {"run-0": True, "run-1": False, "T": False}


def test_columns_and_values_can_be_named_and_the_table_can_come_by_a_pipe(path: Path) -> None:
    fields = ("--trajectory-field", "id", "--success-field", "score")
    text = "id;score\nrun-0;0.5\nrun-1;0.49\nrun-2;1\nrun-3;false\n"
    code, output, _ = run(path, "-", *fields, "--success-value", ">=0.5", text=text)
    assert (code, output) == (0, "judged 4 runs: 2 successful, 2 not\n")
    assert judged(path) == {"run-0": True, "run-1": False, "run-2": True, "run-3": False}
    code, _, error = run(path, "-", *fields, "--success-value", ">=half", text=text)
    assert (code, "what follows >= is a number, as in '>=0.5'" in error) == (1, True)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("run-0,maybe", "line 3: 'success' must be one of 1, 1.0, true"),
        ("run-0", "line 3: 1 fields, where the header has 2"),
        (",true", "line 3: it names no run"),
        ("run-0,failed", "line 3: failed is no judgement"),
        ("run-1,false", "line 3: it contradicts line 2 about run-1"),
        ("run-8,true", "line 3: no run is called 'run-8'; the store holds 7 runs"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_recorded_unless_it_is_skipped(
    path: Path, row: str, reason: str
) -> None:
    text = f"run,success\nrun-1,true\n{row}\nrun-2,true\n"
    code, output, error = run(path, "-", text=text)
    assert (code, output) == (1, "")
    assert reason in error
    assert judged(path) == {}
    code, output, error = run(path, "-", "--skip-bad-lines", text=text)
    assert (code, output) == (0, "judged 2 runs: 2 successful, 0 not\n")
    assert error.startswith(f"left out, {reason}")
    assert judged(path) == {"run-1": True, "run-2": True}


@pytest.mark.parametrize("rows", ["", "run-1,\n"])
def test_a_table_that_judges_nothing_is_an_error(path: Path, rows: str) -> None:
    code, output, error = run(path, "-", text=f"run,success\n{rows}")
    assert (code, output) == (1, "")
    assert "- judges no run: no line has a value in success" in error


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    code, _, error = run(tmp_path / "none.db", "-", text="run,success\n")
    assert (code, "there is no store" in error) == (1, True)
    assert list(tmp_path.iterdir()) == []
