"""What runs where: both networks in the right precision on the right device, for one process or several.

A method is handed one :class:`Passes` and gets float32 from it, so that its formulas need no cast of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.mean_teacher import disturb
from nnunetv2_mlbseg.maths.tangents.forward import Direction, logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import NotReplayable, logits_with_tangents
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, softmax_, unchanged
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.networks.features import Features, features_of
from nnunetv2_mlbseg.networks.surgery import mixes_images, plain_network, uncompiled
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.random_state import Generators
from nnunetv2_mlbseg.training.batch import Images, Target
from nnunetv2_mlbseg.training.descent import Descent, Gradient

Loss = Callable[[Any, Any], Tensor]
"""nnU-Net's: of a network's output, or list of outputs, and nnU-Net's target."""

OfTangents = Callable[[Tensor, Tensor], Tensor]
"""Of logits and their derivatives, one map."""

Within = Callable[[nn.Module], AbstractContextManager[Any]]
"""What is done to a plain network for the time of a block."""

TANGENT_PARTS = 4
"""Into how many parts images are divided for derivatives. In float32, values and derivatives of a quarter of them take
less memory than what the training pass keeps of all in float16 for its backward pass."""


def tangents_themselves(logits: Tensor, tangents: Tensor) -> Tensor:
    """All of them."""
    return tangents


class TangentPass(NamedTuple):
    """The student's outputs at all scales, finest first, and their derivatives.

    ``outputs``: with their graph, where one pass gives both; None: training needs a pass of its own.
    ``logits``, ``tangents``: ``(B, C, *S)`` each, without a graph; ``tangents`` are what was asked for of them.
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


def _joined(parts: Sequence[list[Tensor]]) -> list[Tensor]:
    """Scale by scale."""
    return [torch.cat(scale) for scale in zip(*parts, strict=True)]


@dataclass
class Passes:
    """Forward passes and gradients, as nnU-Net takes them.

    Attributes:
        student_network: In training; may be compiled. Tangents and gradients use the module inside.
        teacher_network: The mean teacher.
        generators: Of the training; a method asks for one by its purpose.
        losses: nnU-Net's loss ("dice_ce") and its cross-entropy alone ("ce"), over the whole batch.
        scale_factors: Deep supervision's factors above 0, finest first; ``[1.0]`` without it.
        deep_supervision: Whether networks return lists.
        images: Images of the whole imperfect batch, where processes share it; None: those at hand are all.
        unshown: Classes of which the clean images say nothing; None: there are none.
        bfloat16: Whether passes on the CPU are in bfloat16.
    """

    student_network: nn.Module
    teacher_network: nn.Module
    descent: Descent
    losses: Mapping[str, Loss]
    scale_factors: Sequence[float]
    deep_supervision: bool
    device: torch.device
    generators: Generators
    processes: Processes = field(default_factory=Processes)
    images: int | None = None
    unshown: Unshown | None = None
    bfloat16: bool = False

    def __post_init__(self) -> None:
        # On the CPU the training pass is not compiled, so the tangents can share it where it is in float32.
        self._replays = self.device.type == "cpu"

    @property
    def total(self) -> Total:
        """From a sum over this process's images to the sum over the whole batch."""
        return self.processes.total if self.processes.count > 1 else unchanged

    def student(self, images: Tensor, *, exact: bool = False, within: Within | None = None) -> list[Tensor]:
        """The student's logits with their graph, ``(B, C, *S)`` at every scale, finest first.

        Args:
            exact: Not in bfloat16, which is too coarse for some.
            within: What is done to the network for this pass alone, such as dropout.
        """
        return self.through(self.student_network, images, exact=exact, within=within)

    def through(
        self, network: nn.Module, images: Tensor | list[Tensor], *, exact: bool = False, within: Within | None = None
    ) -> list[Tensor]:
        """The logits of any network that is built as the student is, as :meth:`student` has them.

        Args:
            images: For a decoder the feature maps that :meth:`features` found.
        """
        with self._autocast(exact):
            if within is None:
                return self._scales(network(images))
            plain = plain_network(network)  # compiled code calls no hooks
            with uncompiled(plain), within(plain):
                return self._scales(plain(images))

    def features(
        self, images: Tensor, network: nn.Module | None = None, within: Within | None = None
    ) -> tuple[list[Tensor], Features]:
        """The student's logits, and what its encoder and decoder made on the way, all with their graph.

        Args:
            network: One that is built as the student is, in its place.
            within: As for :meth:`student`.

        Raises:
            UnsupportedError: a network without encoder and decoder.
        """
        plain = plain_network(self.student_network if network is None else network)
        with self._autocast(), uncompiled(plain), (within or nullcontext)(plain), features_of(plain) as found:
            outputs = self._scales(plain(images))  # compiled code calls no hooks
        last = None if found.last is None else at_least_float32(found.last)
        return outputs, Features([at_least_float32(skip) for skip in found.skips], last)

    @torch.no_grad()
    def teacher(self, images: Tensor, noise: float = 0.0, *, within: Within | None = None) -> Tensor:
        """The teacher's probabilities at full resolution, ``(B, C, *S)``, without a graph.

        Args:
            noise: Gaussian noise on its input (Eq. 12), in standard deviations of the normalised image.
            within: As for :meth:`student`.
        """
        return softmax_(self.through(self.teacher_network, self._disturbed(images, noise), within=within)[0])

    def with_tangents(
        self, images: Tensor, direction: Direction, of: OfTangents = tangents_themselves, scales: int | None = None
    ) -> TangentPass:
        """The student's outputs, and their derivatives along a direction in the space of its parameters.

        Without graph they are in float32, also where passes with one are in half precision. They are taken of one part
        of the images after the other, unless a layer mixes images, so that the activations of one part are all that
        there is at once.

        Args:
            of: What to keep of a scale's logits and derivatives, both ``(B, C, *S)``; an image's has to be its own.
            scales: Of how many scales to keep it, finest first; None: of all.
        """
        parts = 1 if mixes_images(self.student_network) else TANGENT_PARTS
        found = []
        for part in images.chunk(parts):
            outputs, logits, tangents = self._of_part(part, direction)
            kept = list(map(of, logits[:scales], tangents[:scales]))
            del tangents  # before those of the next part
            found.append(TangentPass(outputs, logits, kept))
        return TangentPass.joined(found)

    def _of_part(self, images: Tensor, direction: Direction) -> TangentPass:
        if self._replays and not self.bfloat16:
            try:
                outputs, tangents = map(self._scales, logits_with_tangents(self.student_network, images, direction))
                return TangentPass(outputs, [output.detach() for output in outputs], tangents)
            except NotReplayable:
                self._replays = False
        return TangentPass(None, *map(self._scales, logit_tangents(self.student_network, images, direction)))

    def supervised(
        self, outputs: Sequence[Tensor], target: Target, loss: str = "dice_ce", *, of_clean: bool = True
    ) -> Tensor:
        """nnU-Net's loss of outputs for clean images; averaged over the processes it is that of the whole batch.

        Classes of which the clean images say nothing are left out: no gradient reaches their logits.

        Args:
            of_clean: False for other images, whose labels count whatever they say.
        """
        if self.unshown is not None and of_clean:
            outputs = [self.unshown.other_logits(output) for output in outputs]
            target = self.unshown.other_labels(target)
        return self.losses[loss](outputs if self.deep_supervision else outputs[0], target)

    def gradient(self, loss: Tensor) -> Gradient:
        """Of a loss that the processes share; times the gradient scaler's factor, if there is one."""
        return self.descent.gradient(loss)

    def clean_gradient(self, clean: Images, loss: str, *, exact: bool = False) -> tuple[Tensor, Gradient]:
        """Loss of the clean batch (Eq. 5) and its gradient, times the gradient scaler's factor if there is one.

        Args:
            exact: Not in bfloat16.
        """
        value = self.supervised(self.student(clean.images, exact=exact), clean.target, loss)
        return value.detach(), self.gradient(value)

    def share_of_images(self) -> slice | None:
        """Which images of the whole imperfect batch this process has; None: all."""
        return None if self.images is None else self.processes.share(self.images)

    def _disturbed(self, images: Tensor, noise: float) -> Tensor:
        if noise == 0:
            return images
        generator, rows = self.generators.on_device("noise"), self.share_of_images()
        if rows is None:
            return disturb(images, noise, generator)
        views = images.shape[0] // (rows.stop - rows.start)
        return disturb(images, noise, generator, views=views, batch_size=self.images, rows=rows)

    def _scales(self, output: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """The outputs that deep supervision counts, in float32 or better."""
        outputs = [output] if isinstance(output, Tensor) else output[: len(self.scale_factors)]
        return [at_least_float32(one) for one in outputs]

    def _autocast(self, exact: bool = False) -> AbstractContextManager[Any]:
        """As nnU-Net, float16 where that is fast, which is on CUDA only; on the CPU bfloat16 if the training has it."""
        if self.device.type == "cuda":
            return torch.autocast("cuda")
        coarse = self.bfloat16 and not exact
        return torch.autocast("cpu", dtype=torch.bfloat16) if coarse else nullcontext()
