"""Run one experiment of the paper: ``python -m examples.paper NAME``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import monotonic

from detailed_balance.analyzers.errors import DetailedBalanceError

EXPERIMENTS = {
    "words": "the conditioned word agent: Claude-4 and Gemini, and potentials that are known",
    "symbolic": "the symbolic fitting agent, on a law or on your own table",
    "contexts": "does the potential transcend models and prompts?",
    "explicit": "potentials made of features of the states (supplement E)",
    "search": "a chat model writes the features (supplement E)",
    "spread": "action, spread, votes, one-way pairs: eq. 25 and 28 to 30, Table IV, Fig. 11, 12",
    "temperature": "the action against temperature",
    "control": "beyond the paper: hold an agent at a wanted action",
    "records": "what the paper's files of records say, or your own in their form",
    "tables": "Tables I to V",
    "figures": "draw all figures of the gallery",
}
"""Each a module of `examples.paper.experiments` with a function `main`, in the order of `all`."""

ALL = "all"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment that the command line names, with the options after its name."""
    given = sys.argv[1:] if arguments is None else arguments
    listed = {**EXPERIMENTS, ALL: "all of these, with progress"}
    lines = [f"  {name:12} {title}" for name, title in listed.items()]
    parser = ArgumentParser(
        prog="python -m examples.paper",
        usage="%(prog)s NAME [OPTION ...]",
        description="Run an experiment of the paper; NAME --help lists its options.",
        epilog="\n".join(["experiments:", *lines]),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name", choices=[*EXPERIMENTS, ALL], metavar="NAME", help="one of those below"
    )
    name = parser.parse_args(given[:1] or ["--help"]).name
    try:
        if name == ALL:
            _run_all(given[1:])
        else:
            import_module(f"examples.paper.experiments.{name}").main(given[1:])
    except DetailedBalanceError as error:
        sys.exit(f"error: {error}")


def _run_all(given: Sequence[str]) -> None:
    """Run every experiment with its default options, and say how far it is on standard error."""
    parser = ArgumentParser(
        prog=f"python -m examples.paper {ALL}",
        description="Run all experiments with their default options, one after another.",
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("gallery"), metavar="DIR", help="for the figures")
    folder = parser.parse_args(given).output
    begin = monotonic()
    for number, (name, title) in enumerate(EXPERIMENTS.items(), 1):
        place = f"{number} of {len(EXPERIMENTS)}, after {monotonic() - begin:.0f} s"
        print(f"[{place}] {name}: {title}", file=sys.stderr, flush=True)
        options = ["--output", str(folder)] if name == "figures" else []
        import_module(f"examples.paper.experiments.{name}").main(options)
    print(f"[all done, after {monotonic() - begin:.0f} s]", file=sys.stderr)


if __name__ == "__main__":
    main()
