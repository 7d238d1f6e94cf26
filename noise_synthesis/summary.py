"""What a user reads of a corruption: lines made from its provenance, also from that of former versions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def summary(told: Mapping[str, Any]) -> str:
    """Return two lines: what was done with which mean Dice, and its spread over the cases."""
    spread, cases = told["spread"], [case for case in told["cases"].values() if case["dice"] is not None]
    strength = f", strength {told['strength_mm']:.2f} mm" if "strength_mm" in told else ""
    return (
        f"{told['recipe']}, {'slice by slice' if told['per_slice'] else 'in 3D'}{strength}: "
        f"mean Dice {told['mean_dice']:.4f} (wanted {told['target_dice']:.4f}) over {len(cases)} cases\n"
        f"per case: standard deviation {spread['std']:.3f}, lowest {spread['min']:.3f}, "
        f"median {spread['median']:.3f}, highest {spread['max']:.3f}"
    )


def class_lines(told: Mapping[str, Any]) -> list[str]:
    """Return one line per class, where there are several: its mean Dice and strength, and its lowest case."""
    classes = told.get("classes", {})
    if len(classes) < 2:
        return []
    return [
        f"class {value}: mean Dice {known['mean_dice']:.4f} over {known['cases']} cases, "
        f"lowest {known['lowest']['dice']:.3f} ({known['lowest']['case']}), strength {known['strength_mm']:.2f} mm"
        for value, known in classes.items()
    ]


def warn_of_missed_classes(told: Mapping[str, Any]) -> None:
    """Print one line that names the classes that could not reach the wanted Dice, and what they reached, if any."""
    classes = told.get("classes", {})
    missed = [f"{value} ({known['mean_dice']:.4f})" for value, known in classes.items() if not known["reached"]]
    if missed:
        print(
            f"warning: recipe {told['recipe']} cannot bring {len(missed)} of {len(classes)} classes to the wanted mean "
            f"Dice {told['target_dice']:.4f} on these labels; class (and its mean Dice): {', '.join(missed)}",
            file=sys.stderr,
        )
