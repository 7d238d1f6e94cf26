"""What a pass that carries derivatives along gives, put together from parts of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

TANGENT_PARTS = 4
"""Into how many parts images are divided for derivatives. In float32, values and derivatives of a quarter of them take
less memory than what the training pass keeps of all in float16 for its backward pass."""

SLOW_ALONE = 2**16
"""Voxels: on the CPU torch passes a single volume that is smaller several times more slowly than two."""

OfTangents = Callable[[Tensor, Tensor], Tensor]
"""Of logits and their derivatives, one map."""


def divided(images: Tensor, first: int | None, at_once: int) -> tuple[Tensor, ...]:
    """The first images, in parts that are passed one after the other.

    On the CPU small volumes (:data:`SLOW_ALONE`) go in twos at least, and a few more than asked for take part where
    one would be left alone.

    Args:
        first: How many; None: all.
        at_once: How many may be passed at once.
    """
    count, wanted = len(images), images[:first]
    slow_alone = images.ndim == 5 and images.device.type == "cpu" and images[0, 0].numel() < SLOW_ALONE
    if not slow_alone or at_once < count:
        return wanted.split(min(at_once, -(-count // TANGENT_PARTS)))
    least = min(count, max(2, len(wanted)))
    wanted = images if count - least == 1 else images[:least]
    return wanted.tensor_split(max(1, min(TANGENT_PARTS, len(wanted) // 2)))


def tangents_themselves(logits: Tensor, tangents: Tensor) -> Tensor:
    """All of them."""
    return tangents


class TangentPass(NamedTuple):
    """The student's outputs at all scales, finest first, and their derivatives.

    Derivatives may be those of the first images of a batch only.

    ``outputs``: with their graph, of all images, where one pass gives both; None: training needs a pass of its own.
    ``logits``: ``(B, C, *S)`` without a graph, of all images that were passed: without ``outputs`` those that have
    derivatives. ``tangents``: ``(B, C, *S)``, what was asked for of them.
    """

    outputs: list[Tensor] | None
    logits: list[Tensor]
    tangents: list[Tensor]

    @classmethod
    def joined(cls, parts: Sequence[TangentPass]) -> TangentPass:
        """Of the parts of a batch, that of the whole."""
        if len(parts) == 1:
            return parts[0]
        with_graph = [part.outputs for part in parts if part.outputs is not None]
        outputs = _joined(with_graph) if len(with_graph) == len(parts) else None
        logits = _joined([part.logits for part in parts]) if outputs is None else [one.detach() for one in outputs]
        return cls(outputs, logits, _joined([part.tangents for part in parts]))

    def kept(self, of: OfTangents, scales: int | None) -> TangentPass:
        """With what ``of`` makes of logits and derivatives, of so many scales, in the place of derivatives."""
        return self._replace(tangents=list(map(of, self.logits[:scales], self.tangents[:scales])))

    def followed_by(self, outputs: list[Tensor]) -> TangentPass:
        """With the outputs of more images, which have no derivatives."""
        assert self.outputs is not None, "one pass gives outputs and derivatives"
        whole = _joined([self.outputs, outputs])
        return TangentPass(whole, [one.detach() for one in whole], self.tangents)

    def of_first(self, images: int) -> TangentPass:
        """Derivatives of so many images alone."""
        return self._replace(tangents=[each[:images] for each in self.tangents])


def _joined(parts: Sequence[list[Tensor]]) -> list[Tensor]:
    """Scale by scale."""
    return [torch.cat(scale) for scale in zip(*parts, strict=True)]
