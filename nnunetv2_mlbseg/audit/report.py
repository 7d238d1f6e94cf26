"""The report: one HTML file that opens from disk and needs nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.audit.region_words import in_words, shown
from nnunetv2_mlbseg.audit.thumbnails import Thumbnails
from noise_synthesis.safe_io.files import write_text

REPORT = "report.html"
PAGE = Path(__file__).with_name("report_page")
SCRIPTS = ("elements", "decisions", "contours", "planes", "viewer", "legend", "side", "tables", "main")
"""In the order in which they stand in the page, as one script."""
MOST_BYTES = 26_000_000
"""For all pictures together; what remains of 30 MB is for the numbers."""
MOST_PER_CASE = 2_000_000
MOST_REGIONS = 40


def bytes_per_case(cases: int) -> int:
    """What the pictures of one case may take."""
    return min(MOST_PER_CASE, MOST_BYTES // max(1, cases))


def write_report(
    path: Path, about: Mapping[str, Any], cases: Sequence[Mapping[str, Any]], pictures: Mapping[str, Thumbnails]
) -> None:
    """Write the report of ranked cases (the rows of ``audit.json``) with their pictures.

    Two tables stand in it where ``about`` has them: ``sources``, a list of ``source``, ``cases``, ``dice``,
    ``dice_interval`` (two numbers) and ``errors`` (phrases), and ``to_label``, a list of ``rank``, ``case``,
    ``expected_gain``, ``expected_dice`` and ``why``. Where a row has a ``source``, the table of cases shows it.
    """
    rows = [_row(row, pictures[row["case"]]) for row in cases]
    data = _as_json({"about": {**about, "audit": _fingerprint(about, cases)}, "cases": rows})
    write_text(path, page().replace("/*DATA*/", as_script(data)))


def page() -> str:
    """The page without its data."""
    script = "\n".join((PAGE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    text = text.replace("/*STYLE*/", (PAGE / "style.css").read_text(encoding="utf-8"))
    return text.replace("/*SCRIPT*/", script)


def as_script(text: str) -> str:
    """JSON that can stand in a script element whatever names it holds."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _fingerprint(about: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> str:
    """Tells audits apart: what is decided on the page of one is not taken for decisions about another."""
    return hashlib.sha256(_as_json([dict(about), list(cases)]).encode()).hexdigest()[:16]


def _as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _row(case: Mapping[str, Any], pictures: Thumbnails) -> dict[str, Any]:
    row = {key: _short(value) for key, value in case.items() if key != "confusion"}
    sizes = [region["size_mm3"] for region in case["regions"]]
    return {
        **row,
        "regions": [{**region, "words": in_words(region)} for region in row["regions"][:MOST_REGIONS]],
        "shown": shown(sizes),
        "small": {"count": len(sizes) - shown(sizes), "mm3": round(sum(sizes[shown(sizes) :]), 4)},
        "pictures": _short(pictures.as_dict()),
    }


def _short(value: Any) -> Any:
    """Numbers with the digits that a report shows."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, (list, tuple)) else value
