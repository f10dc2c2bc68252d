"""The paper's Claude-4 table in, its potentials out, each with its standard error.

Published (arXiv:2512.10047, supplement B): 0, 4.1, 5.2, infinite and infinite.
"""

import json
from pathlib import Path

from detailed_balance import TransitionCounts
from detailed_balance.analyzers import estimate_potential

DATA = Path(__file__).parent / "paper" / "data"
table = json.loads((DATA / "claude_4_words.json").read_text())
counts = TransitionCounts.from_edges(map(tuple, table["transitions"]))
potential = estimate_potential(counts, attempts=table["attempts_per_state"])

rows = potential.to_table("ATTITUDE")
print("state       beta V   error")
for state, value, error in zip(rows["state"], rows["potential"], rows["error"], strict=True):
    print(f"{state:10} {value:7.2f} {error:7.2f}")
