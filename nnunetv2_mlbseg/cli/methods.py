"""``mlbseg methods``: every trainer of the package in one table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

OURS = "nnUNetTrainerMLBSeg"
COLUMNS = ("trainer", "what it does", "labels", "images", "cost", "from")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg methods``."""
    parser.description = (
        "List every trainer that nnUNetv2_train -tr finds: what it does, the roles whose labels it reads and whose "
        "images it sees, the cost of a step as a multiple of nnU-Net's (counted in network passes at equal batches; "
        "not a measured time), and who proposed it. * marks a method that was written from a description, because its "
        "authors published no code."
    )


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers
    from nnunetv2_mlbseg.runtime.text_table import aligned

    trainers = [getattr(mlbseg_trainers, name) for name in in_order(mlbseg_trainers.__all__)]
    print("\n".join(aligned([COLUMNS, *map(row, trainers)], left=len(COLUMNS))))
    return 0


def in_order(names: Iterable[str]) -> list[str]:
    """Ours first, then the others, each by name."""
    return sorted(names, key=lambda name: (not name.startswith(OURS), name))


def row(trainer: Any) -> tuple[str, ...]:
    """The cells of a trainer class."""
    from nnunetv2_mlbseg.training.card import card_of

    card = card_of(trainer)
    mark = "*" if card.reconstruction else ""
    return (trainer.__name__ + mark, card.idea, roles(card.labels), roles(card.images), cost(card.cost), card.citation)


def roles(names: Sequence[str]) -> str:
    """In one cell."""
    return "all" if {"clean", "noisy", "unlabeled"} <= set(names) else ", ".join(names)


def cost(times: float) -> str:
    """As a multiple, to one digit behind the point."""
    return f"{times:.1f}".removesuffix(".0")
