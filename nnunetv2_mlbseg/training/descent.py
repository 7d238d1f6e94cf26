"""Gradients and the optimiser's step: the gradient scaler of half precision, clipping, several processes.

All values stay on the device. With several processes a loss is this one's share of the whole batch's, times their
number (:mod:`nnunetv2_mlbseg.runtime.processes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import Tensor, nn

from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.training import TrainingSettings

Gradient = list[Tensor | None]
"""One entry per parameter, None for a parameter that the loss does not depend on."""


@dataclass(frozen=True)
class Descent:
    """How the student's parameters go down a loss.

    Attributes:
        grad_scaler: For float16 autocast on CUDA, else None; of :class:`torch.amp.GradScaler`'s kind.
    """

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    grad_scaler: Any | None
    processes: Processes

    @property
    def learning_rate(self) -> float:
        """The present one."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def gradient(self, loss: Tensor) -> Gradient:
        """The gradient of ``loss``, the mean over the processes, times the gradient scaler's factor if there is one."""
        scaled = loss if self.grad_scaler is None else self.grad_scaler.scale(loss)
        return self.processes.average(torch.autograd.grad(scaled, self.parameters, allow_unused=True))

    def unscaled(self, gradient: Gradient) -> Gradient:
        """Divide by the gradient scaler's factor; what overflowed becomes 0."""
        if self.grad_scaler is None:
            return gradient
        inverse = self.grad_scaler.scale(torch.ones((), device=self.parameters[0].device)).reciprocal()
        return [None if g is None else torch.nan_to_num(g * inverse, posinf=0.0, neginf=0.0) for g in gradient]

    def step(self, loss: Tensor, clip: float, begun: Gradient | None = None) -> None:
        """One step of the optimiser.

        Args:
            loss: Its gradient is averaged over the processes.
            clip: Largest norm of the whole gradient.
            begun: A gradient that is there already, in the scale of :meth:`gradient`, to which that of ``loss`` is
                added. It is the same in every process, so that averaging leaves it as it is. It is overwritten.
        """
        if begun is None:
            begun = [None] * len(self.parameters)
        for parameter, gradient in zip(self.parameters, begun, strict=True):
            parameter.grad = gradient
        scaler = self.grad_scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        self.processes.average_gradients_(self.parameters)
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        if scaler is None:
            self.optimizer.step()
            return
        scaler.step(self.optimizer)
        scaler.update()


def sgd(
    parameters: Iterable[nn.Parameter], settings: TrainingSettings, epochs: int
) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
    """SGD as configured, with nnU-Net's polynomial decay over ``epochs``; an exponent of 0: constant learning rate."""
    optimizer = torch.optim.SGD(
        parameters,
        settings.initial_lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )
    return optimizer, PolyLRScheduler(optimizer, settings.initial_lr, epochs, settings.lr_decay_exponent)
