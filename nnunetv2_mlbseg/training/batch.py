"""What the loaders hand to a training step, on the training's device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Target = Tensor | list[Tensor]
"""nnU-Net's target ``(B, 1, *S)``, or a list of them with deep supervision, finest first."""


@dataclass(frozen=True)
class Images:
    """Images with labels.

    Attributes:
        images: ``(B, channels, *S)``.
        target: nnU-Net's labels, its ignore label included.
        position: ``(B,)``, the patch's centre along the first axis of its scan, 0 to 1; None where loaders do not say.
        scan: ``(B,)`` int64, a number of the scan; None where loaders do not say.
    """

    images: Tensor
    target: Target
    position: Tensor | None = field(default=None, kw_only=True)
    scan: Tensor | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ImperfectImages(Images):
    """Images of noisy and unlabeled cases.

    Attributes:
        generated: ``(B,)`` bool, whether a network made the label.
        case: ``(B,)`` int64, the number of the noisy case; -1 for others.
    """

    generated: Tensor
    case: Tensor


@dataclass(frozen=True)
class Batch:
    """One iteration's images: clean ones, and imperfect ones where the stage draws them."""

    clean: Images
    imperfect: ImperfectImages | None = None

    @classmethod
    def of(cls, loaded: Mapping[str, Any], device: torch.device) -> Batch:
        """From the dictionary of :class:`~nnunetv2_mlbseg.cases.loaders.PairedLoader`, or of nnU-Net's own loader."""
        here = {name: _to(value, device) for name, value in loaded.items() if isinstance(value, (Tensor, list))}
        clean = Images(here["data"], here["target"], **{name: here.get(name) for name in PLACES})
        if "imperfect_data" not in here:
            return cls(clean)
        places: dict[str, Any] = {name: here.get(f"imperfect_{name}") for name in PLACES}
        return cls(clean, ImperfectImages(*(here[f"imperfect_{name}"] for name in IMPERFECT), **places))


IMPERFECT = ("data", "target", "generated", "case")
PLACES = ("position", "scan")


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_to(item, device) for item in value]
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
