from .finding import (
    FINDING_KINDS as FINDING_KINDS,
    Advice as Advice,
    Cost as Cost,
    Finding as Finding,
    FindingKind as FindingKind,
    Onset as Onset,
)
