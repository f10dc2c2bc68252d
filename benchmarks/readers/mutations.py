"""100,000 damaged files of all formats: `python -m benchmarks.readers.mutations --inputs 100000`.

Each is read in this process. It must be read, or be refused by an error of ours, within a time; the
account of its records must add up, and reading it as a whole must tell the same.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.readers.mutate import mutate
from benchmarks.readers.seeds import Seed, collect_seeds
from detailed_balance.analyzers import END
from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.callbacks import Transition
from detailed_balance.readers import FORMATS, read_recording, read_transitions
from detailed_balance.readers.registry import detect_format

__all__ = ["Result", "read_mutated"]

AS_WHOLE = 8
"""Of so many files one is read as a whole too, which takes longer."""

SECONDS = 20
_COLUMNS = ("accepted", "refused", "read", "skipped", "duplicates", "moves")


class HangError(BaseException):
    """A reader takes longer than it may; no handler of errors catches this."""


@dataclass(frozen=True)
class Result:
    """What a reader did with a file.

    Parameters
    ----------
    read, skipped, duplicates, moves, ends : int
        How many records and moves there were, and how many of these lead to END.
    refused : str
        The error that said what is wrong, else empty.
    """

    read: int = 0
    skipped: int = 0
    duplicates: int = 0
    moves: int = 0
    ends: int = 0
    refused: str = ""


def read_mutated(path: Path, seed: Seed, *, whole: bool) -> Result:
    """Read a file to its end, and check that the account adds up.

    Raises
    ------
    AssertionError
        Where it does not.
    """
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS)
    try:
        if seed.of_recording:
            return _read_whole(path, seed)
        found = _read_one_by_one(path, seed)
        if whole:
            _compare(found, _read_whole(path, seed))
        return found
    finally:
        signal.alarm(0)


def _give_up(*_: object) -> None:
    raise HangError(f"it takes longer than {SECONDS} s")


def _read_one_by_one(path: Path, seed: Seed) -> Result:
    try:
        reader = read_transitions(path, skip_bad_lines=True, **seed.options)
        records = list(reader.records())
    except DetailedBalanceError as error:
        return Result(refused=_check_text(error))
    moves = [record for record in records if isinstance(record, Transition)]
    assert all(isinstance(move.source, str) and move.source for move in moves), "no source"
    assert bool(reader.skipped) == bool(reader.skipped_count), "skipped records have no reason"
    ends = sum(move.target == END for move in moves)
    account = (reader.read_count, reader.skipped_count, reader.duplicate_count)
    assert min(account) >= 0, f"an account below 0: {account}"
    unnamed = any("state function failed" in each.reason for each in reader.skipped)
    assert not moves or reader.read_count > 0 or unnamed, "moves of no record"
    return Result(*account, sum(move.count for move in moves), ends)


def _read_whole(path: Path, seed: Seed) -> Result:
    try:
        found = read_recording(path, skip_bad_lines=True, **seed.options)
    except DetailedBalanceError as error:
        return Result(refused=_check_text(error))
    moves = int(found.counts.attempts.sum())
    in_runs = 0 if found.runs is None else found.runs.total
    assert in_runs <= moves, f"{in_runs} moves in runs, {moves} in all"
    account = (found.read_count, found.skipped_count, found.duplicate_count)
    assert min(account) >= 0, f"an account below 0: {account}"
    return Result(*account, moves)


def _check_text(error: DetailedBalanceError) -> str:
    text = str(error)
    assert text, "an error without a message"
    assert all(char.isprintable() or char == "\n" for char in text), f"not printable: {text!r}"
    return text


def _compare(one: Result, whole: Result) -> None:
    """Hold what is read record by record against what is read as a whole."""
    if one.refused or whole.refused:
        assert one.refused == whole.refused, f"{one.refused!r} or {whole.refused!r}"
        return
    same = ("read", "skipped", "duplicates", "moves")
    differs = [name for name in same if getattr(one, name) != getattr(whole, name)]
    assert not differs, f"{differs} differ: {one} {whole}"


def group_seeds(seeds: Sequence[Seed], path: Path) -> dict[str, list[Seed]]:
    """Return seeds by the format that reads them; those that are refused are left out."""
    groups: defaultdict[str, list[Seed]] = defaultdict(list)
    for seed in seeds:
        place = path.with_name(f"seed{seed.suffix}")
        place.write_bytes(seed.data)
        try:
            name = seed.options.get("format") or detect_format(place).name
        except DetailedBalanceError:
            continue
        if not read_mutated(place, seed, whole=False).refused:
            groups[name].append(seed)
    return dict(sorted(groups.items()))


def main() -> None:
    """Print how many files of each format were read, and what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("formats", nargs="*", help="these alone; by default all")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        groups = group_seeds(collect_seeds(), Path(folder) / "x")
        print(f"{sum(map(len, groups.values()))} files of {len(groups)} formats")
        if missing := set(FORMATS) - groups.keys():
            sys.exit(f"no test reads a file of {', '.join(sorted(missing))}")
        if chosen.formats:
            groups = {name: seeds for name, seeds in groups.items() if name in chosen.formats}
        print(
            "| format | files | inputs | read | refused | records | skipped | duplicates | moves |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        began = time.process_time()
        for place, (name, seeds) in enumerate(groups.items()):
            inputs = len(range(place, chosen.inputs, len(groups)))
            total: Counter[str] = Counter()
            for number in range(inputs):
                noise = random.Random(f"{chosen.seed} {name} {number}")
                seed = noise.choice(seeds)
                path = Path(folder) / f"t{seed.suffix}"
                path.write_bytes(mutate(seed.data, noise))
                try:
                    found = read_mutated(path, seed, whole=number % AS_WHOLE == 0)
                except (Exception, HangError) as error:
                    faults[_place(error)] += 1
                    kept = Path(tempfile.gettempdir()) / f"mutation-{name}-{number}{seed.suffix}"
                    kept.write_bytes(path.read_bytes())
                    print(f"FAULT {kept} {seed.options}: {_place(error)}", file=sys.stderr)
                    continue
                total.update({k: v for k, v in vars(found).items() if isinstance(v, int)})
                total["accepted" if not found.refused else "refused"] += 1
            shown = [total[key] for key in _COLUMNS]
            print("|", " | ".join(map(str, [name, len(seeds), inputs, *shown])), "|", flush=True)
    print(f"\n{sum(faults.values())} faults; {time.process_time() - began:.0f} s of CPU")
    for place, number in faults.most_common():
        print(f"{number} x {place}")
    sys.exit(bool(faults))


def _place(error: BaseException) -> str:
    """Say where an error was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:200]}"


if __name__ == "__main__":
    main()
