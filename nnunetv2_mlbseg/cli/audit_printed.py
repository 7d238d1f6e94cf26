"""What ``mlbseg audit`` prints of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.audit.region_words import in_words
from nnunetv2_mlbseg.runtime.text_table import aligned

MOST_SHOWN = 10
HEADING = ["rank", "case", "score", "suspected mm3", "regions", "largest region"]


def print_audit(found: dict[str, Any], report: Path) -> None:
    """The worst cases, and what to think of it all."""
    print("\n".join(table(found["cases"])))
    print("".join(f"{of_source(row)}\n" for row in found["sources"]), end="")
    if found["witnesses"] is None:
        print("The training kept no record of how its labels err, so this begins from how labels usually err.")
    if found["weights"]["none_because"] is not None:
        print(f"No weight maps: {found['weights']['none_because']}.")
    if "measured" in found:
        print("\n".join(measured(found["measured"])))
    print(found["corrections"]["sentence"])
    print(f"All {len(found['cases'])} cases with pictures: {report}")


def table(cases: list[dict[str, Any]]) -> list[str]:
    """The worst cases, a line each."""
    rows = [
        [
            str(row["rank"]),
            row["case"],
            f"{row['score']:.3f}",
            f"{row['suspected_mm3']:.0f}",
            str(len(row["regions"])),
            largest(row["regions"]),
        ]
        for row in cases[:MOST_SHOWN]
    ]
    return aligned([HEADING, *rows], left=2)


def to_label(cases: list[dict[str, Any]]) -> list[str]:
    """The unlabeled cases to label next, a line each."""
    rows = [[str(row["rank"]), row["case"], f"{row['expected_gain']:.3f}", row["why"]] for row in cases[:MOST_SHOWN]]
    return aligned([["rank", "case", "gain", "why"], *rows], left=4)


def largest(regions: list[dict[str, Any]]) -> str:
    """The largest region in a few words."""
    return f"{in_words(regions[0])}, {regions[0]['size_mm3']:.0f} mm3" if regions else "-"


def of_source(row: dict[str, Any]) -> str:
    """How the labels of a source err, in one line."""
    low_high = "" if row["dice_interval"] is None else " ({:.3f} to {:.3f})".format(*row["dice_interval"])
    return f"{row['source']}, {row['cases']} labels: Dice {row['dice']:.3f}{low_high}, {', '.join(row['errors'])}"


def measured(found: dict[str, Any]) -> list[str]:
    """What a comparison with true labels says, a line per detector."""
    heading = ["by", "AUROC", "avg precision", "AUROC disputed", "Spearman", "worst 10 found"]
    rows = [
        [name, *map(shown, found["detectors"].get(name, dict.fromkeys("123")).values()), *map(shown, ranking.values())]
        for name, ranking in found["rankings"].items()
    ]
    gain, right, dice = found["correction"], found["right_labels"]["worst_change"], found["knowledge"]
    return [
        *aligned([heading, *rows]),
        f"mean Dice of the network {dice['network']:.4f}, of network and label by Bayes' rule {dice['bayes']:.4f}, the "
        f"same if it were known how each label errs {dice['bayes_true_confusion']:.4f}",
        f"corrected labels: mean Dice {gain['mean_dice_before']:.4f} before, {gain['mean_dice_after']:.4f} after; "
        f"{100 * gain['share_corrected']:.0f}% of the cases corrected, {100 * gain['share_improved']:.0f}% improved, "
        f"worst change {gain['worst_change']:+.4f}",
        *(
            []
            if right is None
            else [
                f"the same on the {len(found['right_labels']['cases'])} clean labels, which are right: "
                f"worst change {right:+.4f}"
            ]
        ),
    ]


def shown(value: float | None) -> str:
    """Three decimals, or a dash where there is no value."""
    return "-" if value is None else f"{value:.3f}"
