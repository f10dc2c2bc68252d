"""What holds for every run, whatever agents and threads are recorded into one store."""

import os
import subprocess
import sys
from pathlib import Path

from detailed_balance import read_runs
from detailed_balance.analyzers import END, START, Outcome

HERE = Path(__file__).parent
AGENTS = ["agents", "functional", "interrupts", "outcomes", "shapes", "teams", "threads"]


def broken_rules(run):
    """Name the rules that a run breaks."""
    ends = [place for place, (_, target) in enumerate(run.moves) if target == END]
    rules = {
        "begins at START, or says that its past is unknown": run.past_unknown
        or not run.moves
        or run.moves[0][0] == START,
        "nothing follows END": ends in ([], [len(run.moves) - 1]),
        "END means ended": not ends or run.outcome is Outcome.ENDED,
        "ended means END": run.outcome is not Outcome.ENDED or bool(ends) or run.past_unknown,
        "has an outcome": run.outcome is not None,
        "has an id": run.run is not None,
    }
    return [rule for rule, holds in rules.items() if not holds]


def test_the_runs_of_all_agents_of_these_tests_keep_the_rules(tmp_path):
    files = [str(HERE / f"test_handler_{name}.py") for name in AGENTS]
    store = tmp_path / "runs.db"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files],
        cwd=HERE.parents[2],
        env={**os.environ, "DETAILED_BALANCE_STORE": str(store)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    runs = read_runs(store)
    assert len({run.run for run in runs}) == len(runs) > 200
    assert max(sum(run.name == name for run in runs) for name in {run.name for run in runs}) > 20
    broken = [(run.name, rules, run.moves) for run in runs if (rules := broken_rules(run))]
    assert broken == []
