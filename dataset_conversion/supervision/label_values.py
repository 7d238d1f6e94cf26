"""The values that labels may have: 0 is background, each class has the next, ignore has the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from noise_synthesis.safe_io.errors import InputError


def label_value_problems(labels: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the values in ``labels`` of dataset.json; regions (lists of values) are not judged."""
    if not all(isinstance(value, int) for value in labels.values()):
        return
    values = sorted(labels.values())
    if values != list(range(len(values))) or labels.get("background") != 0:
        yield (
            f"dataset.json: label values {values}; expected 0, 1, 2, ... with background 0: renumber them there and in "
            "the label files"
        )
    if "ignore" in labels and labels["ignore"] != values[-1]:
        yield "dataset.json: 'ignore' must be the highest label value"


def refuse_label_values(labels: Mapping[str, Any], where: str) -> None:
    """Raise ``InputError`` if nnU-Net cannot train on the values; ``where`` begins the line."""
    for problem in label_value_problems(labels):
        raise InputError(f"{where}: {problem}")
