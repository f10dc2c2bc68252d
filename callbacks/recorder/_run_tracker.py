"""`RunTracker`, which knows all runs that are going on, and what each of them belongs to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks.facts import RunFacts, TaskFacts
from detailed_balance.callbacks.isolation import renew_after_fork
from detailed_balance.callbacks.recorder._labels import Labels
from detailed_balance.callbacks.recorder._run_state import (
    UNKNOWN,
    Call,
    Chain,
    ModelCall,
    Root,
    Run,
    StepRun,
    find_thread,
    make_run_id,
    name_base,
    name_graph,
    name_trajectory,
)
from detailed_balance.callbacks.recorder._stopped_runs import StoppedRuns
from detailed_balance.callbacks.recorder.langgraph_events import read_ambient_parent
from detailed_balance.callbacks.recorder.trajectory_builder import Record, Stop, TrajectoryBuilder
from detailed_balance.callbacks.transition import RESUMED, Beginning, Resumption

_NO_CALL, _NO_LABELS = Call(), Labels((), ())
_BROKEN_OFF = (Outcome.FAILED, Outcome.CANCELLED)


class RunTracker:
    """Follow runs from start to end, and return the moves that become certain; thread-safe.

    Runs are distinguished by their id, so an event that comes twice counts once; the id is the
    integer of a UUID, which is six times as fast a key. A run that is not a root, node, tool or
    model (a router, a chain, the run of a subgraph) is part of its owner.

    Parameters
    ----------
    labels : Labels
        Makes the contexts of the trajectories.
    plain : bool
        Whether tools and models that run in no graph are steps of a trajectory.
    on_evict : callable
        Called when a root counts as abandoned because there are too many.
    max_roots : int
        Roots followed at the same time; beyond it the oldest counts as abandoned.
    max_stopped : int
        Trajectories whose runs are kept for their resumption; beyond it the oldest is forgotten.
    may_resume : bool
        Whether somebody can find the run that an unknown invocation goes on with, as a store can:
        else where it stands is not known.
    facts : bool
        Whether to keep the facts of steps.
    """

    def __init__(
        self,
        labels: Labels = _NO_LABELS,
        *,
        plain: bool = True,
        on_evict: Callable[[], None] = lambda: None,
        max_roots: int = 10_000,
        max_stopped: int = 10_000,
        may_resume: bool = False,
        facts: bool = True,
    ) -> None:
        self._after_fork()
        renew_after_fork(self)
        self._labels = labels
        self._plain = plain
        self._on_evict = on_evict
        self._owners: dict[int, Run] = {}
        self._roots: OrderedDict[int, Root] = OrderedDict()
        self._stopped = StoppedRuns(max_stopped)
        self._evicted: list[Record] = []
        self._max_roots = max_roots
        self._may_resume = may_resume
        self._facts = facts

    def _after_fork(self) -> None:
        # Re-entrant: the garbage collector may close an abandoned stream, whose last events then
        # come in the midst of one of these methods, on the same thread.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Return the number of runs that are going on."""
        return len(self._owners)

    def get(self, run_id: int) -> Run | None:
        """Return the open root, node, tool or model that has this id."""
        owner = self._owners.get(run_id)
        return owner if owner is not None and owner.id == run_id else None

    def step_of(self, run_id: int) -> StepRun | None:
        """Return the step that a tool or a model is, or runs in."""
        owner = self.get(run_id)
        return None if owner is None else _step_of(owner)

    def start(self, run_id: int, parent_id: int | None, chain: Chain = UNKNOWN) -> Sequence[Record]:
        """Start a run that matters only for what runs inside it."""
        with self._lock:
            if owner := self._owner_of_new(run_id, parent_id):
                root = owner.root
                self._add(run_id, owner)
                root.chains[run_id] = chain
                if root.id == run_id:
                    _, root.resumes = chain
            return self._pop_evicted() if self._evicted else ()

    def start_node(
        self,
        run_id: int,
        graph_id: int,
        metadata: Mapping[str, Any],
        tags: Sequence[str] | None = None,
    ) -> Sequence[Record]:
        """Start a node of the graph whose run is `graph_id`."""
        with self._lock:
            owners = self._owners
            owner = owners.get(graph_id)
            if owner is None or run_id in owners:
                return ()  # the root was forgotten, or the event has come before
            root = owner.root
            builder = root.builders.get(graph_id) or self._open_builder(
                owner, graph_id, metadata, tags
            )
            task, name = metadata["langgraph_checkpoint_ns"], metadata["langgraph_node"]
            step = StepRun(run_id, root, metadata, builder, task, name)
            step.has_steps = task == builder.container  # its earlier tasks do not run again
            owners[run_id] = step
            root.open.add(run_id)
            return builder.start_task(task, metadata["langgraph_step"])

    def start_task(
        self, run_id: int, parent_id: int, metadata: Mapping[str, Any]
    ) -> Sequence[Record] | None:
        """Start a task of a functional workflow; None where the run is only a part of one."""
        with self._lock:
            above, task = self._owners.get(parent_id), metadata["langgraph_checkpoint_ns"]
            if not isinstance(above, StepRun) or above.task == task:
                return None
            if run_id in self._owners:
                return ()
            above.has_steps = True
            name, builder = metadata["langgraph_node"], above.builder
            self._add(run_id, StepRun(run_id, above.root, metadata, builder, task, name))
            return builder.start_next(task, container=above.task)

    def start_tool(
        self, run_id: int, parent_id: int | None, name: str, call: Call = _NO_CALL
    ) -> Sequence[Record]:
        """Start a tool; what runs inside it belongs to the tool and not to the node."""
        with self._lock:
            owner = self._owner_of_new(run_id, parent_id)
            if owner is None:
                return ()
            if owner.id == owner.root.id and (step := self._plain_step(owner, run_id, name, call)):
                step.tools.append(name)
                return (*self._pop_evicted(), *step.builder.start_next(step.task))
            self._add(run_id, Run(run_id, owner.root, step=_step_of(owner)))
            if isinstance(owner, StepRun) and owner.is_node:
                owner.tools.append(name)
            return self._pop_evicted() if self._evicted else ()

    def start_model(
        self, run_id: int, parent_id: int | None, call: Call = _NO_CALL
    ) -> Sequence[Record]:
        """Start a model call that is not a transition by itself."""
        with self._lock:
            owner = self._owner_of_new(run_id, parent_id)
            if owner is None:
                return ()
            if owner.id == owner.root.id and (
                step := self._plain_step(owner, run_id, "model", call)
            ):
                step.called_model = True
                self._label_model(step, call)
                return (*self._pop_evicted(), *step.builder.start_next(step.task))
            self._add(run_id, Run(run_id, owner.root, step=_step_of(owner)))
            if isinstance(owner, StepRun) and owner.is_node:
                owner.called_model = True
                self._label_model(owner, call)
            return self._pop_evicted() if self._evicted else ()

    def start_call(
        self, run_id: int, parent_id: int | None, source: str, call: Call = _NO_CALL
    ) -> Sequence[Record]:
        """Start a model call that is a transition from the state `source`."""
        with self._lock:
            owner = self._owner_of_new(run_id, parent_id)
            if owner is None:
                return ()
            metadata, root = call.metadata, owner.root
            trajectory = name_trajectory(name_base(metadata, root.id), metadata)
            context = self._labels.of_graph(metadata, call.tags, name_graph(root.chains, root.id))
            context = self._labels.add(context, "model", call.model)
            context = self._labels.add(context, "prompt", owner.template or call.prompt)
            place = metadata.get("langgraph_step")
            records = self._pop_evicted() if self._evicted else ()
            if trajectory not in root.calls:
                run = root.calls[trajectory] = make_run_id()
                thread = find_thread(metadata)
                began = Beginning(trajectory, run, thread, past_unknown=True, context=context)
                records = (*records, began)
            of = root.calls[trajectory]
            self._add(run_id, ModelCall(run_id, root, trajectory, of, source, place, context))
            return records

    def record_template(self, parent_id: int, template: str) -> None:
        """Record that a prompt template was filled in."""
        with self._lock:
            if owner := self._owners.get(parent_id):
                owner.template = template

    def interrupt(self, graph_id: int) -> None:
        """Record that a graph stops between two supersteps and may be resumed."""
        with self._lock:
            owner = self._owners.get(graph_id)
            if owner and graph_id in owner.root.builders:
                owner.root.builders[graph_id].interrupted = True

    def end(
        self,
        run_id: int,
        outcome: Outcome,
        names: tuple[str, ...] = (),
        error: BaseException | None = None,
        facts: TaskFacts | None = None,
    ) -> Sequence[Record]:
        """End a run; `names` are the state keys of a node that finished or a model's reply."""
        with self._lock:
            owner = self._owners.pop(run_id, None)
            if owner is None:
                return ()
            root = owner.root
            root.open.discard(run_id)
            records: Sequence[Record] = ()
            if outcome is Outcome.RECURSION_LIMIT and error is not None:
                # Only the graph that raises it is at its limit, and none that it comes through.
                if owner.id == run_id and isinstance(owner, StepRun):
                    root.inner_limits.add(error)
                if error in root.inner_limits:
                    outcome = Outcome.FAILED
            if owner.id == run_id:
                if outcome in _BROKEN_OFF and isinstance(owner, StepRun):
                    owner.builder.failure = f"{type(error).__name__} in {owner.doing}"
                records = owner.end(outcome, names, facts)
            else:
                root.chains.pop(run_id, None)
            if builder := root.builders.pop(run_id, None):
                records = (*records, *self._end_trajectory(builder, outcome, error))
            if root.id == run_id:
                records = (*records, *self._forget(root))
            return records

    def _owner_of_new(self, run_id: int, parent_id: int | None) -> Run | None:
        """Return the owner of what runs in the parent; None where the run is known already.

        A run whose parent is unknown is a root: nothing was seen of what is above it.
        """
        if run_id in self._owners:
            return None
        owner = self._owners.get(parent_id) if parent_id else self._fallback_above()
        return owner or self._open_root(run_id, whole=parent_id is None)

    def _fallback_above(self) -> Run | None:
        """Return the `RunnableWithFallbacks` that runs here, which names itself to no child."""
        owner = self._owners.get(read_ambient_parent() or 0)
        name = owner and owner.root.chains.get(owner.id, UNKNOWN)[0]
        return owner if name and name.startswith("RunnableWithFallbacks") else None

    def _open_root(self, run_id: int, *, whole: bool) -> Run:
        if len(self._roots) >= self._max_roots:
            self._evicted += self._forget(next(iter(self._roots.values())))
            self._on_evict()
        root = self._roots[run_id] = Root(run_id, whole)
        return Run(run_id, root)

    def _pop_evicted(self) -> Sequence[Record]:
        if not self._evicted:
            return ()
        evicted, self._evicted = self._evicted, []
        return evicted

    def _add(self, run_id: int, owner: Run) -> None:
        self._owners[run_id] = owner
        owner.root.open.add(run_id)

    def _forget(self, root: Root) -> list[Record]:
        """Forget a root, and what of it has not ended."""
        self._roots.pop(root.id, None)
        for run_id in root.open:
            self._owners.pop(run_id, None)
        builders, root.builders = root.builders, {}
        return [
            record
            for builder in builders.values()
            for record in self._end_trajectory(builder, Outcome.ABANDONED, None)
        ]

    def _plain_step(self, owner: Run, run_id: int, name: str, call: Call) -> StepRun | None:
        """Return a tool or a model as a step of a trajectory, where it runs in no graph."""
        root, metadata = owner.root, call.metadata
        if not (self._plain and root.whole and type(owner) is Run):
            return None
        if "langgraph_step" in metadata:  # what a conditional entry calls, to choose
            return None
        builder = root.builders.get(root.id) or self._open_builder(
            owner, root.id, metadata, call.tags
        )
        task = str(run_id)
        step = StepRun(run_id, root, metadata, builder, task, name, is_node=False)
        step.template = owner.template
        self._add(run_id, step)
        return step

    def _label_model(self, step: StepRun, call: Call) -> None:
        """Label the trajectory by the model that it called last, and its prompt."""
        context = self._labels.add(step.builder.context, "model", call.model)
        step.builder.context = self._labels.add(context, "prompt", step.template or call.prompt)

    def _open_builder(
        self,
        owner: Run,
        graph_id: int,
        metadata: Mapping[str, Any],
        tags: Sequence[str] | None,
    ) -> TrajectoryBuilder:
        """Return the builder of the run that the first node of a graph goes on with, or a new one.

        It goes on with a run that did not end, if it is given no new input, and its first task
        did not finish in that run or its superstep is the one that follows. Where it names a
        checkpoint to go on from, only the task says so, for that run was perhaps left behind.
        """
        root, above = owner.root, _step_of(owner)
        builder = self._new_builder(above, graph_id, metadata)
        resumes = root.resumes or root.chains.get(graph_id, UNKNOWN)[1]
        begins = Resumption(
            metadata.get("langgraph_checkpoint_ns", ""),
            metadata.get("langgraph_step"),
            bool(metadata.get("checkpoint_id")) and above is None,
        )
        kept = None
        if (above or resumes) and begins.superstep is not None:
            within = above.builder.run if above and not resumes else None
            kept = self._stopped.pop(builder.trajectory, begins, within)
        if kept is not None:
            builder = kept
            builder.resume()
        else:
            builder.facts = RunFacts() if self._facts else None
            builder.context = self._labels.of_graph(
                metadata, tags, name_graph(root.chains, graph_id)
            )
            self._begin(builder, above, resumes, begins)
            self._stopped.record_latest(builder)
        root.builders[graph_id] = builder
        return builder

    def _begin(
        self,
        builder: TrajectoryBuilder,
        above: StepRun | None,
        resumes: bool,
        begins: Resumption,
    ) -> None:
        """Begin a new run, or one of which a store may know what it goes on with."""
        # Only the first superstep is known to come from START: a later one continues from a
        # checkpoint, or follows a cached node, which sends no event.
        late = (begins.superstep or 0) > 1
        asks = resumes and builder.resumable
        if late and (resumes or not (builder.resumable or above)):
            builder.source = RESUMED if asks and self._may_resume else None
        builder.run, builder.parent = make_run_id(), above.builder.run if above else None
        builder.beginning = Beginning(
            builder.trajectory,
            builder.run,
            builder.base if builder.resumable else None,
            builder.parent,
            self._stopped.latest(builder.trajectory) if asks else None,
            builder.source in (None, RESUMED),
            begins if asks else None,
            builder.context,
        )

    def _new_builder(
        self, above: StepRun | None, graph_id: int, metadata: Mapping[str, Any]
    ) -> TrajectoryBuilder:
        inside = above is not None and "|" in metadata.get("langgraph_checkpoint_ns", "")
        base = above.builder.base if above and inside else name_base(metadata, graph_id)
        trajectory = name_trajectory(base, metadata)
        if above and trajectory == above.builder.trajectory:  # a graph with a thread of its own
            trajectory = f"{trajectory}/{UUID(int=graph_id)}"
        return TrajectoryBuilder(trajectory, base, resumable=find_thread(metadata) is not None)

    def _end_trajectory(
        self, builder: TrajectoryBuilder, outcome: Outcome, error: BaseException | None
    ) -> Sequence[Record]:
        # A stream that is dropped after its interrupt was interrupted all the same.
        if builder.interrupted and outcome in (Outcome.ENDED, Outcome.ABANDONED):
            outcome = Outcome.INTERRUPTED
        moves = builder.finish() if outcome is Outcome.ENDED else builder.stop()
        standing = None
        if outcome is not Outcome.ENDED and builder.resumable:
            standing = builder.standing
            self._stopped.keep(builder)
        named = None if error is None or outcome is Outcome.INTERRUPTED else type(error).__name__
        if named and outcome in _BROKEN_OFF and builder.failure.startswith(f"{named} in "):
            named = builder.failure
        place = (builder.trajectory, outcome, named, builder.context, builder.run)
        replaces, builder.stopped = builder.stopped, (outcome, builder.context)
        return (*moves, Stop(*place, standing, builder.supersteps, replaces))


def _step_of(owner: Run) -> StepRun | None:
    """Return the step that something inside of `owner` runs in."""
    return owner if isinstance(owner, StepRun) else owner.step
