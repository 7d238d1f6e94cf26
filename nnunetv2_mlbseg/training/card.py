"""What a list of methods says of one: its idea, what it looks at, what it costs, who proposed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """A method in a few words.

    Attributes:
        idea: One line.
        labels: The roles whose labels it reads.
        images: The roles whose images it sees.
        cost: A step over one of stock nnU-Net, counted in passes at equal batches: a pass of one batch forward is 1,
            backward 2, so that a stock step is 3. Measured times differ.
        citation: Who proposed it, where, when.
        reconstruction: Whether it was written from a description, because there is no code of the authors.
    """

    idea: str
    labels: tuple[str, ...]
    images: tuple[str, ...]
    cost: float
    citation: str
    reconstruction: bool = False


def card_of(trainer: Any) -> Card:
    """Of a trainer class: its own, or that of its method.

    Raises:
        LookupError: there is none.
    """
    card: Card | None = getattr(trainer, "card", None) or trainer.method.card
    if card is None:
        raise LookupError(f"{trainer.__name__} has no card, and neither has {trainer.method.__name__}")
    return card
