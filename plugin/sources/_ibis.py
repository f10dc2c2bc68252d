"""One Ibis expression from a table of events to counts, the same on every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any, TypeAlias

from detailed_balance.analyzers import END, START
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.render.formatting import safe_text

Table: TypeAlias = Any
"""An Ibis table; what Ibis itself says of the types of columns is too little to be checked."""

_SIDE_BY_SIDE = "|"


def count_events(
    table: Table,
    *,
    trajectory: str | None = None,
    order: str | Sequence[str] | None = None,
    state: str | None = None,
    source: str = "source",
    target: str = "target",
    count: str | None = None,
    context: Mapping[str, str] | None = None,
    boundaries: bool = True,
    unique: bool = False,
) -> Table:
    """Turn a table of events into the table of its edges; nothing is computed yet.

    With `state` each row is a step of a trajectory, and moves lead from one to the next. Without,
    each row is a move, and equal moves are added up.

    Parameters
    ----------
    table : ibis Table
        Of any engine that Ibis knows.
    trajectory : str, optional
        The column of the run; rows where it is null are one run together. By default all rows are.
    order : str or sequence of str
        The columns that order the steps of a run. Rows that agree in all of them happened side by
        side: their distinct states, sorted and joined by ``|``, are one. Nulls come last.
    state : str, optional
        The column of the state. Null or empty is an escape: an attempt from the state before it,
        at an equal place from the state before that place.
    source, target : str
        Without `state`: the columns of the two states. A null or empty target is an escape; rows
        with a null or empty source say nothing.
    count : str, optional
        A column that says how often the move of a row was made; null is once.
    context : mapping of str to str, optional
        Keep only the moves whose row has these values in these columns; a move between steps has
        those of the step that it reaches, of a place with several rows those of any of them.
    boundaries : bool
        Whether a run begins with a move from START and ends with one to END. Without, what comes
        before the first state and after the last one counts as nothing, no attempt either.
    unique : bool
        A promise that no two steps of a run agree in the order, which makes it several times
        faster.

    Returns
    -------
    ibis Table
        Columns ``source``, ``target`` (null: an escape) and ``count`` (int64, above 0), each
        pair once, in no order.

    Raises
    ------
    InvalidInputError
        Where a column is missing, or steps have no order.

    Examples
    --------
    >>> import ibis
    >>> rows = {"run": ["A", "A", "A"], "at": [1, 2, 2], "tool": ["plan", "search", "read"]}
    >>> edges = count_events(ibis.memtable(rows), trajectory="run", order="at", state="tool")
    >>> sorted(edges.execute().itertuples(index=False, name=None))
    [('__start__', 'plan', 1), ('plan', 'read|search', 1), ('read|search', '__end__', 1)]
    """
    ibis = load_ibis()
    if state is None:
        moves = count_moves(table, source=source, target=target, count=count, context=context)
        return _add_up(moves.filter(moves.source.notnull()), boundaries=boundaries)
    steps = _name_steps(table, trajectory, order, state, context)
    steps = steps.mutate(state=steps.state.nullif(""))
    steps = _mark_escapes(steps) if unique else _join_side_by_side(steps)
    moves, escapes = _count_states(steps), _count_escapes(steps)
    edges = moves.select("source", "target", "count").union(
        moves.select(source="target", target=ibis.literal(END), count="ends"),
        escapes.select("source", target=ibis.null("string"), count="count"),
    )
    return _add_up(edges, boundaries=boundaries)


def count_in_order(
    table: Table,
    *,
    trajectory: str | None,
    order: str | Sequence[str] | None,
    state: str,
    context: Mapping[str, str] | None = None,
) -> Table:
    """Count steps as `count_events` does, in one pass, where no two share a place or are escapes.

    Returns
    -------
    ibis Table
        Columns ``source`` (null: START), ``target``, ``count``; ``ends``, how many of these moves
        were the last of their run; and ``doubts``, how many steps have no place or share it. The
        counts hold where no doubt, and no null or empty target, is among them.
    """
    ibis = load_ibis()
    steps = _name_steps(table, trajectory, order, state, context)
    places = _places(steps)
    window = ibis.window(group_by="trajectory", order_by=places)
    after = {f"next_{name}": steps[name].lead().over(window) for name in places}
    rows = steps.mutate(source=steps.state.lag().over(window), **after)
    shared = reduce(and_, (rows[name] == rows[f"next_{name}"] for name in places))
    last = rows[f"next_{places[-1]}"].isnull()
    counted = {"where": rows.chosen} if context else {}
    return rows.group_by([rows.source, rows.state.name("target")]).aggregate(
        count=rows.count(**counted),
        ends=rows.count(where=last & rows.chosen if context else last),
        doubts=rows.count(where=(shared | rows[places[-1]].isnull()).fill_null(False)),
    )


def count_moves(
    table: Table,
    *,
    source: str,
    target: str,
    count: str | None = None,
    context: Mapping[str, str] | None = None,
) -> Table:
    """Add up the moves of a table as `count_events` does, and say where rows are wrong.

    Returns
    -------
    ibis Table
        Columns ``source`` (null: rows that say nothing), ``target``, ``count``, and ``least``,
        the smallest count of a row.
    """
    ibis = load_ibis()
    once = ibis.literal(1, "int64")
    rows = table.select(
        source=_text(table, source, "source").nullif(""),
        target=_text(table, target, "target").nullif(""),
        count=once if count is None else _column(table, count, "count").cast("int64").fill_null(1),
        chosen=_chosen(table, context),
    )
    rows = rows.filter(rows.chosen)
    number = rows["count"]
    return rows.group_by(["source", "target"]).aggregate(
        count=number.sum().cast("int64"), least=number.min()
    )


def load_ibis() -> Any:
    """Return the module `ibis`.

    Raises
    ------
    InvalidInputError
        Where it is not installed.
    """
    try:
        import ibis
    except ImportError as error:
        raise InvalidInputError(
            "tables are counted through Ibis, which is not installed; install "
            "'detailed-balance[scale]'"
        ) from error
    return ibis


def _name_steps(
    table: Table,
    trajectory: str | None,
    order: str | Sequence[str] | None,
    state: str,
    context: Mapping[str, str] | None,
) -> Table:
    """Return the columns trajectory, state, chosen, and one for each part of the order."""
    ibis = load_ibis()
    columns = [order] if isinstance(order, str) else list(order or ())
    if not columns:
        raise InvalidInputError(
            "steps need an order, a table in a database has none of its own; name the column that "
            "holds it with order="
        )
    places = {f"place_{i}": _column(table, name, "order") for i, name in enumerate(columns)}
    run = ibis.literal(0) if trajectory is None else _column(table, trajectory, "trajectory")
    return table.select(
        trajectory=run, state=_text(table, state, "state"), chosen=_chosen(table, context), **places
    )


def _places(steps: Table) -> list[str]:
    return [name for name in steps.columns if name.startswith("place_")]


def _column(table: Table, name: str, option: str) -> Any:
    if name not in table.columns:
        there = ", ".join(f"'{safe_text(column, 40)}'" for column in table.columns[:12])
        raise InvalidInputError(
            f"there is no column '{safe_text(name, 40)}'; the columns are {there}. Name the right "
            f"one with {option}="
        )
    return table[name]


def _text(table: Table, name: str, option: str) -> Any:
    column = _column(table, name, option)
    return column if column.type().is_string() else column.cast("string")


def _chosen(table: Table, context: Mapping[str, str] | None) -> Any:
    conditions = [
        _text(table, name, "context").fill_null("") == value
        for name, value in (context or {}).items()
    ]
    return reduce(and_, conditions, load_ibis().literal(True))


def _mark_escapes(steps: Table) -> Table:
    """Add the column escapes, 1 for a chosen step without a state."""
    failed = steps.state.isnull() & steps.chosen
    return steps.mutate(escapes=failed.ifelse(1, 0))


def _join_side_by_side(steps: Table) -> Table:
    """Return one row for each place of a run, with its states and the number of its escapes."""
    place = ["trajectory", *_places(steps)]
    marked = _mark_escapes(steps)
    once = marked.group_by([*place, "state"]).aggregate(
        chosen=marked.chosen.any(), escapes=marked.escapes.sum()
    )
    return once.group_by(place).aggregate(
        state=_join_sorted(once.state),
        chosen=once.chosen.any(where=once.state.notnull()),
        escapes=once.escapes.sum().cast("int64"),
    )


def _join_sorted(states: Any) -> Any:
    """Aggregate texts into one, sorted as Python sorts them; null where there are none."""
    ibis = load_ibis()
    if _engine(states) != "postgres":
        return states.collect().sort().join(_SIDE_BY_SIDE).nullif("")

    # PostgreSQL sorts texts by the language of the database, and their bytes as all others do.
    def convert_to(text: str, encoding: str) -> bytes:
        return text.encode(encoding)  # PostgreSQL has a function of this name, and runs that

    to_bytes = ibis.udf.scalar.builtin(convert_to)
    return states.group_concat(_SIDE_BY_SIDE, order_by=to_bytes(states, "UTF8"))


def _engine(expression: Any) -> str:
    try:
        return str(expression.get_backend().name)
    except load_ibis().common.exceptions.IbisError:  # a table in memory belongs to none yet
        return ""


def _count_states(steps: Table) -> Table:
    """Return the moves between states, and how many of each were the last of their run."""
    states = steps.filter(steps.state.notnull())
    window = load_ibis().window(group_by="trajectory", order_by=_places(states))
    rows = states.mutate(
        source=states.state.lag().over(window).fill_null(START),
        last=states.state.lead().over(window).isnull(),
    )
    rows = rows.filter(rows.chosen)
    return rows.group_by([rows.source, rows.state.name("target")]).aggregate(
        count=rows.count(), ends=rows.count(where=rows.last)
    )


def _count_escapes(steps: Table) -> Table:
    """Return the escapes, each from the last state before it.

    The states of a run are numbered, and an escape is joined with the one whose number is as many
    as came before it. That is within what every engine has; to skip nulls in a window is not.
    """
    ibis = load_ibis()
    run = steps.trajectory
    so_far = ibis.window(
        group_by="trajectory", order_by=_places(steps), preceding=None, following=0
    )
    rows = steps.select(
        "state", "escapes", run=run.cast("string").fill_null(""), unnamed=run.isnull(),
        number=steps.state.count().over(so_far),
    )  # fmt: skip
    failed = rows.filter(rows.escapes > 0)
    failed = failed.mutate(number=failed.number - failed.state.notnull().ifelse(1, 0))
    states = rows.filter(rows.state.notnull()).select("run", "unnamed", "number", source="state")
    found = failed.left_join(states, ["run", "unnamed", "number"])
    found = found.mutate(source=found.source.fill_null(START))
    return found.group_by("source").aggregate(count=found.escapes.sum().cast("int64"))


def _add_up(edges: Table, *, boundaries: bool) -> Table:
    total = edges.group_by(["source", "target"]).aggregate(count=edges["count"].sum().cast("int64"))
    kept = total["count"] != 0
    if not boundaries:
        kept &= (total.source != START) & (total.target.fill_null("") != END)
    return total.filter(kept)
