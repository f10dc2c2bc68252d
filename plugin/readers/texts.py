"""`read_texts`: what an agent wrote in each move of its runs, for a guard that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers._read_transitions import (
    find_reader,
    make_options,
    name_source,
    open_records,
)
from detailed_balance.readers.records.base import BadLines

__all__ = ["read_texts"]


def read_texts(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - as in read_transitions
    skip_bad_lines: bool = False,
    **options: Any,
) -> Mapping[str, Sequence[str | None]]:
    r"""Read what an agent wrote in each move of its runs, by the names of the runs.

    Runs as `read_runs` reads them hold no texts; these are for a score that reads them:
    ``RunGuard.fit(runs, score=OutcomeScore(text="ngrams"), texts=read_texts(path))``. The text of a
    move is that of the message that asked for its tools, or answered; arguments of tools, their
    answers and what people wrote are left out.

    Parameters
    ----------
    source : str or path
        A file of messages.
    format, skip_bad_lines, **options
        As for `read_transitions`; give the same as for the runs.

    Raises
    ------
    ReadError
        As from `read_transitions`, and where the format has no messages.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "chat.json")
    ...     _ = path.write_text('[{"messages": [{"role": "assistant", "content": "Hello"}]}]')
    ...     read_texts(path)
    {'1': ['Hello']}
    """
    reader, texts = find_reader(source, format), dict[str, list[str | None]]()
    for unused in ("block_field", "cost_field"):
        options.pop(unused, None)
    asked = replace(make_options(**options), texts=texts)
    bad = BadLines(name_source(source, reader), skip=skip_bad_lines)
    for _ in open_records(source, reader, asked, bad):
        pass
    if not texts:
        raise ReadError(
            f"{bad.name} is read as {reader}, which holds no texts of messages: give a file of "
            f"messages, or a guard without text"
        )
    return texts
