"""`find_block_label`: which label of runs looks like the task that several of them are of."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import f, rankdata

from detailed_balance.analyzers.results import safe_name
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BlockLabel", "find_block_label"]

FEWEST_VALUES = 5
"""A label with fewer values is not a task."""

LEVEL = 0.001
"""How surely the values of a label must explain length or success, where its name says nothing."""

_TASK_WORDS = (
    *("task", "case", "problem", "question", "customer", "user", "session", "batch", "scenario"),
    *("example", "item", "instance"),
)
_NAMED = re.compile(rf"(^|[^a-z])({'|'.join(_TASK_WORDS)})([^a-z]?id)?$", re.IGNORECASE)
_SETTINGS = {"model", "prompt", "graph", "version"}
"""Labels that say what agent a run is of: what is compared, and no block."""

THREAD = "thread"


@dataclass(frozen=True, slots=True)
class BlockLabel:
    """A label whose values look like tasks, customers or batches.

    Parameters
    ----------
    name : str
        The label, or "thread".
    values : int
        How many different values it has.
    runs : int
        How many runs have each, in the median.
    pvalue : float
        Of "length and success of runs do not depend on it"; NaN where neither varies.
    """

    name: str
    values: int
    runs: int
    pvalue: float

    def describe(self) -> str:
        """Say in one sentence what it is, and what to do."""
        name = safe_name(self.name)
        what = re.sub(r"[^a-zA-Z]id$", "", name, flags=re.IGNORECASE) or name
        carried = "are of threads" if self.name == THREAD else f"carry the label {name!r}"
        return (
            f"Runs {carried} ({self.values:,} values, {self.runs:,} runs each): runs of one "
            f'{what} resemble each other; give block="{name}" (--block {name}).'
        )


def find_block_label(table: RunTable) -> BlockLabel | None:
    """Return the label that looks most like a block; None where none does, or blocks are known.

    It has at least 5 values, most of them with several root runs. Its name is or ends in task,
    case, problem, question, customer, user, session, batch, scenario, example, item or instance,
    with or without ``_id``; or else its values explain the length of runs or their success far
    more than chance (analysis of variance of the ranks of lengths, and of success, p below 0.001
    together). The thread counts as a label. Of several, those with such a name come first, and of
    these the one that explains most.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "b"),), context=(("task_id", task),)) for task in "vwxyz" * 4]
    >>> print(find_block_label(RunTable.of(runs)).describe())
    Runs carry the label 'task_id' (5 values, 4 runs each): runs of one task resemble each other; \
give block="task_id" (--block task_id).
    """
    if (table.block_codes() >= 0).any():
        return None
    roots = np.flatnonzero(root_places(table) == np.arange(len(table)))
    lengths, success = table.lengths[roots], table.success[roots]
    found = []
    for name, code in _labels(table, roots):
        runs = np.bincount(code[code >= 0])
        runs = runs[runs > 0]
        if len(runs) < FEWEST_VALUES or np.median(runs) < 2:
            continue
        there, judged = code >= 0, (code >= 0) & (success >= 0)
        pvalues = [
            _explained(rankdata(lengths[there]), code[there]),
            _explained(success[judged].astype(np.float64), code[judged]),
        ]
        known = [p for p in pvalues if not np.isnan(p)]
        pvalue = min(1.0, len(known) * min(known)) if known else float("nan")
        named = _NAMED.search(name) is not None
        if named or pvalue < LEVEL:
            label = BlockLabel(name, len(runs), int(np.median(runs)), pvalue)
            found.append((not named, 1.0 if np.isnan(pvalue) else pvalue, name, label))
    return min(found)[-1] if found else None


def _labels(table: RunTable, roots: NDArray[np.int64]) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the (r,) values of each label of root runs as numbers, -1 where it is not there."""
    codes: dict[str, NDArray[np.int64]] = {}
    values: dict[str, dict[str, int]] = defaultdict(dict)
    for place, context in enumerate(table.contexts):
        for name, value in context:
            if name not in codes:
                codes[name] = np.full(len(table.contexts), -1, dtype=np.int64)
            codes[name][place] = values[name].setdefault(value, len(values[name]))
    of_run = table.runs.context[roots]
    found = [(name, code[of_run]) for name, code in codes.items() if name not in _SETTINGS]
    threads = table.runs.thread[roots].tolist()
    if threads.count(None) < len(threads):
        number: dict[str, int] = {}
        thread = [-1 if t is None else number.setdefault(t, len(number)) for t in threads]
        found.append((THREAD, np.array(thread, dtype=np.int64)))
    return found


def _explained(values: NDArray[np.float64], group: NDArray[np.int64]) -> float:
    """Return the p-value of equal means of groups; NaN where nothing varies or can be compared."""
    _, group = np.unique(group, return_inverse=True)
    n, k = len(values), int(group.max(initial=-1)) + 1
    if k < 2 or n <= k or np.ptp(values) == 0:
        return float("nan")
    runs = np.bincount(group)
    centred = values - values.mean()
    between = float((np.bincount(group, centred) ** 2 / runs).sum())
    within = max(float((centred**2).sum()) - between, 0.0)
    if within <= 1e-9 * between:
        return 0.0
    return float(f.sf((between / (k - 1)) / (within / (n - k)), k - 1, n - k))
