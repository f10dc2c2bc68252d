"""`PotentialSearch`, what a search found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from detailed_balance.analyzers import ExplicitPotential
from detailed_balance.analyzers.potential.features import FeatureFunction
from detailed_balance.analyzers.results import Table, plain
from detailed_balance.render.formatting import safe_text
from examples.paper.search.proposals import Proposal

__all__ = ["PotentialSearch"]

_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class PotentialSearch:
    """The best program of a search, the potential made of its features, and all that was tried.

    Parameters
    ----------
    potential : ExplicitPotential
        Fitted to all moves; its features run in the sandbox wherever they are computed.
    best : Proposal
        The program with the lowest held-out action.
    reserved_action : float
        The action of the moves from states that neither the fit nor the choice had seen, as a
        share of what they have without a potential; NaN where none were reserved.
    history : tuple of Proposal
        Every proposal, in order.
    settings : dict
        What the search was asked to do.
    """

    potential: ExplicitPotential
    best: Proposal
    reserved_action: float
    history: tuple[Proposal, ...]
    settings: dict[str, Any]

    @property
    def program(self) -> str:
        """The text of the best program."""
        return self.best.program

    @property
    def features(self) -> FeatureFunction | tuple[FeatureFunction, ...]:
        """The features of the best program, as a function; it runs in the sandbox."""
        return self.potential.features

    def to_table(self) -> Table:
        """Return the columns number, island, status, score, features and seconds."""
        columns = ("number", "island", "status", "score", "features", "seconds")
        return {name: [getattr(proposal, name) for proposal in self.history] for name in columns}

    def to_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has, settings included."""
        result = {
            "program": self.program,
            "best": self.best.to_dict(),
            "reserved_action": self.reserved_action,
            "potential": self.potential.to_dict(),
            "history": [proposal.to_dict() for proposal in self.history],
            "settings": self.settings,
        }
        return dict(plain(result))

    def __str__(self) -> str:
        counted = Counter(proposal.status for proposal in self.history)
        fates = ", ".join(f"{count} {status}" for status, count in counted.most_common())
        weights = self.potential.to_table()
        lines = [
            f"{len(self.history)} programs: {fates}",
            f"best: number {self.best.number}, held-out action {self.best.score:.4f}, "
            f"{self.reserved_action:.4f} of moves never used",
            *(f"  {safe_text(line, 96)}" for line in self.program.splitlines()),
            *(
                f"{theta:+10.4f}  {safe_text(name, 40)}"
                for name, theta in list(zip(weights["feature"], weights["theta"], strict=True))[
                    :_SHOWN
                ]
            ),
        ]
        return "\n".join(lines)
