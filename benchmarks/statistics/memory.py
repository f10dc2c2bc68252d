"""How well the next tool and the success of runs are forecast: chains, contexts, calibrated scores.

    python -m benchmarks.statistics.memory next [--data DIR]
    python -m benchmarks.statistics.memory others [--data DIR]
    python -m benchmarks.statistics.memory order [--data DIR]
    python -m benchmarks.statistics.memory success [--data DIR]
    python -m benchmarks.statistics.memory facts [--data DIR]
    python -m benchmarks.statistics.memory cost

DIR is a folder with tau1/gpt-4o-airline.json.gz, 200 runs of 50 tasks as published by tau-bench,
and tau2_airline/*.jsonl.gz, the runs of six models on the same tools
(docs/explanation/statistics-measured.md says where they come from). Without it only the scripted
agents of `_scripted_agents` are measured.

Each of 20 random splits fits on one half of the runs, or of the tasks, and is held against the
other half; in brackets stands the standard error over the splits. Settings were chosen on runs of
25 tasks of tau1 (drawn with the seed 99) and on splits of other seeds; `--choose` reports on these
tasks, and `--report` on the 25 others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.statistics._automata import MergedAutomaton, PredicateTree, read_paths
from benchmarks.statistics._scripted_agents import read_scripted_runs
from benchmarks.statistics.airline import read as read_airline
from detailed_balance import RunTable, read_runs
from detailed_balance.analyzers import (
    END,
    OutcomeScore,
    find_contexts,
    forecast_outcome,
    markov_order_test,
)
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.forecast.calibration import PlattScaling
from detailed_balance.analyzers.forecast.scaling import StateOdds, SuccessScaling, moves_so_far
from detailed_balance.analyzers.forecast.success import (
    deal_out,
    last_moves,
)
from detailed_balance.analyzers.guard.watch import run_risks
from detailed_balance.analyzers.markov.context_names import split_name
from detailed_balance.analyzers.markov.context_tree import ContextTree
from detailed_balance.analyzers.runs.clusters import cluster_codes
from detailed_balance.analyzers.runs.columns import RunColumns
from detailed_balance.readers import read_texts

SPLITS, FIRST_SEED, PRIOR = 20, 1_000, 0.1
TAU1 = "tau1/gpt-4o-airline.json.gz"
Texts = Mapping[str, Sequence[str | None]]


def load(folder: Path | None, part: str) -> dict[str, RunTable]:
    """Return the records that are there."""
    found = {}
    tau1 = folder and folder / TAU1
    if tau1 and tau1.exists():
        found["tau1"] = read_runs(tau1, context_fields=["task_id"], block="task_id")
        models = read_airline(tau1.parent.parent / "tau2_airline").values()
        runs = [run for model in models for run in model]
        found["airline"] = RunTable.of(runs).with_blocks("task")
    else:
        print("tau-bench was not found (--data DIR): only the scripted agents are measured\n")
    found["scripted"] = read_scripted_runs()
    if part != "all":
        found = {name: half_of_tasks(table, part) for name, table in found.items()}
    return found


def half_of_tasks(table: RunTable, part: str) -> RunTable:
    """Return the runs of the tasks that settings were chosen on, or of the others."""
    names = sorted(table.blocks)
    chosen = np.random.default_rng(99).permutation(names)[: len(names) // 2]
    mask = np.isin(np.array(table.blocks)[table.runs.block], chosen)
    return table.select(mask if part == "choose" else ~mask)


def halves(table: RunTable, seed: int, by: str) -> tuple[RunTable, RunTable]:
    """Split at random, by runs or by tasks."""
    rng = np.random.default_rng(seed)
    if by == "runs":
        order = rng.permutation(len(table))
        known = np.isin(np.arange(len(table)), order[: len(table) // 2])
    else:
        order = rng.permutation(len(table.blocks))
        known = np.isin(table.runs.block, order[: len(order) // 2])
    return table.select(known), table.select(~known)


def chain_loss(train: RunTable, test: RunTable) -> float:
    """Return the loss of the next key by the chain on the states, in nats a move."""
    keys = {state: split_name(state)[0] for state in {*train.states, *test.states}}
    tools = sorted(set(keys.values()))
    place = {tool: i for i, tool in enumerate(tools)}
    states = {state: i for i, state in enumerate(dict.fromkeys((*train.states, *test.states)))}

    def codes(table: RunTable) -> tuple[np.ndarray, np.ndarray]:
        source = np.array([states[s] for s in table.states])[table.source]
        target = np.array([*(place[keys[s]] for s in table.states), len(tools)])[table.target]
        return source, target

    counts = np.zeros((len(states), len(tools) + 1))
    np.add.at(counts, codes(train), 1)
    size = len(tools) - ("__start__" in tools)
    source, target = codes(test)
    chance = (counts[source, target] + PRIOR) / (counts.sum(axis=1)[source] + size * PRIOR)
    return float(-np.log(chance).mean())


def of_order(table: RunTable, order: int) -> RunTable:
    """Return runs with the last `order` keys for states; what stands before START is empty."""
    moves = []
    for run in table:
        last: tuple[str, ...] = (run.moves[0][0],)
        names = ["<".join(last)]
        for _, target in run.moves:
            last = (target or "", *last)[:order]
            names.append("<".join(last))
        moves.append(names)
    distinct = sorted({name for names in moves for name in names})
    place = {name: i for i, name in enumerate(distinct)}
    source = np.array([place[name] for names in moves for name in names[:-1]])
    target = np.array([place[name] for names in moves for name in names[1:]])
    return RunTable.from_codes(distinct, source, target, table.offsets, table.runs)


def next_tool(table: RunTable, by: str) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield the losses of each predictor."""
    splits = [halves(table, FIRST_SEED + seed, by) for seed in range(SPLITS)]
    for order in (1, 2, 3):
        yield (
            f"chain of order {order}",
            [[chain_loss(of_order(a, order), of_order(b, order))] for a, b in splits],
        )
    found = [find_contexts(a) for a, _ in splits]
    yield (
        "chain on contexts, `find_contexts`",
        [[chain_loss(f.rename(a), f.rename(b))] for f, (a, b) in zip(found, splits, strict=True)],
    )
    for prior in (0.5, PRIOR):
        rows = []
        for a, b in splits:
            tree = ContextTree.fit(a, prior=prior)
            keys = np.array([*b.states, None], dtype=object)[b.target]
            hits = float((tree.most_likely(b) == keys).mean())
            rows.append([float(-tree.log_probabilities(b).mean()), hits])
        yield f"context-tree weighting, prior {prior}", rows


def order_within_tasks(table: RunTable, by: str) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield p-values and gains of the order test within tasks, on runs that were held out."""
    rows: list[tuple[str, list[list[float]]]] = [("names", []), ("contexts", [])]
    for seed in range(6):
        train, test = halves(table, FIRST_SEED + seed, by)
        for (_, found), runs in zip(rows, (test, find_contexts(train).rename(test)), strict=True):
            result = markov_order_test(runs, strata="block", replicates=199)
            found.append([float(not result.rejected), result.pvalue, result.gain])
    yield from rows


def other_memory(table: RunTable, by: str) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield the losses of merged automata and of trees of predicates."""
    rows: dict[str, list[list[float]]] = {}
    for seed in range(SPLITS):
        train, test = halves(table, FIRST_SEED + seed, by)
        known, held = read_paths(train), read_paths(test)
        size = len({key for path in (*known, *held) for key in path if key is not None}) + 1
        for alpha, same_key in ((0.05, False), (0.05, True), (0.5, True)):
            found = MergedAutomaton.fit(known, alpha, same_key)
            name = f"merged automaton{', by key' if same_key else ''}, alpha {alpha}"
            loss = -found.log_probability(held, size, PRIOR)
            rows.setdefault(name, []).append([loss, len(found.counts)])
        tree = PredicateTree.fit(known, PRIOR)
        rows.setdefault("tree of predicates", []).append(
            [-tree.log_probability(held, size, PRIOR), tree.questions.count(-1)]
        )
    yield from rows.items()


def success(
    table: RunTable, by: str, texts: Texts | None = None
) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield Brier scores in the middle of each run, at its end, and after moves of equal number."""
    rows: dict[str, list[list[float]]] = {}
    table = table.select((table.success >= 0) & (table.lengths > 0))
    for seed in range(SPLITS):
        train, test = halves(table, FIRST_SEED + seed, by)
        moves, median = moves_so_far(test), int(np.median(train.lengths))
        looks = [(moves == max(median // k, 1)) & (test.target != test.code(END)) for k in (4, 2)]
        moments = [middle_moves(test), last_moves(test), *map(np.flatnonzero, looks)]
        found: dict[str, tuple[np.ndarray, ...]] = {}
        share = np.full(test.total, (train.success == 1).mean())
        found["share of successes"] = (share,) * 4
        contexts = find_contexts(train)
        for name, a, b in (
            ("chain on names", train, test),
            ("chain on contexts", contexts.rename(train), contexts.rename(test)),
        ):
            forecast = forecast_outcome(a, replicates=0, fit_replicates=0)
            known = dict(zip(forecast.states, forecast.estimate.success.tolist(), strict=False))
            chance = np.array([known.get(state, share[0]) for state in b.states])[b.source]
            found[name] = (chance,) * 4
        scores: dict[str, tuple[OutcomeScore, Any]] = {"risk score": (OutcomeScore(), None)}
        if texts:
            scores["risk score with memory"] = (OutcomeScore(memory=3), None)
            scores["risk score with text"] = (OutcomeScore(text="ngrams"), texts)
        for title, (score, written) in scores.items():
            in_middle, at_end, live = calibrated(train, test, by, seed, score, written)
            name = f"{title}, Platt scaling in the middle and at the end"
            found[name] = (in_middle, at_end, in_middle, in_middle)
            found[f"{title}, as `forecast_success` scales it"] = (live,) * 4
        good = (test.success == 1)[test.run_of_move]
        for name, chances in found.items():
            errors = [((p - good) ** 2)[at].mean() for p, at in zip(chances, moments, strict=True)]
            rows.setdefault(name, []).append(errors)
    yield from rows.items()


def middle_moves(table: RunTable) -> np.ndarray:
    """(r,) array: the move in the middle of each run, the first of a run of one."""
    return table.offsets[:-1] + np.maximum(table.lengths // 2, 1) - 1


def calibrated(
    train: RunTable, test: RunTable, by: str, seed: int, score: OutcomeScore, texts: Texts | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the probability of success after each move of the tested runs, by three scalings."""
    good, risks, odds = train.success == 1, np.empty(train.total), np.empty(train.total)
    units = cluster_codes(train)[0] if by == "tasks" else np.arange(len(train))
    fold = deal_out(good, np.unique(units, return_inverse=True)[1], 5, np.random.default_rng(seed))
    for part in range(5):
        others, here = train.select(fold != part), train.select(fold == part)
        moves = fold[train.run_of_move] == part
        risks[moves] = run_risks(score.fit(others, seed, texts=texts), here, texts)
        odds[moves] = StateOdds.fit(others).of_moves(here)
    risk = run_risks(score.fit(train, seed, texts=texts), test, texts)
    in_middle = PlattScaling.fit(risks[middle_moves(train)], good)
    at_end = PlattScaling.fit(risks[last_moves(train)], good)
    live = SuccessScaling.fit(train, risks, odds)
    return in_middle(risk), at_end(risk), live(test, risk)


def facts_as_keys(table: RunTable, by: str) -> Iterator[tuple[str, list[list[float]]]]:
    """Yield the loss of the next tool where keys say what came of a step, and where they do not."""
    if table.facts is None:
        return
    marks = {"failed": table.facts.failed, "repeats": table.facts.repeats}
    rich = {"tools": table, **{f"tools, {name}": _mark(table, on) for name, on in marks.items()}}
    for name, runs in rich.items():
        rows = []
        for seed in range(SPLITS):
            train, test = halves(runs, FIRST_SEED + seed, by)
            tree, total, known = ContextTree.fit(train, prior=PRIOR), 0.0, {}
            for run in test:
                state, keys = tree.start(), [run.moves[0][0]]
                state.add(keys[0])
                for _, target in run.moves:
                    if state.node not in known:
                        known[state.node] = tools_after(tree, keys)
                    total -= np.log(known[state.node][tool_of(target)])
                    state.add(target)
                    keys.append(target)
            rows.append([total / test.total])
        yield name, rows


def _mark(table: RunTable, on: np.ndarray) -> RunTable:
    """Return runs in which the key of each marked step has a sign behind it."""
    n, inner = len(table.states), np.array([not s.startswith("__") for s in table.states])
    target = table.target + n * (on & inner[table.target])
    source = table.source.copy()
    same = table.run_of_move[1:] == table.run_of_move[:-1]
    source[1:] = np.where(same, target[:-1], source[1:])
    names = [*table.states, *(f"{state}#" for state in table.states)]
    columns = {"contexts": table.contexts, "blocks": table.blocks}
    return RunTable.from_codes(names, source, target, table.offsets, table.runs, **columns)


def tool_of(key: str) -> str:
    """Return the tool of a key with or without a sign."""
    return key.removesuffix("#")


def tools_after(tree: ContextTree, keys: list[str]) -> dict[str, float]:
    """Return the probability of each next tool, whatever comes of the step."""
    found: dict[str, float] = {}
    for key, chance in tree.predict(keys).items():
        tool = "" if key is None else tool_of(key)
        found[tool] = found.get(tool, 0.0) + chance
    return found


def cost() -> None:
    """Print what contexts cost."""
    table = read_scripted_runs(trials=4)
    begin = time.perf_counter()
    contexts = find_contexts(table)
    took = time.perf_counter() - begin
    print(f"`find_contexts`, {len(table)} runs, {table.total:,} moves, refined: {took:.2f} s")
    large = second_order_runs(50_000, 20)
    begin = time.perf_counter()
    contexts = find_contexts(large, refine=False)
    took = time.perf_counter() - begin
    print(f"{large.total:,} steps, {len(contexts):,} contexts, not refined: {took:.2f} s")
    state, moves = contexts.start(), large[0].moves
    best = np.inf
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(100):
            for source, target in moves:
                state.update(source, target)
        best = min(best, (time.perf_counter() - begin) / 100 / len(moves))
    print(f"live, one event: {best * 1e6:.2f} microseconds")


def second_order_runs(runs: int, length: int, states: int = 20) -> RunTable:
    """Return runs of a chain of order 2."""
    rng = np.random.default_rng(0)
    cumulated = rng.dirichlet(np.full(states, 0.3), size=(states, states)).cumsum(axis=-1)
    path = np.zeros((runs, length + 1), dtype=np.int64)
    for step in range(2, length + 1):
        row = cumulated[path[:, step - 2], path[:, step - 1]]
        path[:, step] = np.minimum((rng.random(runs)[:, None] > row).sum(axis=1), states - 1)
    return RunTable.from_codes(
        [f"tool-{i:02}" for i in range(states)],
        path[:, :-1].ravel(),
        path[:, 1:].ravel(),
        length * np.arange(runs + 1),
        RunColumns.unknown(runs),
    )


Table = Callable[..., Iterator[tuple[str, list[list[float]]]]]
TABLES: dict[str, tuple[Table, str]] = {
    "next": (next_tool, "nats a move | right"),
    "order": (order_within_tasks, "accepted | p | gain, nats a move"),
    "facts": (facts_as_keys, "nats a move"),
    "others": (other_memory, "nats a move | states"),
    "success": (success, "Brier in the middle | at the end | after 1/4 of the median | after 1/2"),
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=(*TABLES, "cost"))
    parser.add_argument("--data", type=Path)
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--choose", dest="part", action="store_const", const="choose", default="all")
    parts.add_argument("--report", dest="part", action="store_const", const="report")
    given = parser.parse_args()
    if given.table == "cost":
        cost()
        return
    measure, head = TABLES[given.table]
    print(f"| runs | split by | method | {head} |\n|---|---|---|{'---|' * (head.count('|') + 1)}")
    for name, table in load(given.data, given.part).items():
        more = {}
        if given.table == "success" and name == "tau1":  # texts of a model
            more["texts"] = read_texts(given.data / TAU1)
        for by in ("runs", "tasks"):
            try:
                for method, rows in measure(table, by, **more):
                    print(f"| {name} | {by} | {method} | {cells(rows)} |", flush=True)
            except InsufficientDataError as error:
                print(f"| {name} | {by} | {error} |", flush=True)


def cells(rows: list[list[float]]) -> str:
    """Return the mean and the standard error of each column over the splits."""
    table = np.array(rows)
    errors = table.std(axis=0, ddof=1) / np.sqrt(len(table))
    return " | ".join(f"{m:.3f} ({e:.3f})" for m, e in zip(table.mean(axis=0), errors, strict=True))


if __name__ == "__main__":
    main()
