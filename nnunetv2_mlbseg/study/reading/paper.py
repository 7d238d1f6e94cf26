"""The numbers that the paper reports, from one data file that says where each stands in it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def paper_numbers() -> dict[str, Any]:
    """All of them: by table, its rows."""
    text = resources.files("nnunetv2_mlbseg.study").joinpath("paper_numbers.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def table_names() -> list[str]:
    """Names under which a study file asks for the paper's tables."""
    return list(paper_numbers()["tables"])


def method_names(table: str) -> list[str]:
    """The rows of a table."""
    return [row["row"] for row in paper_numbers()["tables"][table]["rows"]]


def reported(table: str, row: str, source: str, measure: str) -> float | None:
    """A number of the paper, in its unit (% or voxels); None where it gives none.

    Args:
        source: ``la`` or ``promise12``, for rows that have a number for each.
    """
    entries = [entry for entry in paper_numbers()["tables"][table]["rows"] if entry["row"] == row]
    value = entries[0].get(measure) if entries else None
    if isinstance(value, dict):
        value = value.get(source)
    return None if value is None else float(value)
