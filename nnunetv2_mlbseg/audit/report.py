"""The report: one HTML file that opens from disk and needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.audit.thumbnails import Thumbnails
from noise_synthesis.safe_io.files import atomic_path

REPORT = "report.html"
TEMPLATE = Path(__file__).with_name("report_template.html")
MOST_BYTES = 26_000_000
"""For all pictures together; what remains of 30 MB is for the numbers."""
MOST_PER_CASE = 1_000_000
MARK = "/*DATA*/"
MOST_REGIONS = 40


def bytes_per_case(cases: int) -> int:
    """What the pictures of one case may take."""
    return min(MOST_PER_CASE, MOST_BYTES // max(1, cases))


def write_report(
    path: Path, about: Mapping[str, Any], cases: Sequence[Mapping[str, Any]], pictures: Mapping[str, Thumbnails]
) -> None:
    """Write the report of ranked cases (the rows of ``audit.json``) with their pictures."""
    rows = [_row(row, pictures[row["case"]]) for row in cases]
    data = json.dumps({"about": dict(about), "cases": rows}, separators=(",", ":"), ensure_ascii=False)
    text = TEMPLATE.read_text(encoding="utf-8")
    with atomic_path(path) as temporary:
        temporary.write_text(text.replace(MARK, as_script(data)), encoding="utf-8")


def as_script(text: str) -> str:
    """JSON that can stand in a script element whatever names it holds."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _row(case: Mapping[str, Any], pictures: Thumbnails) -> dict[str, Any]:
    row = {key: _short(value) for key, value in case.items()}
    return {
        **row,
        "listed": len(case["regions"]),
        "regions": row["regions"][:MOST_REGIONS],
        "pictures": pictures.as_dict(),
    }


def _short(value: Any) -> Any:
    """Numbers with the digits that a report shows."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list) else value
