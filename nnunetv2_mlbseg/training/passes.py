"""What runs where: both networks in the right precision on the right device, for one process or several.

A method is handed one :class:`Passes` and gets float32 from it, so that its formulas need no cast of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.maths.mean_teacher import disturb
from nnunetv2_mlbseg.maths.tangents.compiled import CompiledTangents, Compiler
from nnunetv2_mlbseg.maths.tangents.forward import Direction, logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import NotReplayable, logits_with_tangents
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, softmax_, unchanged
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.networks import surgery
from nnunetv2_mlbseg.networks.features import Features, features_of
from nnunetv2_mlbseg.networks.surgery import Within, mixes_images, plain_network, uncompiled
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.random_state import Generators
from nnunetv2_mlbseg.training.batch import Images, Target
from nnunetv2_mlbseg.training.descent import Descent, Gradient
from nnunetv2_mlbseg.training.in_parts import in_parts
from nnunetv2_mlbseg.training.tangent_pass import OfTangents, TangentPass, divided, tangents_themselves
from nnunetv2_mlbseg.training.whole_batch_loss import Loss


@dataclass
class Passes:
    """Forward passes and gradients, as nnU-Net takes them.

    Attributes:
        student_network: In training. Where nnU-Net compiles it, teacher and tangents are compiled as well.
        teacher_network: The mean teacher, not compiled.
        generators: Of the training; a method asks for one by its purpose.
        losses: nnU-Net's loss ("dice_ce") and its cross-entropy alone ("ce"), over the whole batch.
        scale_factors: Deep supervision's factors above 0, finest first; ``[1.0]`` without it.
        deep_supervision: Whether networks return lists.
        images: Images of the whole imperfect batch, where processes share it; None: those at hand are all.
        unshown: Classes of which the clean images say nothing; None: there are none.
        bfloat16: Whether passes on the CPU are in bfloat16.
        images_at_once: Of how many imperfect images activations are held at once; None: of all. A method sets it.
        space: Whether outputs are of classes or of regions. Of regions all that passes return is folded: ``(B*G, C,
            *S)`` where it says ``(B, C, *S)``.
        compiler: What compiles.
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
    images_at_once: int | None = None
    compiler: Compiler = torch.compile
    space: LabelSpace = LabelSpace()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        compiled = surgery.is_compiled(self.student_network)
        self._teacher_pass = self.compiler(self.teacher_network) if compiled else self.teacher_network
        self._tangents = CompiledTangents(self.student_network, self.compiler) if compiled else None
        # On the CPU the training pass is not compiled, so the tangents can share it where it is in float32.
        self._replays = self.device.type == "cpu" and not compiled
        self._tangents_in_half = self.device.type == "cuda"

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
        """As :meth:`student`, of any network built like it, or of a decoder, whose ``images`` are feature maps."""
        with self._autocast(exact):
            if within is None:
                return self._scales(network(images))
            plain = plain_network(network)  # compiled code calls no hooks
            with uncompiled(plain), within(plain):
                return self._scales(plain(images))

    def student_in_parts(self, images: Tensor, known: list[Tensor] | None = None) -> list[Tensor]:
        """As :meth:`student`, with the same gradient of any loss, but activations of ``images_at_once`` images alone.

        Args:
            known: Logits of the first images at all scales, where there are some.
        """
        size = self._at_once(len(images))
        if size == len(images):
            return self.student(images)
        return in_parts(self.student, images, size, self.descent.parameters, known, self.space.groups)

    def _at_once(self, images: int) -> int:
        """How many images to pass at once, of so many."""
        network = self.student_network
        if self.images_at_once is None or mixes_images(network) or surgery.draws_at_random(network):
            return images
        return min(images, self.images_at_once)

    def features(
        self, images: Tensor, network: nn.Module | None = None, within: Within | None = None
    ) -> tuple[list[Tensor], Features]:
        """The student's logits, and what its encoder and decoder made on the way, all with their graph.

        Args:
            network: One that is built as the student is, in its place.
            within: As for :meth:`student`.

        Raises:
            InputError: a network without encoder and decoder.
        """
        plain = plain_network(self.student_network if network is None else network)
        with self._autocast(), uncompiled(plain), (within or nullcontext)(plain), features_of(plain) as found:
            outputs = self._scales(plain(images))  # compiled code calls no hooks
        return outputs, Features(*([*map(at_least_float32, maps)] for maps in (found.skips, found.decoded)))

    @torch.no_grad()
    def teacher(self, images: Tensor, noise: float = 0.0, *, within: Within | None = None) -> Tensor:
        """The teacher's probabilities at full resolution, ``(B, C, *S)``, without a graph.

        Args:
            noise: Gaussian noise on its input (Eq. 12), in standard deviations of the normalised image.
            within: As for :meth:`student`.
        """
        shown = self._disturbed(images, noise)
        parts = shown.split(self._at_once(len(shown)))
        found = [softmax_(self.through(self._teacher_pass, part, within=within)[0]) for part in parts]
        return torch.cat(found) if len(found) > 1 else found[0]

    def with_tangents(
        self,
        images: Tensor,
        direction: Direction,
        of: OfTangents = tangents_themselves,
        scales: int | None = None,
        first: int | None = None,
        exact: bool = True,
    ) -> TangentPass:
        """The student's outputs, and their derivatives along a direction in the space of its parameters.

        They are taken of one part of the images after the other, unless a layer mixes images, so that the activations
        of one part are all that there is at once.

        Args:
            of: What to keep of a scale's logits and derivatives, both ``(B, C, *S)``; an image's has to be its own.
            scales: Of how many scales to keep it, finest first; None: of all.
            first: Of how many images to take derivatives, the first ones; None: of all.
            exact: In float32. False: on CUDA in half precision, which is enough for sums over many pixels.
        """
        at_once = self._at_once(len(images))
        wanted = (images,) if mixes_images(self.student_network) else divided(images, first, at_once)
        graph, passed = at_once == len(images), sum(map(len, wanted))
        parts = (self._with_tangents(part, direction, graph, exact) for part in wanted)
        found = TangentPass.joined([part.kept(of, scales) for part in parts])
        if found.outputs is not None and passed < len(images):
            found = found.followed_by(self.student(images[passed:]))
        return found if first is None else found.of_first(first * self.space.groups)

    def _with_tangents(self, images: Tensor, direction: Direction, graph: bool, exact: bool) -> TangentPass:
        if self._replays and not self.bfloat16:
            try:
                with torch.set_grad_enabled(graph):
                    found = logits_with_tangents(self.student_network, images, direction)
                outputs, tangents = map(self._scales, found)
                return TangentPass(outputs if graph else None, [one.detach() for one in outputs], tangents)
            except NotReplayable:
                self._replays = False
        exact = exact or not self._tangents_in_half
        with nullcontext() if exact else self._autocast():
            if self._tangents is None:
                both = logit_tangents(self.student_network, images, direction, exact)
            else:
                both = self._tangents(images, direction, exact)
        return TangentPass(None, *map(self._scales, both))

    def supervised(
        self, outputs: Sequence[Tensor], target: Target, loss: str = "dice_ce", *, of_clean: bool = True
    ) -> Tensor:
        """nnU-Net's loss of outputs for clean images; averaged over the processes it is that of the whole batch.

        Classes of which the clean images say nothing are left out: no gradient reaches their logits.

        Args:
            of_clean: False for other images, whose labels count whatever they say.
        """
        outputs = list(map(self.space.output, outputs))
        if self.unshown is not None and of_clean:
            outputs = [self.unshown.other_logits(output) for output in outputs]
            target = self.unshown.other_labels(target)
        return self.losses[loss](outputs if self.deep_supervision else outputs[0], target)

    def gradient(self, loss: Tensor) -> Gradient:
        """Of a loss that the processes share; times the gradient scaler's factor, if there is one."""
        return self.descent.gradient(loss)

    def clean_gradient(self, clean: Images, loss: str, *, exact: bool = False) -> tuple[Tensor, Gradient]:
        """Loss of the clean batch (Eq. 5) and its gradient, times the gradient scaler's factor; see :meth:`student`."""
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
        """The outputs that deep supervision counts, folded, in float32 or better."""
        outputs = [output] if isinstance(output, Tensor) else output[: len(self.scale_factors)]
        return [self.space.logits(at_least_float32(one)) for one in outputs]

    def _autocast(self, exact: bool = False) -> AbstractContextManager[Any]:
        """As nnU-Net, float16 where that is fast, which is on CUDA only; on the CPU bfloat16 if the training has it."""
        if self.device.type == "cuda":
            return torch.autocast("cuda")
        coarse = self.bfloat16 and not exact
        return torch.autocast("cpu", dtype=torch.bfloat16) if coarse else nullcontext()
