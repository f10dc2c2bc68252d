"""Files of session logs and trajectories, read as a whole."""

import json
from collections import Counter

from detailed_balance.readers.recording import read_recording

__all__ = ["account", "moves", "read_lines", "read_text", "run_moves"]


def read_text(tmp_path, text, name, **options):
    path = tmp_path / name
    path.write_text(text)
    return read_recording(path, **options)


def read_lines(tmp_path, lines, name="t.jsonl", **options):
    return read_text(tmp_path, "\n".join(map(json.dumps, lines)), name, **options)


def run_moves(run):
    """Return the moves of a run with their counts: ``"a>b 2, b>a 1"``."""
    counts = Counter(run.moves)
    return ", ".join(f"{source}>{target} {n}" for (source, target), n in counts.items())


def moves(recording):
    """Return the moves of the only run."""
    (run,) = recording.runs
    return run_moves(run)


def account(recording):
    """Return how many records were read, skipped, and left out as duplicates."""
    return recording.read_count, recording.skipped_count, recording.duplicate_count
