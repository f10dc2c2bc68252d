"""What the chat model is asked, and the program in its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from examples.paper.search.proposals import Proposal

__all__ = ["extract_program", "make_prompt"]

_TASK = """\
A system moves between states, each a text. We look for a potential V(state), a weighted sum of
features of the state, such that its moves go downhill: V(source) > V(target). The weights are
fitted by us; you write the features, as one Python function:

    def features(state: str) -> dict[str, float]:

It must return finite numbers by name, at most {features} different names over all states, must
depend on nothing but the state, and should say something about states it was not written for.
Only collections, functools, itertools, math, re, statistics, string and unicodedata may be
imported; no names with two underscores, no files, no input or output. Its score is the action of
moves from states that were held out, relative to having no potential: 1 says nothing, lower is
better.

Answer with one Python code block and nothing else."""

_BLOCK = re.compile(r"```[a-zA-Z]*[ \t]*\r?\n(.*?)```", re.DOTALL)


def make_prompt(
    parents: Sequence[Proposal], moves: Sequence[tuple[str, str]], features: int
) -> list[BaseMessage]:
    """Ask for a better program than those shown.

    Parameters
    ----------
    parents : sequence of Proposal
        The programs to show, the better last.
    moves : sequence of (source, target)
        Examples of what the system does; they are quoted, but they are its words.
    features : int
        The most that a program may have.

    Examples
    --------
    >>> system, human = make_prompt([], [("dog", "cat")], 300)
    >>> human.content.splitlines()[1]
    '"dog" -> "cat"'
    """
    parts = ["Some of its moves:"]
    parts += [f"{json.dumps(source)} -> {json.dumps(target)}" for source, target in moves]
    for place, parent in enumerate(parents, start=1):
        parts.append(
            f"\nVersion {place}, score {parent.score:.6f}:\n```python\n{parent.program}\n```"
        )
    parts.append(f"\nWrite version {len(parents) + 1}, which scores lower.")
    return [SystemMessage(_TASK.format(features=features)), HumanMessage("\n".join(parts))]


def extract_program(reply: str) -> str | None:
    r"""Return the code block that defines ``features``, or all of a reply without blocks.

    Examples
    --------
    >>> extract_program("Here:\n```python\ndef features(state): return {}\n```")
    'def features(state): return {}'
    >>> extract_program("I would rather not.") is None
    True
    """
    blocks = _BLOCK.findall(reply) or [reply]
    found = [block.strip() for block in blocks if "def features" in block]
    return found[0] if found else None
