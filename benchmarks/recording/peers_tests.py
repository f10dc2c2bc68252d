"""The tests of LangChain and LangGraph, without the recorder and with it, compared one by one.

Run it with ``python -m benchmarks.recording.peers_tests FOLDER [--packages langchain-core ...]
[--check]``. It downloads the sources of the installed versions by pip, and what their tests need,
into the folder; runs the unit tests of each package twice, in a process without and in one with
``DETAILED_BALANCE_STORE``; runs those that end otherwise once more both ways, so that tests that
are not the same twice are told; and prints a table and the names of the tests that still differ.
With ``--check`` it also says which recorded runs break a rule that holds for every run. A package
whose sources hold no tests is named so; the tests of its repository are not fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.recording._outcomes import OUTCOMES

PACKAGES = {
    "langchain": ("tests/unit_tests/agents",),
    "langchain-core": tuple(
        f"tests/unit_tests/{name}"
        for name in ("callbacks", "tracers", "runnables", "language_models", "test_tools.py")
    ),
    "langgraph": ("tests",),
    "langgraph-prebuilt": ("tests",),
    "langgraph-supervisor": ("tests",),
    "langgraph-swarm": ("tests",),
}
"""Which tests of a package are run."""

NEEDED = (
    *("blockbuster", "forbiddenfruit", "freezegun", "grandalf", "langchain-tests", "pycryptodome"),
    *("pytest-mock", "pytest-recording", "pytest-socket", "pytest-timeout", "redis", "responses"),
    *("syrupy", "vcrpy", "langgraph-supervisor", "langgraph-swarm"),
)
"""What the tests need beside pytest, pytest-asyncio and pytest-xdist."""

_OPTIONS = (
    "-q",
    "--continue-on-collection-errors",
    "--timeout",
    "120",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:benchmark",
)
_CLOSED = ("--disable-socket", "--allow-unix-socket")  # as LangChain runs them
_ROOT = Path(__file__).parents[2]

Outcomes: TypeAlias = dict[str, str]
"""By the name of a test: passed, failed, skipped, or in which phase it failed."""


class Compared(NamedTuple):
    """The outcomes of the tests of a package."""

    without: Outcomes
    with_recorder: Outcomes
    unsteady: list[str]
    """Tests that differed once, and not again."""
    differ: list[str]


def download(package: str, folder: Path) -> Path | str:
    """Return the folder of the sources of a package; or why there is none."""
    try:
        wanted = f"{package}=={version(package)}"
    except PackageNotFoundError:
        wanted = package  # the newest, which is among what is needed
    name = wanted.replace("-", "_").replace("==", "-")
    if not any(folder.glob(f"{name}*.tar.gz")):
        options = ["--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
        if _run_pip("download", *options, wanted):
            return f"has no sources of {wanted} to download"
    archive = max(folder.glob(f"{name}*.tar.gz"))
    source = archive.with_name(archive.name.removesuffix(".tar.gz"))
    if not source.is_dir():
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    return source if any(source.glob("tests/**/test_*.py")) else "has sources without tests"


def _run_pip(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pip", "-q", *arguments]).returncode  # noqa: S603 - the words are ours


def run_tests(source: Path, tests: Sequence[str], results: Path, store: Path | None) -> Outcomes:
    """Run tests, recorded into a store or not, and return their outcomes."""
    results.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if "DETAILED" not in name}
    libraries = [str(_ROOT), str(_ROOT / "src"), str(results.parent / "needed")]
    environment |= {
        "PYTHONPATH": os.pathsep.join(libraries),
        "NO_DOCKER": "true",
        "LANGSMITH_TRACING": "false",
        OUTCOMES: str(results),
    }
    if store is not None:
        environment["DETAILED_BALANCE_STORE"] = str(store)
    command = [sys.executable, "-m", "pytest", "-p", "benchmarks.recording._outcomes"]
    with results.with_suffix(".log").open("a") as log:
        subprocess.run(  # noqa: S603 - the words are ours
            [*command, *_OPTIONS, *_CLOSED, *tests],
            cwd=source,
            env=environment,
            stdout=log,
            stderr=log,
        )
    return dict(_read_outcomes(results))


def _read_outcomes(results: Path) -> Iterator[tuple[str, str]]:
    if not results.exists():
        return
    for line in results.read_text(encoding="ascii").splitlines():
        name, phase, outcome = json.loads(line)
        yield name, outcome if phase == "call" or outcome == "skipped" else f"{phase} {outcome}"


def compare(source: Path, tests: Sequence[str], folder: Path, store: Path) -> Compared:
    """Run the tests both ways, and those that differ once more."""
    there = [test for test in tests if (source / test).exists()]
    name = source.name
    without = run_tests(source, there, folder / f"{name}.off.jsonl", None)
    recorded = run_tests(source, there, folder / f"{name}.on.jsonl", store)
    first = _differing(without, recorded)
    names = [test for test in first if "::" in test]
    again = names and _differing(
        run_tests(source, names, folder / f"{name}.off-again.jsonl", None),
        run_tests(source, names, folder / f"{name}.on-again.jsonl", store),
    )
    differ = [test for test in first if test in again or "::" not in test]
    return Compared(without, recorded, sorted(set(first) - set(differ)), differ)


def _differing(one: Outcomes, other: Outcomes) -> list[str]:
    return sorted(test for test in one.keys() | other.keys() if one.get(test) != other.get(test))


def broken_rules(store: Path) -> Iterator[tuple[str, str]]:
    """Yield the rules that recorded runs break, with the key of the run."""
    from detailed_balance import read_runs
    from detailed_balance.analyzers import END, START, Outcome

    seen: set[str | None] = set()
    for run in read_runs(store):
        ends = [place for place, (_, target) in enumerate(run.moves) if target == END]
        ended = run.outcome is Outcome.ENDED
        rules = {
            "begins at START, or says that its past is unknown": run.past_unknown
            or not run.moves
            or run.moves[0][0] == START,
            "nothing follows END": ends in ([], [len(run.moves) - 1]),
            "END if and only if it ended": bool(ends) == ended or (ended and run.past_unknown),
            "has one outcome": run.outcome is not None and run.run not in seen,
        }
        seen.add(run.run)
        yield from ((rule, run.run or run.name or "") for rule, holds in rules.items() if not holds)


def main() -> None:
    """Download, run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=[*PACKAGES])
    parser.add_argument("--check", action="store_true", help="check the recorded runs too")
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "needed").is_dir():
        _run_pip("install", "--no-deps", "--target", str(folder / "needed"), *NEEDED)
    print("| package | tests | passed without | passed with | unsteady | differ |")
    print("|---|---|---|---|---|---|")
    found: dict[str, Compared] = {}
    for package in options.packages:
        source = download(package, folder)
        if isinstance(source, str):
            print(f"| {package} | {source} | | | | |", flush=True)
            continue
        store = folder / f"{source.name}.db"
        store.unlink(missing_ok=True)
        found[package] = result = compare(source, PACKAGES[package], folder, store)
        passed = [
            sum(outcome == "passed" for outcome in outcomes.values()) for outcomes in result[:2]
        ]
        counts = (len(result.without), *passed, len(result.unsteady), len(result.differ))
        cells = " | ".join(map(str, counts))
        print(f"| {source.name} | {cells} |", flush=True)
        if options.check and store.exists():
            for rule, number in Counter(rule for rule, _ in broken_rules(store)).items():
                print(f"| | {number} runs break the rule: {rule} | | | | |", flush=True)
    for package, result in found.items():
        for test in result.differ:
            was, now = (
                result.without.get(test, "missing"),
                result.with_recorder.get(test, "missing"),
            )
            print(f"{package}: {test}: {was} without, {now} with")
        for test in result.unsteady:
            print(f"{package}: {test}: not the same twice")


if __name__ == "__main__":
    main()
