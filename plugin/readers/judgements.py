"""Judgements of runs in a table: a run and its success in each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detailed_balance.readers._read_transitions import make_options
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.readers.tables import delimited
from detailed_balance.render.formatting import safe_run

__all__ = ["read_judgements"]


def read_judgements(
    path: Path,
    bad: BadLines,
    *,
    trajectory_field: str = "run",
    success_field: str = "success",
    success_values: Sequence[str] = (),
) -> dict[str, tuple[bool, int | str]]:
    r"""Read which runs were successful from a delimited file.

    Parameters
    ----------
    path : Path
        The file, with a header.
    bad : BadLines
        Keeps account of the rows; `accepted` counts those that judge a run.
    trajectory_field, success_field : str
        The columns of the run and of its success; an empty success judges nothing.
    success_values : sequence of str
        As for `read_transitions`.

    Returns
    -------
    dict of str to (bool, int)
        The success of each run, and the line that says so.

    Raises
    ------
    InvalidInputError
        Where a value of `success_values` is not allowed.
    ReadError
        Where it is no such table; where a row is broken, or contradicts another, unless `bad`
        skips it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "judged.csv"
    ...     _ = path.write_text("run,success\nt1,true\nt2,0\n")
    ...     read_judgements(path, BadLines("judged.csv", skip=False))
    {'t1': (True, 2), 't2': (False, 3)}
    """
    options = make_options(
        state_field=trajectory_field,
        trajectory_field=trajectory_field,
        success_field=success_field,
        success_values=success_values,
    )
    found: dict[str, tuple[bool, int | str]] = {}
    for line, row in delimited.read_rows(path, options, bad):
        try:
            run = parse_text(row[trajectory_field], trajectory_field)
            outcome, success = options.fields.read_outcome(row)
        except BadRecordError as error:
            bad.report(line, str(error))
            continue
        if run is None or outcome is not None:
            bad.report(line, "it names no run" if run is None else f"{outcome} is no judgement")
        elif success is not None:
            if found.get(run, (success, 0))[0] != success:
                bad.report(line, f"it contradicts line {found[run][1]} about {safe_run(run)}")
                continue
            bad.accepted += 1
            found.setdefault(run, (success, line))
    return found
