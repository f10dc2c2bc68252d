"""Run one experiment of the paper: ``python -m examples.paper NAME``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from detailed_balance.analyzers.errors import DetailedBalanceError

EXPERIMENTS = {
    "words": "the conditioned word agent: Claude-4 and Gemini, and potentials that are known",
    "symbolic": "the symbolic fitting agent, on a law or on your own table",
    "contexts": "does the potential transcend models and prompts?",
    "explicit": "potentials made of features of the states (supplement E)",
    "search": "a chat model writes the features (supplement E)",
    "spread": "action and spread: eq. 28, Table IV, Fig. 11; voting: eq. 29, 30, Fig. 12",
    "one_way": "pairs seen one way only: eq. 25, Fig. 10",
    "temperature": "the action against temperature",
    "control": "beyond the paper: hold an agent at a wanted action",
    "figures": "draw all figures of the gallery",
}
"""Each a module of `examples.paper.experiments` with a function `main`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment that the command line names, with the options after its name."""
    given = sys.argv[1:] if arguments is None else arguments
    lines = [f"  {name:12} {title}" for name, title in EXPERIMENTS.items()]
    parser = ArgumentParser(
        prog="python -m examples.paper",
        usage="%(prog)s NAME [OPTION ...]",
        description="Run an experiment of the paper; NAME --help lists its options.",
        epilog="\n".join(["experiments:", *lines]),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=EXPERIMENTS, metavar="NAME", help="one of those below")
    name = parser.parse_args(given[:1] or ["--help"]).name
    try:
        import_module(f"examples.paper.experiments.{name}").main(given[1:])
    except DetailedBalanceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
