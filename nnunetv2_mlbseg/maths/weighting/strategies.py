"""The ways to weigh both labels of a pixel, by name, and the shape that all of them have.

A new one is a frozen dataclass of this shape in a file of its own, and one more entry in `WEIGHTINGS`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Protocol, TypeVar

import torch

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tensors import Total, unchanged
from nnunetv2_mlbseg.maths.weighting.meta import Meta
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.tied import Tied
from nnunetv2_mlbseg.maths.weighting.uniform import Uniform

State = TypeVar("State", bound=Record)


class Weighting(Protocol[State]):
    """How much both labels of a pixel count. What is remembered of earlier batches is the state that is handed over.

    Nothing waits for the device, and no gradient flows.
    """

    @property
    def needs_tangents(self) -> bool:
        """Whether training with it needs the pass of `logit_tangents`."""

    @property
    def weighs_by_tangents(self) -> bool:
        """Whether `weigh` alone looks at the derivatives; if not, it goes by state, labels and probabilities."""

    def begin(self, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1) -> State:
        """The state before the first batch.

        Args:
            classes: C, of each group.
            cases: the number of noisy cases, or 0 where they are not told apart.
            groups: how many groups of classes there are (see `maths/label_space`).
        """

    def learned(self, seen: Seen, state: State, total: Total = unchanged) -> State:
        """The state with one more batch in it. A training weighs the batch with the state that this returns.

        Args:
            total: sums over the processes that share a batch.
        """

    def weigh(self, seen: Seen, state: State, total: Total = unchanged) -> list[WeightedLabels]:
        """Both labels of every pixel with their weights, one entry per scale, each scale normalised on its own.

        Args:
            total: sums over the processes that share a batch: the weights are normalised over the whole of it.
        """


WEIGHTINGS: dict[str, type[Weighting[Any]]] = {"tied": Tied, "meta": Meta, "uniform": Uniform}
"""The strategies by the name that a training knows them by."""


REMEMBERING = tuple(name for name, kind in WEIGHTINGS.items() if kind.begin is Tied.begin)
"""Those that learn how labels err, so that an image may have several."""


def make(name: str, normalization: str, decay: float, strength: float) -> Weighting[Any]:
    """The strategy of that name, with those of the values that it has a use for.

    Args:
        normalization: see `normalize_weights`.
        decay, strength: see `Tied`.

    Raises:
        ValueError: an unknown name.
    """
    if name not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {name!r}, expected one of {', '.join(WEIGHTINGS)}")
    kind: Any = WEIGHTINGS[name]
    values = {"normalization": normalization, "decay": decay, "strength": strength}
    return kind(**{field.name: values[field.name] for field in fields(kind)})
