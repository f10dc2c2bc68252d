"""What a report can be asked to fail on, and its findings as tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.diagnosis.finding import FindingKind
from detailed_balance.render.formatting import join_states
from detailed_balance.render.junit import JUnitTest

if TYPE_CHECKING:
    from detailed_balance.analyzers import BalanceReport
    from detailed_balance.diagnosis.finding import Finding
    from detailed_balance.render.document import Verdict

GateCondition: TypeAlias = Literal["problem", "violation"] | FindingKind
"""What a report can be asked to fail on."""

CLAIMS: dict[GateCondition, str] = {
    "problem": "there is no problem",
    "violation": "no suspect or unclassified cause breaks balance",
    "loss": "the record is complete",
    "limit": "no run reaches a limit",
    "failure": "no run fails",
    "repetition": "no run repeats itself too much",
    "driven": "failed runs take no loop more than others",
    "trap": "the agent is in no trap",
    "waiting": "no run waits without an answer",
    "drift": "runs cost no more than before",
    "cardinality": "the number of states is limited",
}
"""Each of them as a claim that a test makes."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """What a report is asked to fail on.

    Parameters
    ----------
    verdict, findings, balance
        Those of the report.
    """

    verdict: Verdict
    findings: Sequence[Finding]
    balance: BalanceReport | None

    def failures(
        self, conditions: Collection[GateCondition]
    ) -> dict[GateCondition, tuple[str, ...]]:
        """Return which conditions hold, each with the lines that say so.

        Raises
        ------
        InvalidInputError
            Where a condition is unknown.
        """
        if unknown := sorted(set(conditions) - set(CLAIMS)):
            allowed = ", ".join(CLAIMS)
            raise InvalidInputError(f"unknown {', '.join(unknown)}; allowed are {allowed}")
        found: dict[GateCondition, tuple[str, ...]] = {}
        for condition in CLAIMS:
            if condition in conditions and (lines := tuple(self._lines(condition))):
                found[condition] = lines
        return found

    def _lines(self, condition: GateCondition) -> Iterator[str]:
        if condition == "problem":
            if self.verdict.outcome == "problem":
                yield from map(str, self.verdict.statements[:1])
        elif condition == "violation":
            violations = () if self.balance is None else self.balance.violations
            for violation in violations:
                if violation.kind in ("suspect", "unclassified"):
                    yield f"{join_states((*violation.loop, violation.loop[0]))} ({violation.kind})"
        else:
            for finding in self.findings:
                if condition in finding.kinds:
                    rows = (f"  {label:<7}  {text}" for label, text in finding.rows())
                    yield "\n".join([finding.headline, *rows])

    def tests(self, conditions: Collection[GateCondition]) -> list[JUnitTest]:
        """Return conditions as tests; where too little is known, they are skipped."""
        failed = self.failures(conditions)
        skipped = self.verdict.headline if self.verdict.outcome == "unknown" else ""
        tests = []
        for condition, claim in CLAIMS.items():
            if condition not in conditions:
                continue
            first, *more = "\n".join(failed.get(condition, ("",))).split("\n")
            tests.append(JUnitTest(condition, claim, first, tuple(more), "" if first else skipped))
        return tests
