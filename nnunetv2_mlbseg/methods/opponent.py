"""A critic as the opponent of a training: it judges in the step, and learns after it with an optimiser of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_mlbseg.methods.comparison import SemiSupervised
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.task import Task

UNLABELLED, LABELLED = 0, 1
LEARNING_RATE, BETAS = 1e-4, (0.9, 0.99)
"""As in SSL4MIS and SASSNet."""


@dataclass(frozen=True)
class Shown:
    """What a critic looks at: maps ``(B, M, *S)`` and their images ``(B, channels, *S)``, taken as constants."""

    maps: Tensor
    images: Tensor

    @classmethod
    def of(cls, maps: Tensor, images: Tensor) -> Shown:
        """Without a graph."""
        return cls(maps.detach(), images.detach())


class Opponent:
    """Trains a critic to tell maps of labelled images from those of others, and judges by it.

    The critic is frozen but for its own step, so that the main optimiser, which is handed it with all heads, leaves it
    as it is. nnU-Net's schedule would overwrite its learning rate, hence an optimiser of its own.

    Args:
        critic: Of maps, images, and what draws its dropout (None: it has none).
    """

    def __init__(self, critic: nn.Module, passes: Passes):
        self.critic, self.passes = critic.requires_grad_(False), passes
        self.optimizer = torch.optim.Adam(critic.parameters(), LEARNING_RATE, BETAS, fused=True)
        self._shown: tuple[Shown, Shown] | None = None
        passes.generators.on_device("critic")  # made at once, so that every checkpoint has its state

    def show(self, labelled: Shown, unlabelled: Shown) -> None:
        """Keep what the critic learns from after the step."""
        self._shown = labelled, unlabelled

    def taken_for_labelled(self, maps: Tensor, images: Tensor) -> Tensor:
        """How far the critic is from taking images for labelled ones, in nats. Gradient flows into the maps alone."""
        return _cross_entropy(self.critic(maps, images, None), LABELLED)

    @torch.no_grad()
    def chance_of_labelled(self, maps: Tensor, images: Tensor) -> Tensor:
        """How probable it seems to the critic that maps are of labelled images, ``(B,)`` or ``(B, *S)``."""
        found: Tensor = self.critic(maps, images, None).softmax(dim=1)[:, LABELLED]
        return found

    def learn_(self) -> None:
        """One step of the critic down its own loss on what it was shown. A gradient that is not finite counts as 0.

        Both batches count the same, whatever their sizes.
        """
        if self._shown is None:
            return
        shown, self._shown = self._shown, None
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad(), trainable(self.critic):
            draw = partial(uniform, self.passes, purpose="critic")
            judged = (self.critic(one.maps, one.images, draw) for one in shown)
            losses = map(_cross_entropy, judged, (LABELLED, UNLABELLED))
            (sum(losses, torch.zeros((), device=self.passes.device)) / 2).backward()
        drop_unless_finite_([p.grad for p in self.critic.parameters() if p.grad is not None])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Of the optimiser, for a checkpoint; the critic itself is stored with the heads."""
        return {"critic_optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.optimizer.load_state_dict(state["critic_optimizer"])


class WithOpponent(SemiSupervised):
    """Methods with a critic among their heads, under the name ``critic``."""

    needs_whole_batch: ClassVar[bool] = True

    def __init__(self, settings: Any, task: Task, passes: Passes, heads: nn.ModuleDict):
        super().__init__(settings, task, passes, heads)
        self.opponent = Opponent(heads["critic"], passes)

    def after_step(self) -> None:
        """The critic's own step."""
        self.opponent.learn_()

    def state(self) -> dict[str, Any]:
        """The critic's optimiser."""
        return self.opponent.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.opponent.load_state(state)


@contextmanager
def trainable(network: nn.Module) -> Iterator[None]:
    """A block in which a frozen network takes gradients."""
    network.requires_grad_(True)
    try:
        yield
    finally:
        network.requires_grad_(False)


def drop_unless_finite_(gradients: list[Tensor]) -> None:
    """Set all gradients to 0 if one of them is NaN or infinite; the device knows, and the host need not."""
    finite = torch.isfinite(torch.stack(torch._foreach_norm(gradients)).norm())
    for gradient in gradients:
        gradient.copy_(torch.where(finite, gradient, 0.0))


def _cross_entropy(logits: Tensor, kind: int) -> Tensor:
    """The mean over logits (B, 2), or (B, 2, *S)."""
    return F.cross_entropy(logits, torch.full((len(logits), *logits.shape[2:]), kind, device=logits.device))
