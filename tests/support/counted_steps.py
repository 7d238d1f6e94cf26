"""Bytes that a step holds on a GPU, counted without one: torch only makes up what every operation would return.

Nothing is computed. Counted are the tensors that live at once; what an operation needs inside is the GPU's own matter,
and so are the gaps that its allocator leaves. torch takes gradients on a GPU that is there only, so the tensors are the
CPU's, and take the ways of a GPU: half precision, tangents on their own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.stages import Stages
from nnunetv2_mlbseg.training.task import Task

CPU = torch.device("cpu")
CLASSES = 3


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that live at once; ``now``, and ``peak`` since it was last set."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known[storage._cdata] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key)


class Scaler:
    """The arithmetic of torch's gradient scaler without its question to the device, which would have no answer."""

    def scale(self, loss: Tensor) -> Tensor:
        return loss * torch.full((), 65536.0, device=loss.device)

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(1 / 65536)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.step()

    def update(self) -> None:
        """It stays."""


def half_precision(*_: Any) -> Any:
    """As on a GPU, but for the kind of 16 bits, which any torch has on the CPU."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


@contextmanager
def made_up() -> Iterator[LiveBytes]:
    """Everything inside is made up, as on a GPU."""
    with (
        patch.object(FakeTensor, "is_cuda", True, create=True),
        patch.object(Passes, "_autocast", half_precision),
        patch("nnunetv2_mlbseg.training.learning.weight_sums", lambda _: {}),  # they are values
        FakeTensorMode(allow_non_fake_inputs=True),
        LiveBytes() as live,
    ):
        yield live


def u_net(kind: str, features: Sequence[int], dims: int = 2) -> nn.Module:
    """nnU-Net's plain network, or that of its residual encoder planner M, for images of one channel."""
    stages = len(features)
    architecture: Any = {"plain": PlainConvUNet, "residual": ResidualEncoderUNet}[kind]
    blocks = {
        "plain": {"n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2},
        "residual": {"n_blocks_per_stage": (1, 3, 4, 6, 6, 6, 6)[:stages], "n_conv_per_stage_decoder": 1},
    }[kind]
    network: nn.Module = architecture(
        input_channels=1,
        n_stages=stages,
        features_per_stage=features,
        conv_op={2: nn.Conv2d, 3: nn.Conv3d}[dims],
        kernel_sizes=3,
        strides=(1, *[2] * (stages - 1)),
        num_classes=CLASSES,
        conv_bias=True,
        norm_op={2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims],
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
        **blocks,
    )
    return network


@cache
def stock_peak(kind: str, features: tuple[int, ...], size: int, images: int, dims: int = 2) -> int:
    """Peak bytes of nnU-Net's training step, after a first one that made the optimiser's state.

    Args:
        kind, features: See :func:`u_net`.
        size: Of each side in pixels.
        images: nnU-Net's batch size.
        dims: Spatial dimensions.
    """
    with made_up() as live:
        return _peak(live, _stock(kind, features, size, images, dims))


def our_peak(*point: Any, stage: str = "bootstrapping", **overrides: Any) -> int:
    """As :func:`stock_peak`, of MLB-Seg in one of its stages with some keys overridden."""
    with made_up() as live:
        return _peak(live, _ours(*point, stage=stage, overrides=overrides))


def products(*point: Any, stage: str = "bootstrapping", **overrides: Any) -> float:
    """Multiplications of all convolutions in a step of MLB-Seg, as a multiple of those in nnU-Net's.

    Args:
        point: As of :func:`stock_peak`.
        stage, overrides: As of :func:`our_peak`.
    """
    counts = []
    with made_up():
        for step in (_stock(*point), _ours(*point, stage=stage, overrides=overrides)):
            with FlopCounterMode(display=False) as counter:
                step()
            counts.append(counter.get_total_flops())
    stock, ours = counts
    return ours / stock


def _loss(features: tuple[int, ...]) -> nn.Module:
    factors = np.array([*(0.5**scale for scale in range(len(features) - 2)), 0])
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    return DeepSupervisionWrapper(loss, factors / factors.sum())


def _peak(live: LiveBytes, step: Callable[[], Any]) -> int:
    step()
    live.peak = live.now
    step()
    return live.peak


def _optimizer(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), 0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)


def _stock(kind: str, features: tuple[int, ...], size: int, images: int, dims: int = 2) -> Callable[[], Any]:
    """What nnU-Net's ``train_step`` does on a GPU."""
    network, loss = u_net(kind, features, dims), _loss(features)
    batch = _batch(images, 0, size, len(features) - 1, dims)
    optimizer, scaler = _optimizer(network), Scaler()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with half_precision():
            output = network(batch["data"])
            value = loss(output, batch["target"])
        scaler.scale(value).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        scaler.step(optimizer)

    return step


def _ours(
    kind: str,
    features: tuple[int, ...],
    size: int,
    images: int,
    dims: int = 2,
    *,
    stage: str,
    overrides: dict[str, Any],
) -> Callable[[], Any]:
    network = u_net(kind, features, dims)
    settings = resolve(MLBSeg.Settings, {"seed": 0, **overrides}, dims=dims)
    stages = Stages(MLBSeg.stages(settings, images, FoldRoles((), (), (), ())))
    cases: Any = None  # the loaders' concern
    learning = Learning(
        Course(settings, MLBSeg, cases, stages, Processes()),
        Task(channels=1, classes=CLASSES, dims=dims, noisy=20, unlabeled=10, ignore_label=None),
        student=network,
        heads=nn.ModuleDict(),
        optimizer=_optimizer(network),
        grad_scaler=Scaler(),
        loss=_loss(features),
        device=CPU,
    )
    learning.passes._replays, learning.passes._tangents_in_half = False, True
    loaded = _batch(images, stages.imperfect_images, size, len(features) - 1, dims)

    def step() -> None:
        with learning.guard.step():
            learning.step(Batch.of(loaded, CPU), Moment(0, 0, 1000, stage))
        learning.finish_step()

    return step


def _batch(clean: int, imperfect: int, size: int, scales: int, dims: int) -> dict[str, Any]:
    batch: dict[str, Any] = {}
    for name, count in (("", clean), ("imperfect_", imperfect)):
        batch[f"{name}data"] = torch.zeros(count, 1, *[size] * dims, device=CPU)
        shapes = [(count, 1, *[size >> scale] * dims) for scale in range(scales)]
        batch[f"{name}target"] = [torch.zeros(shape, dtype=torch.int16, device=CPU) for shape in shapes]
    batch["imperfect_generated"] = torch.zeros(imperfect, dtype=torch.bool, device=CPU)
    batch["imperfect_case"] = torch.zeros(imperfect, dtype=torch.int64, device=CPU)
    return batch
