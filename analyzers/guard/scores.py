"""Risk scores of a run in progress: the protocol, the one learned from outcomes, and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.guard._evidence import (
    FACTS,
    OutcomeModel,
    RunFeatures,
    fit_parts,
    measure_evidence,
)
from detailed_balance.analyzers.guard._ridge import deal_folds, fit_ridge_logistic
from detailed_balance.analyzers.guard._texts import Embedder, ReadTexts, Texts, align_texts
from detailed_balance.analyzers.repetition.prefixes import sum_so_far
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = ["OutcomeScore", "RunScore", "RunState", "StepCount"]


class RunState(Protocol):
    """One run under a score. It may have ``reason() -> str`` too, a part of a sentence."""

    def update(self, source: str, target: str | None) -> float:
        """Add one move, and return the risk of the run so far: the higher the worse."""
        ...


@runtime_checkable
class RunScore(Protocol):
    """What rates a run in progress: any function of the moves so far, fitted or declared.

    The promise of `RunGuard` holds whatever the score is, as long as the risk depends on nothing
    but the moves so far of this one run. To be saved, it needs ``to_dict() -> dict`` as well. With
    ``risks(runs) -> (m,) array``, the risk after each of the m moves of a `RunTable`, exactly as
    `start` gives it, `RunGuard.fit` is faster. Where it has ``reads_steps = True``, its ``update``
    is given ``facts=`` (`StepFacts` or None) and ``text=`` (str or None) of each move too, and its
    ``fit`` and ``risks`` are given ``texts=``.
    """

    def fit(self, runs: RunTable, seed: int = 0) -> RunScore:
        """Return the score fitted to runs of known success, as a new object."""
        ...

    def start(self) -> RunState:
        """Begin a run."""
        ...


@dataclass(frozen=True)
class StepCount:
    """The number of steps so far: what any other score must beat.

    Examples
    --------
    >>> state = StepCount().start()
    >>> [state.update("a", "b"), state.update("b", None), state.update("b", "__end__")]
    [1.0, 2.0, 2.0]
    """

    def fit(self, runs: Runs, seed: int = 0) -> StepCount:
        """Return itself: there is nothing to learn."""
        return self

    def start(self) -> RunState:
        """Begin a run."""
        return _Steps()

    def risks(self, runs: Runs) -> NDArray[np.float64]:
        """(m,) array: the steps after each of the m moves of runs; one to END is not a step."""
        table = RunTable.of(runs)
        counted = table.target != table.code(END)
        return sum_so_far(counted, table.offsets).astype(np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StepCount:
        """Return the score that `to_dict` has written."""
        return cls(**data)


class _Steps:
    def __init__(self) -> None:
        self._steps = 0.0

    def update(self, source: str, target: str | None) -> float:
        self._steps += target != END
        return self._steps


@dataclass(frozen=True)
class OutcomeScore:
    """The log odds of failure given the moves so far, learned from failed and successful runs.

    A ridge logistic model of what a run has done so far, as the logs of counts: steps, escapes,
    how often the loop closed most was closed, the longest stay or shuttle, and, where runs have
    facts of their steps, the steps that failed, the calls that repeat an earlier one, those that
    got the same answer again, and the growth of cost (the most expensive step over the first).
    Beside them stands the log ratio of what failed and successful runs hold: for each run of one
    to three states that the run does for the first time, or, with `text`, for what it writes.

    It is trained on all prefixes of all runs, with weights by which each run counts once and both
    outcomes count the same, so 0 means even odds. The log ratios of a training run come from runs
    of other folds. The move to END changes nothing.

    Parameters
    ----------
    text : "ngrams", an ``Embeddings`` of LangChain, or None
        Read what the agent wrote: hashed words and pairs of words, or vectors that these give
        (asked for each text, live too). The log ratio of states and the number of steps then add
        nothing, and are left out. None reads no text.
    memory : int
        The depth of two context trees, of failed and of successful runs, whose log ratio, summed
        over the moves, is one more feature; 0 for none. See `ContextTree`.
    ridge : float
        Strength of the penalty on standardised weights, in runs.
    folds : int
        Parts for the log ratios of the training runs.
    prior : float
        N-grams, all runs together, that the log ratios are shrunk by.
    model : OutcomeModel or None
        What `fit` has learned.

    Raises
    ------
    InvalidInputError
        Where `text` is none of these, or `memory` is negative.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> stuck = Trajectory((("__start__", "a"), *9 * [("a", "a")]), success=False)
    >>> fine = Trajectory((("__start__", "a"), ("a", "b")), success=True)
    >>> state = OutcomeScore().fit(5 * [stuck, fine]).start()
    >>> risks = [state.update(*move) for move in stuck.moves]
    >>> risks == sorted(risks), risks[-1] > 0
    (True, True)
    """

    text: str | Embedder | None = None
    memory: int = 0
    ridge: float = 100.0
    folds: int = 5
    prior: float = 30.0
    model: OutcomeModel | None = None

    reads_steps = True
    """That `update` wants the facts and the text of each move."""

    def __post_init__(self) -> None:
        if not (self.text in (None, "ngrams") or hasattr(self.text, "embed_documents")):
            raise InvalidInputError(
                f'text is {self.text!r}; give "ngrams", an Embeddings of LangChain, or None'
            )
        if self.memory < 0:
            raise InvalidInputError(f"memory is {self.memory}; give a depth, or 0 for none")

    @property
    def weighs_facts(self) -> bool:
        """Whether the facts of steps have a weight: the runs that it was fitted to had some."""
        weights = {} if self.model is None else self.model.weights
        return any(weights.get(name) for name in (*FACTS, "growth"))

    @property
    def embeddings(self) -> Embedder | None:
        """What embeds texts, where they are embedded."""
        return None if self.text is None or isinstance(self.text, str) else self.text

    def fit(self, runs: Runs, seed: int = 0, *, texts: Texts | None = None) -> OutcomeScore:
        """Learn from runs of known success; others, and runs without moves, are left out.

        Parameters
        ----------
        runs : RunTable, or iterable of Trajectory
            The runs.
        seed : int
            Seed of the folds.
        texts : mapping of str to sequence of (str or None)
            What the agent wrote in each move, by the name of the run.

        Raises
        ------
        InsufficientDataError
            Where no run failed, or none succeeded.
        InvalidInputError
            Where texts are wanted and not given, or not of these runs.
        """
        table = RunTable.of(runs)
        table = table.select((table.lengths > 0) & (table.success >= 0))
        failed = table.success == 0
        if failed.all() or not failed.any():
            raise InsufficientDataError(
                f"this score learns from failed and from successful runs, and was given "
                f"{failed.sum()} and {(~failed).sum()}; without failed runs, fit the guard with "
                f"a score of declared rules, such as RepetitionLimits"
            )
        read = self._read(table, texts)
        fold = deal_folds(failed, self.folds, np.random.default_rng(seed))
        settings: dict[str, Any] = {"prior": self.prior, "depth": self.memory, "read": read}
        parts, columns = fit_parts(table, failed, fold, **settings)
        run = table.run_of_move
        shares = np.where(failed, 0.5 / failed.sum(), 0.5 / (~failed).sum())
        weights = (shares * len(table) / table.lengths)[run]
        design = np.column_stack(list(columns.values()))
        intercept, *found = fit_ridge_logistic(design, failed[run], weights, self.ridge).tolist()
        return replace(
            self, model=OutcomeModel(intercept, dict(zip(columns, found, strict=True)), *parts)
        )

    def risks(self, runs: Runs, *, texts: Texts | None = None) -> NDArray[np.float64]:
        """(m,) array: the log odds of failure after each of the m moves of runs, as live.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> stuck = Trajectory((("a", "a"),) * 4, success=False)
        >>> fine = Trajectory((("a", "b"),), success=True)
        >>> score = OutcomeScore().fit([stuck, fine] * 5)
        >>> state = score.start()
        >>> score.risks([stuck]).tolist() == [state.update(*move) for move in stuck.moves]
        True
        """
        model, table = self._fitted(), RunTable.of(runs)
        return model.weigh(measure_evidence(table, model, self._read(table, texts)))

    def start(self) -> RunState:
        """Begin a run."""
        return _OutcomeState(self._fitted())

    def _read(self, table: RunTable, texts: Texts | None) -> ReadTexts | None:
        if self.text is None:
            return None
        if texts is None:
            raise InvalidInputError(
                "this score reads what the agent wrote, and no texts are given: pass texts=, a "
                "mapping from the name of a run to the text of each of its moves, as "
                "read_texts(path) gives it, or leave text= out"
            )
        return ReadTexts.of(align_texts(table, texts), self.embeddings)

    def _fitted(self) -> OutcomeModel:
        if self.model is None:
            raise InvalidInputError("this score is not fitted: call fit(runs) first")
        return self.model

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; of embeddings the name of their class alone."""
        fields = {name: getattr(self, name) for name in ("memory", "ridge", "folds", "prior")}
        text = self.text if self.embeddings is None else {"class": type(self.text).__name__}
        return {"text": text, **fields, "model": self.model and self.model.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], embeddings: Embedder | None = None) -> OutcomeScore:
        """Return the score that `to_dict` has written, with the embeddings that it was fitted with.

        Raises
        ------
        InvalidInputError
            Where it needs embeddings, and none are given.
        """
        fields = dict(data)
        if isinstance(fields.get("text"), Mapping):
            if embeddings is None:
                raise InvalidInputError(
                    f"this guard reads texts by embeddings of the class "
                    f"{fields['text'].get('class')!r}: give the same as embeddings="
                )
            fields["text"] = embeddings
        if fields.get("model") is not None:
            fields["model"] = OutcomeModel.from_dict(fields["model"], embeddings)
        return cls(**fields)


class _OutcomeState:
    """One run under an `OutcomeScore`."""

    def __init__(self, model: OutcomeModel) -> None:
        self._model = model
        self._evidence = RunFeatures(model)

    def update(
        self,
        source: str,
        target: str | None,
        facts: StepFacts | None = None,
        text: str | None = None,
    ) -> float:
        """Add one move, and return the log odds of failure."""
        self._evidence.update(source, target, facts, text)
        return self._model.weigh(self._evidence.values())
