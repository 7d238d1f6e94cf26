"""The loss of the clean batch (Eq. 5, the supervised term, the warm-up): nnU-Net's, over the whole batch.

nnU-Net's own module is kept where it does what is needed. It is replaced where several processes share a batch (its
mean is that of a process's own images, and its Dice expects equally many images in each) and where there is an ignore
label (it asks the device for the number of annotated pixels in every step, and the host waits). A step of a method
takes the replacement always: nnU-Net's own module takes softmax twice and makes one-hot volumes, which costs with many
classes.

Of regions the loss is the same, over folded logits (see `maths/label_space`): cross-entropy of (0, z) is binary
cross-entropy, and the Dice of class 1 that of a region. One thing is not nnU-Net's: with an ignore label it divides the
sum of R binary cross-entropies by the number of pixels, without one by R times as many. Here it is always R times: an
ignore label that nothing has changes nothing, and cross-entropy and Dice keep their proportion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.utilities.ddp_allgather import AllGatherGrad
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.maths.labels import IGNORE, Mixture
from nnunetv2_mlbseg.maths.losses import mixture_cross_entropy, overlap
from nnunetv2_mlbseg.maths.tensors import at_least_float32
from nnunetv2_mlbseg.runtime.processes import Processes

Loss = Callable[[Any, Any], Tensor]
"""nnU-Net's: of a network's output, or list of outputs, and nnU-Net's target."""

ALONE = Processes()


def over_whole_batch(loss: nn.Module, ignore_label: int | None, processes: Processes) -> nn.Module:
    """nnU-Net's Dice and (binary) cross-entropy loss, or the same over all processes and without a wait for the device.

    The result, averaged over the processes, is the loss of the whole batch; so is its gradient.
    """
    if processes.count == 1 and ignore_label is None:
        return loss
    return _at_the_scales_of(loss, DiceAndCrossEntropy(_inside(loss), ignore_label, processes))


def one_softmax_like(loss: nn.Module, ignore_label: int | None, processes: Processes) -> nn.Module:
    """nnU-Net's Dice and (binary) cross-entropy loss at less cost; any other loss as it is."""
    inner = _inside(loss)
    if type(inner) not in (DC_and_CE_loss, DC_and_BCE_loss):
        return loss
    return _at_the_scales_of(loss, DiceAndCrossEntropy(inner, ignore_label, processes))


def cross_entropy_like(
    loss: nn.Module, ignore_label: int | None, processes: Processes, regions: bool = False
) -> nn.Module:
    """Cross-entropy alone on nnU-Net's targets, at the scales that ``loss`` counts."""
    return _at_the_scales_of(loss, AnnotatedCrossEntropy(ignore_label, processes, regions))


def _inside(loss: nn.Module) -> Any:
    """The loss of one scale."""
    return loss.loss if isinstance(loss, DeepSupervisionWrapper) else loss


def _at_the_scales_of(loss: nn.Module, replacement: nn.Module) -> nn.Module:
    if isinstance(loss, DeepSupervisionWrapper):
        return DeepSupervisionWrapper(replacement, loss.weight_factors)
    return replacement


class AnnotatedCrossEntropy(nn.Module):
    """Mean cross-entropy over the annotated pixels (and regions) of nnU-Net's target; 0 where a batch has none.

    torch's own mean is NaN there, and one such batch would end a training on sparse labels.
    """

    def __init__(self, ignore_label: int | None, processes: Processes = ALONE, regions: bool = False):
        super().__init__()
        self.ignore_label, self.processes, self.regions = ignore_label, processes, regions

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """A network's output and nnU-Net's target to a scalar."""
        logits, labels = _folded(output, target, self.ignore_label, self.regions)
        annotated = self.processes.total((labels >= 0).sum())
        whole = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return self.processes.count * whole / annotated.clamp_min(1)


class DiceAndCrossEntropy(nn.Module):
    """nnU-Net's sum of soft Dice and (binary) cross-entropy loss, over the whole batch, from one softmax.

    Each process may hold another number of images.

    Args:
        like: nnU-Net's loss, whose weights and Dice options are taken over; its Dice may be compiled.
    """

    def __init__(self, like: DC_and_CE_loss | DC_and_BCE_loss, ignore_label: int | None, processes: Processes):
        super().__init__()
        self.regions = isinstance(like, DC_and_BCE_loss)
        self.weight_ce, self.weight_dice = like.weight_ce, like.weight_dice
        options: Any = getattr(like.dc, "_orig_mod", like.dc)
        self.batch_dice, self.do_bg, self.smooth = options.batch_dice, options.do_bg, float(options.smooth)
        self.ignore_label, self.processes = ignore_label, processes

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """A network's output and nnU-Net's target to a scalar."""
        logits, labels = _folded(output, target, self.ignore_label, self.regions)
        probabilities = logits.softmax(dim=1)
        known = (labels >= 0).to(logits.dtype)
        annotated = self.processes.total(known.sum()).clamp_min(1)
        cross_entropy = mixture_cross_entropy(logits, Mixture.of([labels], [known]), probabilities) / annotated
        sums = overlap(probabilities, labels.clamp_min(0).unsqueeze(1), known.unsqueeze(1))
        dice = self._dice(sums[..., 1].unflatten(1, (len(output), -1)) if self.regions else sums)
        return self.weight_ce * self.processes.count * cross_entropy - self.weight_dice * dice

    def _dice(self, sums: Tensor) -> Tensor:
        """The mean Dice of classes or regions, from sums ``(2, B, C or R)`` of products and of both, to a scalar."""
        sums = sums if self.do_bg else sums[..., 1:]
        if self.batch_dice:
            sums = sums.sum(dim=1)
            sums = sums if self.processes.count == 1 else AllGatherGrad.apply(sums).sum(dim=0)
        dice: Tensor = (2 * sums[0] + self.smooth) / (sums[1] + self.smooth).clamp_min(1e-8)
        if self.batch_dice:
            return dice.mean()
        images = self.processes.total(dice.new_full((), dice.shape[0]))
        return self.processes.count * dice.mean(dim=1).sum() / images


def _folded(output: Tensor, target: Tensor, ignore_label: int | None, regions: bool) -> tuple[Tensor, Tensor]:
    """Logits in float32 or better and labels, negative = ignored, every (image, group) as an image."""
    space = LabelSpace(output.shape[1] if regions else 0)
    return space.logits(at_least_float32(output)), space.labels(target, ignore_label)
