"""What ``mlbseg check`` found: one list, printed or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

PROBLEM = "problem"
WARNING = "warning"
_MOST_LINES_OF_A_KIND = 10


@dataclass(frozen=True)
class Finding:
    """One thing: a ``problem`` would make a training fail or mislead; a ``warning`` deserves a look."""

    kind: str
    severity: str
    message: str
    cases: tuple[str, ...] = ()


def as_json(dataset: str, cases: int, findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the report for ``--json``."""
    listed = list(findings)
    return {
        "dataset": dataset,
        "cases": cases,
        "ok": not any(finding.severity == PROBLEM for finding in listed),
        "problems": [_plain(finding) for finding in listed if finding.severity == PROBLEM],
        "warnings": [_plain(finding) for finding in listed if finding.severity == WARNING],
    }


def as_text(dataset: str, cases: int, findings: Iterable[Finding]) -> str:
    """Return the report for a person: problems, then warnings, by kind; a long list of one kind is cut."""
    listed = list(findings)
    lines = []
    for severity in (PROBLEM, WARNING):
        by_kind: dict[str, list[str]] = {}
        for finding in listed:
            if finding.severity == severity:
                by_kind.setdefault(finding.kind, []).append(finding.message)
        for kind, messages in by_kind.items():
            lines += [f"{severity.upper()} [{kind}] {message}" for message in messages[:_MOST_LINES_OF_A_KIND]]
            if len(messages) > _MOST_LINES_OF_A_KIND:
                rest = len(messages) - _MOST_LINES_OF_A_KIND
                lines.append(f"{severity.upper()} [{kind}] and {rest} more of this kind; --json lists all")
    counts = {severity: sum(f.severity == severity for f in listed) for severity in (PROBLEM, WARNING)}
    lines.append(f"{dataset}: {cases} cases, {counts[PROBLEM]} problems, {counts[WARNING]} warnings")
    return "\n".join(lines)


def _plain(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "cases": list(finding.cases)}
