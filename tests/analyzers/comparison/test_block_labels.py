"""A label that looks like a task is pointed out, and others are not."""

import numpy as np
import pytest
from scipy.stats import f_oneway

from detailed_balance import analyze, compare
from detailed_balance.analyzers import Trajectory
from detailed_balance.analyzers.comparison.block_labels import _explained, find_block_label
from detailed_balance.analyzers.runs.table import RunTable


def runs_of(rng, name, values, trials, *, effect=0.0, thread=False):
    found = []
    for i in range(values):
        mean = 6 + effect * rng.random()
        for j in range(trials):
            moves = (("a", "b"), ("b", "a")) * int(1 + rng.poisson(mean))
            labels = () if thread else ((name, f"v{i}"),)
            run = Trajectory(
                moves,
                f"{i}-{j}",
                success=bool(rng.random() < 0.5),
                context=labels,
                thread=f"t{i}" if thread else None,
            )
            found.append(run)
    return found


@pytest.mark.parametrize(
    "name", ["task", "task_id", "TaskId", "eval.case", "customer-id", "dataset_item", "instance_id"]
)
def test_a_label_with_the_name_of_a_task_is_one(name):
    runs = runs_of(np.random.default_rng(0), name, 12, 3)
    found = find_block_label(RunTable.of(runs))
    assert (found.name, found.values, found.runs) == (name, 12, 3)


@pytest.mark.parametrize("name", ["showcase", "model", "mistaskes", "region", "user_agent"])
def test_other_names_are_none_where_they_explain_nothing(name):
    assert find_block_label(RunTable.of(runs_of(np.random.default_rng(1), name, 12, 3))) is None


@pytest.mark.parametrize("thread", [True, False])
def test_whatever_explains_how_long_runs_are_is_one(thread):
    runs = runs_of(np.random.default_rng(2), "ticket", 20, 4, effect=40, thread=thread)
    assert find_block_label(RunTable.of(runs)).name == ("thread" if thread else "ticket")


def test_a_model_is_what_is_compared_and_no_block():
    runs = runs_of(np.random.default_rng(2), "model", 20, 4, effect=40)
    assert find_block_label(RunTable.of(runs)) is None


@pytest.mark.parametrize(("values", "trials"), [(4, 6), (20, 1)])
def test_few_values_or_one_run_each_are_none(values, trials):
    assert (
        find_block_label(RunTable.of(runs_of(np.random.default_rng(3), "task", values, trials)))
        is None
    )


def test_known_blocks_need_no_hint():
    runs = runs_of(np.random.default_rng(4), "task", 12, 3)
    assert find_block_label(RunTable.of(runs).with_blocks("task")) is None


def test_the_pvalue_is_that_of_the_analysis_of_variance_and_chance_is_seldom_taken_for_a_task():
    rng = np.random.default_rng(5)
    group, values = rng.integers(0, 6, 80), rng.normal(size=80)
    expected = f_oneway(*[values[group == i] for i in range(6)]).pvalue
    assert _explained(values, group) == pytest.approx(expected)
    found = sum(
        find_block_label(RunTable.of(runs_of(np.random.default_rng((6, i)), "region", 10, 4)))
        is not None
        for i in range(300)
    )
    assert found <= 4  # binomial, 300 at 0.1%: 5 or more in 1 of 60,000


def test_analyze_and_compare_say_so_once():
    rng = np.random.default_rng(7)
    runs = runs_of(rng, "task_id", 12, 4)
    sentence = (
        "Runs carry the label 'task_id' (12 values, 4 runs each): runs of one task resemble each "
        'other; give block="task_id" (--block task_id).'
    )
    assert sentence in analyze(runs).verdict.sentences
    assert not any("--block" in text for text in analyze(runs, block="task_id").verdict.sentences)
    both = compare(runs, runs_of(rng, "task_id", 12, 5))
    assert sum("--block task_id" in text for text in both.verdict.sentences) == 1
    named = compare(runs, runs_of(rng, "task_id", 12, 5), block="task_id")
    assert not any("--block" in text for text in named.verdict.sentences)
