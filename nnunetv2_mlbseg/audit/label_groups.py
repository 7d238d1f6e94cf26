"""Label maps, probabilities and what is found of them, group by group: exclusive classes are one group, each region is.

Formulas of the audit judge every group for itself (see `maths/label_space`). What they find is put together into label
maps again: regions are painted over each other in the order that dataset.json gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.evaluation.metrics import mean_dice
from nnunetv2_mlbseg.maths.labels import IGNORE
from noise_synthesis.safe_io.structures import Structures


@dataclass(frozen=True)
class LabelGroups:
    """The groups of a dataset's classes or regions."""

    structures: Structures

    @classmethod
    def of_classes(cls, count: int) -> LabelGroups:
        """Exclusive classes, background included."""
        return cls(Structures({str(value): (value,) for value in range(1, count)}))

    @property
    def classes(self) -> int:
        """C, of each group."""
        return 2 if self.structures.regions else len(self.structures.values) + 1

    @property
    def count(self) -> int:
        """G."""
        return max(self.structures.regions, 1)

    def probabilities(self, of_outputs: Tensor) -> Tensor:
        """Of classes (C, *S), or of being inside of regions (R, *S), as (G, C, *S)."""
        if not self.structures.regions:
            return of_outputs.unsqueeze(0)
        return torch.stack([1 - of_outputs, of_outputs], dim=1)

    def labels(self, label: Tensor) -> Tensor:
        """A label map (*S) int64, negative = no label, as class indices (G, *S)."""
        if not self.structures.regions:
            return label.unsqueeze(0)
        masks = [torch.isin(label, torch.tensor(own)) for own in self.structures.values.values()]
        return torch.where(label >= 0, torch.stack(masks).long(), IGNORE)

    def painted(self, labels: Tensor, like: Tensor | None = None) -> Tensor:
        """Class indices (G, *S) as a label map (*S); where they are those of the map ``like``, that map."""
        if self.structures.order is None:
            return labels[0]
        found = torch.zeros_like(labels[0])
        for inside, value in zip(labels, self.structures.order, strict=True):
            found[inside == 1] = value
        return found if like is None else torch.where((labels == self.labels(like)).all(dim=0), like, found)

    def mean_dice(self, label: Tensor, truth: Tensor) -> float:
        """Mean Dice of two label maps over the classes or regions that either has; 1 where neither has any."""
        return mean_dice(label.numpy(), truth.numpy(), list(self.structures.values.values()))

    def plain(self, tables: Tensor) -> list[Any]:
        """Tables (G, ...) for a JSON file: of exclusive classes the only one, of regions a list of them."""
        found: list[Any] = tables.tolist()
        return found if self.structures.regions else found[0]


def any_of(probabilities: Sequence[Tensor] | Tensor) -> Tensor:
    """The probability that any of some independent things is so: 1 - prod(1 - s), exact for a single one."""
    found, *others = probabilities
    for one in others:
        found = found + one * (1 - found)
    return found


def class_names(structures: Structures) -> dict[int, str]:
    """Names by label value, background included; a value of regions is called as the region that it paints."""
    if structures.order is None:
        own = {values[0]: name for name, values in structures.values.items()}
    else:
        painted = dict(zip(structures.order, structures.values, strict=True))
        values = {value for region in structures.values.values() for value in region}
        own = {value: painted.get(value, f"label {value}") for value in sorted(values)}
    return {0: "background", **own}
