"""What a benchmark of the step runs on: a network, a batch, nnU-Net's own step and ours, and the second-order ways.

All ways see equally many images: N clean ones, and N imperfect ones counted with their views, rounded down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from dynamic_network_architectures.building_blocks.helper import convert_dim_to_conv_op, get_matching_instancenorm
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.losses import pixel_cross_entropy, weighted_cross_entropy
from nnunetv2_mlbseg.maths.weighting.normalization import normalize_weights
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.stages import imperfect_draw
from nnunetv2_mlbseg.networks.surgery import parameters_replaced
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Method, Moment
from nnunetv2_mlbseg.training.stages import Stage, Stages
from nnunetv2_mlbseg.training.task import Task

ALPHA = 0.1  # of the virtual step; it cancels
BEGIN = Moment(0, 0, 1000)
NOBODY = FoldRoles((), (), (), ())
# Only what the second-order ways do as well: weights and weighted loss. Views, teacher and supervision are off.
CORE: dict[str, Any] = {
    "weighting": "meta",
    "weight_normalization": "sum",
    "views": [],
    "pseudo_label_network": "student",
    "consistency_weight": 0,
    "teacher_weight": 0,
    "supervised_weight": 0,
}


@dataclass(frozen=True)
class Sizes:
    """One point of the benchmark: N images of ``size`` pixels squared, Q views, ``width`` times 32 features.

    ``stages`` of the network: features double with each, up to 512. ``deep``: with deep supervision, as nnU-Net plans.
    ``dims`` 3: patches of so many voxels cubed, with one view drawn from the Q.
    """

    images: int = 10
    size: int = 96
    classes: int = 2
    views: int = 4
    width: float = 1.0
    stages: int = 4
    deep: bool = False
    dims: int = 2

    @property
    def patch(self) -> tuple[int, ...]:
        """Its shape."""
        return (self.size,) * self.dims


class Scene:
    """Network and batch of one point, on one device, and the ways to take a step there."""

    def __init__(self, sizes: Sizes, device: str = "cpu", compile: bool = False, **overrides: Any):
        torch.manual_seed(0)
        self.sizes, self.device = sizes, torch.device(device)
        self.network = network(sizes).to(device)
        if compile:
            self.network = torch.compile(self.network)
        self.scaler = torch.amp.GradScaler("cuda") if self.device.type == "cuda" else None
        dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
        self.loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
        if sizes.deep:
            self.loss = DeepSupervisionWrapper(self.loss, [*(0.5**scale for scale in range(sizes.stages - 2)), 0])
        views = ["zoom_in", "zoom_out", "zoom_out", "flip"]
        views = [views[number % 4] for number in range(sizes.views)]
        self.learning = self._learning({"views": views, **overrides})
        imperfect = imperfect_draw(self.learning.settings, sizes.images).images  # as a training
        self.batch = {**self.drawn("", sizes.images), **self.drawn("imperfect_", imperfect)}
        self.core_batch = {**self.drawn("", sizes.images), **self.drawn("imperfect_", sizes.images)}
        self.core = self._learning(CORE)
        self.optimizer = _optimizer(self.network)

    def drawn(self, name: str, count: int) -> dict[str, Tensor]:
        """So many images as a loader hands them over, under keys that begin with ``name``."""
        shape, axes = (count, 1, *self.sizes.patch), range(2, 2 + self.sizes.dims)
        # Squares of 8 pixels: labels of structures lie side by side in memory, those of single pixels would not.
        squares = (count, 1, *[-(-side // 8) for side in self.sizes.patch])
        target: Any = torch.randint(self.sizes.classes, squares, dtype=torch.int16, device=self.device)
        for axis in axes:
            target = target.repeat_interleave(8, axis).narrow(axis, 0, self.sizes.size)
        target = target.contiguous()
        if self.sizes.deep:
            scales = range(self.sizes.stages - 1)
            target = [target[(..., *[slice(None, None, 2**scale)] * len(axes))] for scale in scales]
        generated = torch.zeros(count, dtype=torch.bool, device=self.device)
        case = torch.arange(count, device=self.device)
        images = torch.randn(shape, device=self.device)
        return {
            f"{name}data": images,
            f"{name}target": target,
            f"{name}generated": generated,
            f"{name}case": case,
        }

    def _learning(self, overrides: dict[str, Any]) -> Learning:
        settings = resolve(MLBSeg.Settings, {"seed": 1, **overrides}, dims=self.sizes.dims)
        stages = MLBSeg.stages(settings, self.sizes.images, NOBODY)
        return self.learning_of(MLBSeg, settings, stages, self.network, NOBODY)

    def learning_of(
        self, method: type[Method], settings: Any, stages: Sequence[Stage], student: nn.Module, roles: FoldRoles
    ) -> Learning:
        """All that learns, as a training puts it together; of ``roles`` counts whether there are unlabeled cases."""
        images = self.sizes.images
        cases: Any = SimpleNamespace(roles=roles)
        unlabeled = images if roles.unlabeled else 0
        dims = self.sizes.dims
        task = Task(1, self.sizes.classes, dims, noisy=images, unlabeled=unlabeled, ignore_label=None, network=student)
        heads = method.modules(settings, task).to(self.device)
        return Learning(
            Course(settings, method, cases, Stages(stages), Processes()),
            task,
            student=student,
            heads=heads,
            optimizer=_optimizer(student, heads),
            grad_scaler=self.scaler,
            loss=self.loss,
            device=self.device,
        )

    def ways(self) -> dict[str, Callable[[], Any]]:
        """Whole steps by name; the first is what the others are compared with."""
        return {
            "stock": self.stock,
            "core": lambda: self._iteration(self.core, self.core_batch),
            "second order": lambda: self._second_order(self._weights_by_hand),
            "TorchOpt": lambda: self._second_order(self._weights_by_torchopt),
            "higher": lambda: self._second_order(self._weights_by_higher),
            "whole": self.whole,
        }

    def stock(self, batch: dict[str, Tensor] | None = None) -> None:
        """nnU-Net's own method, on an object that has what it uses of a trainer."""
        trainer = SimpleNamespace(
            device=self.device,
            network=self.network,
            optimizer=self.optimizer,
            loss=self.loss,
            grad_scaler=self.scaler,
        )
        nnUNetTrainer.train_step(trainer, batch or self.batch)

    def whole(self, batch: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Everything a training does between two batches."""
        with self.learning.guard.step():
            found = self._iteration(self.learning, batch or self.batch)
        return found | self.learning.finish_step()

    def networks_alone(self) -> None:
        """The passes through both networks that a whole step takes, and nothing beside them: what classes cost there.

        Every backward pass is that of some gradient of the outputs.
        """
        passes, batch = self.learning.passes, Batch.of(self.batch, self.device)
        parameters = passes.descent.parameters
        assert batch.imperfect is not None
        shown = batch.imperfect.images.repeat(self.sizes.views + 1, 1, 1, 1)
        outputs = passes.student(batch.clean.images)
        some = [torch.ones_like(output) for output in outputs]
        direction = list(torch.autograd.grad(outputs, parameters, some, allow_unused=True))
        found = passes.with_tangents(shown, direction, first=len(batch.imperfect.images))
        torch.autograd.grad(found.outputs or passes.student(shown), parameters, some, allow_unused=True)
        with torch.no_grad():
            passes.teacher_network(shown)

    def in_bfloat16(self) -> dict[str, Callable[[], Any]]:
        """The two steps of a training on the CPU in bfloat16."""
        return {"stock": self._coarse(self._supervised), "whole": self._coarse(self.whole)}

    def _supervised(self) -> dict[str, Tensor]:
        return self.learning.supervised_step(Batch.of(self.batch, self.device), "warmup")

    def _coarse(self, step: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            self.learning.passes.bfloat16 = True
            try:
                step()
            finally:
                self.learning.passes.bfloat16 = False

        return run

    def _iteration(self, learning: Learning, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return learning.step(Batch.of(batch, self.device), BEGIN)

    # --- the second-order ways: Eq. 4-6 to the letter, then Eq. 7-9 as in the core --------------------------------

    def _second_order(self, weights: Callable[[Tensor, Tensor, Tensor], list[Tensor]]) -> None:
        images = self.core_batch["imperfect_data"]
        imperfect = self.core_batch["imperfect_target"][:, 0].long()
        with torch.no_grad():
            pseudo = self.network(images).argmax(dim=1)
        maps = normalize_weights(*weights(images, imperfect, pseudo), "sum")
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.network(images)
        terms = [weighted_cross_entropy(logits, y, w) for y, w in zip((imperfect, pseudo), maps, strict=True)]
        torch.stack(terms).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()

    def _virtual_loss(self, logits: Tensor, *labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = [torch.zeros_like(logits[:, 0], requires_grad=True) for _ in labels]
        terms = [(w * pixel_cross_entropy(logits, y)).sum() for w, y in zip(maps, labels, strict=True)]
        return torch.stack(terms).sum(), maps

    def _derivatives(self, network: Callable[[Tensor], Tensor], maps: list[Tensor]) -> list[Tensor]:
        after = self.loss(network(self.core_batch["data"]), self.core_batch["target"])
        return [-gradient / ALPHA for gradient in torch.autograd.grad(after, maps)]

    def _weights_by_hand(self, images: Tensor, imperfect: Tensor, pseudo: Tensor) -> list[Tensor]:
        loss, maps = self._virtual_loss(self.network(images), imperfect, pseudo)
        parameters = list(self.network.parameters())
        gradient = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        pairs = zip(parameters, gradient, strict=True)
        moved = {id(p): p - ALPHA * g for p, g in pairs if g is not None}
        with parameters_replaced(self.network, moved):
            return self._derivatives(self.network, maps)

    def _weights_by_torchopt(self, images: Tensor, imperfect: Tensor, pseudo: Tensor) -> list[Tensor]:
        import torchopt

        before = torchopt.extract_state_dict(self.network, by="reference")
        inner = torchopt.MetaSGD(self.network, lr=ALPHA)
        loss, maps = self._virtual_loss(self.network(images), imperfect, pseudo)
        inner.step(loss)
        try:
            return self._derivatives(self.network, maps)
        finally:
            torchopt.recover_state_dict(self.network, before)

    def _weights_by_higher(self, images: Tensor, imperfect: Tensor, pseudo: Tensor) -> list[Tensor]:
        import higher

        inner = torch.optim.SGD(self.network.parameters(), ALPHA)
        with higher.innerloop_ctx(self.network, inner, copy_initial_weights=False) as (functional, optimizer):
            loss, maps = self._virtual_loss(functional(images), imperfect, pseudo)
            optimizer.step(loss)
            return self._derivatives(functional, maps)


def _optimizer(*modules: nn.Module) -> torch.optim.Optimizer:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.optim.SGD(parameters, 1e-3, momentum=0.99, nesterov=True)


def network(sizes: Sizes) -> nn.Module:
    """A U-Net with the options of nnU-Net's planner; in 2D 1.9 million parameters at width 1 and four stages."""
    convolution = convert_dim_to_conv_op(sizes.dims)
    features = [min(512, max(4, round(sizes.width * 32 * 2**stage))) for stage in range(sizes.stages)]
    return PlainConvUNet(
        input_channels=1,
        n_stages=sizes.stages,
        features_per_stage=features,
        conv_op=convolution,
        kernel_sizes=3,
        strides=(1, *[2] * (sizes.stages - 1)),
        num_classes=sizes.classes,
        n_conv_per_stage=2,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=get_matching_instancenorm(convolution),
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=sizes.deep,
    )
