"""`import_trace`, from any trace that can be read into a store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, cast

from sqlalchemy import URL, Column, Double, Integer, MetaData, Table, Text, insert, select, update

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import Transition, TransitionStore
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store.engine import open_engine
from detailed_balance.readers import TransitionReader
from detailed_balance.readers.records.base import Record
from detailed_balance.render.formatting import safe_text
from detailed_balance.sources.source import Progress, open_source

__all__ = ["ImportSummary", "import_trace"]

_IMPORTS = Table(
    "detailed_balance_imports",
    MetaData(),
    Column("digest", Text, primary_key=True),
    Column("began", Double, nullable=False),
    Column("transitions", Integer, nullable=True),  # null until the import has ended
)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did.

    Parameters
    ----------
    transitions, endings : int
        How many were written.
    read, skipped, duplicates : int
        Records of the source, which together are all of them.
    reordered : int
        Steps that were out of order, by their number or time.
    already : bool
        Whether the same was imported before, so that nothing was written now.

    Examples
    --------
    >>> ImportSummary(3, 1, 2, 0, 0).transitions
    3
    """

    transitions: int
    endings: int
    read: int
    skipped: int
    duplicates: int
    reordered: int = 0
    already: bool = False


def import_trace(
    source: object,
    store: str | os.PathLike[str] | URL,
    *,
    prefix: str = "",
    progress: Progress | None = None,
    **options: Any,
) -> ImportSummary:
    r"""Read a trace into a store, with the outcomes of its runs.

    The trace is read twice: first to see that it can be read to its end and is not in the store
    yet, then to write it. So a trace with an error in it leaves the store as it was.

    Parameters
    ----------
    source : object
        Files, databases, a networkx graph or a DataFrame, as for `open_source`.
    store : path or URL
        Where to; made where there is none.
    prefix : str
        Put before the name of each run, to keep the runs of several traces apart.
    progress : callable, optional
        See `Progress`.
    **options
        As for `read_transitions`.

    Returns
    -------
    ImportSummary
        Where the same was imported before, it says so, and nothing is written.

    Raises
    ------
    InvalidInputError
        Where the store has a run of the same name, or an import of this was cut short.
    ReadError
        As from `read_transitions`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "trace.csv").write_text("source,target,trajectory\nplan,search,T1\n")
    >>> import_trace(folder / "trace.csv", folder / "runs.db").transitions
    1
    >>> import_trace(folder / "trace.csv", folder / "runs.db").already
    True
    """
    url = _store_url(store)
    if str(source) in (str(store), str(url)):
        raise InvalidInputError(f"the source and the store are the same, {hide_secrets(store)}")
    trace = _Trace(source, prefix, options, progress)
    with TransitionStore(url) as opened, closing(_Imports(url)) as imports:
        digest, summary = trace.check(opened.trajectories(), imports.has)
        if summary.already:
            return summary
        imports.begin(digest)
        opened.append(trace.records("Writing"))
        imports.end(digest, summary.transitions)
    return summary


def _store_url(store: str | os.PathLike[str] | URL) -> str | URL:
    if isinstance(store, URL) or "://" in str(store):
        return cast("str | URL", store)
    return URL.create("sqlite", database=os.fspath(store))


class _Trace:
    """A source that can be read more than once, the standard input too."""

    def __init__(
        self, source: object, prefix: str, options: dict[str, Any], progress: Progress | None
    ) -> None:
        self.prefix, self._progress, self._stage = prefix, progress, ""
        report = None if progress is None else self._report
        self._source = open_source(source, progress=report, **options)

    def records(
        self, stage: str, readers: list[TransitionReader] | None = None
    ) -> Iterator[Record]:
        """Yield all records; the readers that gave them are added to a list."""
        self._stage = stage
        for reader in self._source.readers():
            if readers is not None:
                readers.append(reader)
            yield from self._rename(reader.records())

    def _report(self, _: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(self._stage, done, total)

    def check(
        self, known: Iterable[str], is_imported: Callable[[str], bool]
    ) -> tuple[str, ImportSummary]:
        """Read the trace to its end, and return its digest and what is in it."""
        names, taken = frozenset(known), None
        readers: list[TransitionReader] = []
        digest, moves, endings = blake2b(digest_size=16), 0, 0
        for record in self.records("Checking", readers):
            is_move = isinstance(record, Transition)
            moves, endings = moves + is_move, endings + (not is_move)
            digest.update(repr(record).encode("utf-8", "backslashreplace"))
            if taken is None and record.trajectory in names:
                taken = record.trajectory
        already = is_imported(digest.hexdigest())
        if taken is not None and not already:
            raise InvalidInputError(
                f"the store has a run called {safe_text(taken, 80)!r} already; prefix= (on the "
                "command line --prefix) keeps the runs of two traces apart"
            )
        return digest.hexdigest(), ImportSummary(
            0 if already else moves,
            0 if already else endings,
            sum(reader.read_count for reader in readers),
            sum(reader.skipped_count for reader in readers),
            sum(reader.duplicate_count for reader in readers),
            sum(reader.reordered_count for reader in readers),
            already,
        )

    def _rename(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            if self.prefix and record.trajectory is not None:
                record = replace(record, trajectory=self.prefix + record.trajectory)
            yield record


class _Imports:
    """The table of what was imported into a store before."""

    def __init__(self, url: str | URL) -> None:
        self._engine = open_engine(url, create=False)
        _IMPORTS.create(self._engine, checkfirst=True)

    def has(self, digest: str) -> bool:
        """Say whether this was imported; one that was cut short is an error."""
        query = select(_IMPORTS.c.began, _IMPORTS.c.transitions)
        with self._engine.connect() as connection:
            row = connection.execute(query.where(_IMPORTS.c.digest == digest)).first()
        if row is not None and row.transitions is None:
            raise InvalidInputError(
                "an import of the same trace into this store was cut short, so a part of it is "
                "there; import it into a new store"
            )
        return row is not None

    def begin(self, digest: str) -> None:
        """Note that an import begins."""
        with self._engine.begin() as connection:
            connection.execute(insert(_IMPORTS).values(digest=digest, began=time.time()))

    def end(self, digest: str, transitions: int) -> None:
        """Note that it has ended."""
        done = update(_IMPORTS).where(_IMPORTS.c.digest == digest)
        with self._engine.begin() as connection:
            connection.execute(done.values(transitions=transitions))

    def close(self) -> None:
        """Disconnect."""
        self._engine.dispose()
