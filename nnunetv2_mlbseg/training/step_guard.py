"""What becomes of a training step whose numbers are not finite: it is left out and counted, and only so often.

A NaN that reached the weights would stay there, pass into the teacher and from there into every checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.tensors import at_least_float32
from nnunetv2_mlbseg.runtime.errors import TrainingStoppedError

MOST_SKIPPED = 20
"""Steps in vain before a training stops. A gradient scaler needs up to 16 halvings until its first step succeeds."""


class StepGuard:
    """Leaves out optimiser steps whose gradient is NaN or infinite; weights and momentum then stay as they are.

    With a gradient scaler (CUDA) the scaler does that, without another look from the host. Elsewhere a hook drops
    the gradients, and torch's optimisers do nothing for parameters without one.

    Args:
        network: All that learns. Its floating-point buffers (running statistics of batch norm) are kept finite as well.
        scaled: Whether a gradient scaler calls the optimiser.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, network: nn.Module, scaled: bool):
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        self._skipped: Tensor | None = None
        self.within_step = False
        """True after a step that an exception broke off: its weights may be half updated."""
        self.left_out = False
        """Whether the last step was left out; known on the host, without a wait for the device."""
        optimizer.register_step_pre_hook(self._take_note if scaled else self._drop_gradients)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Enclose one training step; afterwards the buffers are those of before wherever they became NaN."""
        self._skipped, self.within_step, self.left_out = None, True, True
        before = [buffer.clone() for buffer in self._buffers]
        yield
        for buffer, old in zip(self._buffers, before, strict=True):
            buffer.copy_(torch.where(torch.isfinite(buffer).all(), buffer, old))
        self.within_step = False

    def skipped(self) -> Tensor:
        """1.0 if the last step was left out, else 0.0, on the device."""
        found = _not_finite(self._parameters) if self._skipped is None else self._skipped
        return found.float()

    def _take_note(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.left_out = False  # a gradient scaler calls the optimiser only where every gradient is finite

    def _drop_gradients(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._skipped = _not_finite(self._parameters)
        self.left_out = bool(self._skipped)
        if self.left_out:
            for parameter in self._parameters:
                parameter.grad = None


class Patience:
    """Counts steps in vain over epochs in which most were left out; an epoch that goes well sets it back."""

    def __init__(self) -> None:
        self.in_vain = 0

    def judge(self, epoch: int, skipped: int, steps: int) -> None:
        """Take note of an epoch.

        Raises:
            TrainingStoppedError: most steps of this epoch were left out, `MOST_SKIPPED` or more with those before.
        """
        self.in_vain = self.in_vain + skipped if 2 * skipped > steps else 0
        if self.in_vain >= MOST_SKIPPED:
            raise TrainingStoppedError(
                f"epoch {epoch}: {skipped} of {steps} steps were left out because loss or gradient were not finite "
                f"({self.in_vain} in vain so far). The weights are as they were before, and the checkpoints on disk "
                f"are good. Look at the loss terms of the epochs before, try a smaller initial_lr, and look for "
                f"extreme intensities ('mlbseg check'); then go on with --c"
            )


def _not_finite(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Whether any gradient has a NaN or infinite entry (or a norm beyond float32), as a bool on the device."""
    device = parameters[0].device
    gradients = [at_least_float32(p.grad) for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), dtype=torch.bool, device=device)
    return ~torch.isfinite(torch.stack(torch._foreach_norm(gradients)).norm())


def refuse_non_finite(networks: dict[str, nn.Module]) -> None:
    """Look at all weights and buffers once.

    Raises:
        TrainingStoppedError: one is NaN or infinite; the line names network and tensor.
    """
    for name, network in networks.items():
        state = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
        finite = torch.stack([torch.isfinite(value).all() for value in state.values()]).tolist()
        bad = [key for key, good in zip(state, finite, strict=True) if not good]
        if bad:
            raise TrainingStoppedError(
                f"{len(bad)} of {len(state)} tensors of the {name} hold NaN or infinite values, the first is {bad[0]}. "
                f"No checkpoint is written from them; the last one on disk is good. Is weight_decay * initial_lr "
                f"below 2?"
            )
