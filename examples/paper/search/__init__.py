"""Search for an explicit potential: a chat model writes feature functions, held-out moves judge."""

from examples.paper.search.proposals import Proposal
from examples.paper.search.sandbox import Limits, SandboxedFeatures, SandboxResult, run_candidate
from examples.paper.search.search import PotentialSearch, search_potential

__all__ = [
    "Limits",
    "PotentialSearch",
    "Proposal",
    "SandboxResult",
    "SandboxedFeatures",
    "run_candidate",
    "search_potential",
]
