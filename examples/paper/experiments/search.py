"""A search for feature functions, as the paper had a language model write them (supplement E).

A chat model (--model), or a stand-in that offers a few programs written by hand, writes the
features of an explicit potential. Each program runs in a sandbox, and is scored by the action of
moves that were held out. The chain is that of `python -m examples.paper explicit`.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel, FakeListChatModel

from examples.paper.agent.console import choose_model, make_parser, show_table
from examples.paper.chains import add_kernel_options, choose_kernel
from examples.paper.search import PotentialSearch, search_potential

__all__ = ["PROGRAMS", "main"]

PROGRAMS = (
    '''
def features(state: str) -> dict[str, float]:
    """Which letters there are."""
    return {letter: state.count(letter) for letter in set(state)}
''',
    '''
import re

def features(state: str) -> dict[str, float]:
    """The sound of a word: vowels, its beginning and its end."""
    vowels = len(re.findall("[aeiou]+", state))
    return {"syllables": vowels, "begins " + state[:1]: 1, "ends " + state[-2:]: 1}
''',
    '''
def features(state: str) -> dict[str, float]:
    """Pairs of letters, ends included."""
    padded = "^" + state + "$"
    return {padded[i:i + 2]: 1 for i in range(len(padded) - 1)}
''',
    '''
import os

def features(state: str) -> dict[str, float]:
    """One that the sandbox refuses."""
    return {"files": len(os.listdir("/"))}
''',
    '''
GROUPS = {
    "animal": "dog cat horse cow bird fish lion mouse wolf snake",
    "nature": "tree flower grass leaf root forest mountain river lake sea ocean beach island",
    "sky": "sky sun moon star cloud rain snow wind storm day night morning",
    "person": "man woman child baby mother father brother sister family friend king queen",
    "mind": "love heart mind dream sleep life death god peace story music song art",
}
GROUP = {word: group for group, words in GROUPS.items() for word in words.split()}

def features(state: str) -> dict[str, float]:
    """What a word is about, and its ending."""
    return {GROUP.get(state, "thing"): 1, "ends " + state[-1:]: 1, "length": len(state)}
''',
)
"""What the stand-in offers, in turn; the groups were written without a look at the kernel."""


def _show_search(search: PotentialSearch) -> None:
    """Print how each program was judged, and the best."""
    rows = [
        (p.number, p.status, "" if p.score is None else f"{p.score:.3f}", p.reason[:32])
        for p in search.history
    ]
    show_table("Search", ["program", "verdict", "held out", "reason"], rows)
    print(search)


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and print what was tried and what was found."""
    parser = make_parser("search", __doc__, model="a few programs written by hand, in turn")
    add_kernel_options(parser)
    parser.add_argument("--rounds", type=int, default=3, help="of the search, on 2 islands")
    parser.add_argument("--log", metavar="FILE", help="where the search is kept, to go on from")
    chosen = parser.parse_args(arguments)
    model = choose_model(chosen.model, _stand_in)
    options = {"islands": 2, "rounds": chosen.rounds, "seed": chosen.seed, "log": chosen.log}
    _show_search(search_potential(choose_kernel(chosen), model, **options))


def _stand_in() -> BaseChatModel:
    return FakeListChatModel(responses=[f"```python{program}```" for program in PROGRAMS])
