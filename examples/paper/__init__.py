"""The paper, repeated: one script for each of its experiments, each beside what was published.

Song, Cao, Luo and Zhu, *Detailed balance in large language model-driven agents*,
arXiv:2512.10047. Each module is a program too: `python examples/paper/NAME.py`, or
`python -m examples.paper.NAME` where the library is installed.
"""

__all__: list[str] = []
