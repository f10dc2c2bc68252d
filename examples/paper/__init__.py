"""The paper, repeated: one program for each of its experiments, each beside what was published.

Song, Cao, Luo and Zhu, *Detailed balance in large language model-driven agents*,
arXiv:2512.10047. Run the programs from the root of the project: ``python -m examples.paper`` lists
them.
"""

from pathlib import Path

DATA = Path(__file__).parent / "data"
"""The folder of the published tables and of the kernels that were measured."""
