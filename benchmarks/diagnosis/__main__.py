"""What is said of 45 agents: `python -m benchmarks.diagnosis [--surface store] [NAME ...]`."""

from __future__ import annotations

import argparse
import time

from benchmarks.diagnosis.check import check
from benchmarks.diagnosis.faults import FAULTS
from benchmarks.diagnosis.healthy import HEALTHY
from benchmarks.diagnosis.later import LATER_FAULTS, LATER_HEALTHY
from benchmarks.diagnosis.surfaces import SURFACES

LONGEST = 150


def main() -> None:
    """Print a table of what is said, and how much of it is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surface", choices=SURFACES, default="store")
    parser.add_argument("--screens", action="store_true", help="print the first screens too")
    parser.add_argument("--later", action="store_true", help="those that were made afterwards")
    parser.add_argument("names", nargs="*", help="parts of the names of agents")
    chosen = parser.parse_args()
    print("| agent | expected | said | word | kind | place | runs |")
    print("|---|---|---|---|---|---|---|")
    right = dict.fromkeys(("faults", "healthy"), 0)
    screens, silent, began = [], 0, time.process_time()
    cases = {"faults": FAULTS, "healthy": HEALTHY}
    if chosen.later:
        cases = {"faults": LATER_FAULTS, "healthy": LATER_HEALTHY}
    for group, members in cases.items():
        for case in members:
            if chosen.names and not any(name in case.name for name in chosen.names):
                continue
            answer = check(case, chosen.surface)
            if answer is None:
                silent += 1
                print(f"| {case.name} | {case.expected} | it writes no messages | | | | |")
                continue
            said = answer.verdict.headline.replace("|", "\\|")
            said = said if len(said) <= LONGEST else said[: LONGEST - 3] + "..."
            print("|", " | ".join([case.name, case.expected, said, *answer.marks()]), "|")
            screens += [f"\n{case.name}\n{answer.verdict}"]
            right[group] += answer.right
    if chosen.screens:
        print(*screens, sep="\n")
    total = ", ".join(f"{right[group]} of {len(cases[group])} {group}" for group in cases)
    nothing = f", {silent} write no messages" if silent else ""
    took = f"{time.process_time() - began:.0f} s of CPU"
    print(f"\n{total} are right by {chosen.surface}{nothing}; {took}")


if __name__ == "__main__":
    main()
