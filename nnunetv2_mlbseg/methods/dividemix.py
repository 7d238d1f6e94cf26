"""DivideMix: two networks tell right from wrong labels for each other, by their losses, and learn from blended images.

First both learn clean and noisy labels as they are. Then, at the begin of every epoch, a mixture of two Gaussians of
the noisy cases' losses gives each case the chance w that its label n is right, for each network by the other's losses.
Where w >= 0.5 the target is sharpen(w n + (1 - w) own prediction), elsewhere and where there is no label
sharpen(prediction of both networks); predictions are means over the image and its mirror image. Images and targets are
blended by l = max(b, 1 - b), b from Beta(4, 4). L = cross-entropy and Dice of the labelled + w_u l(t) <(p - target)^2>
of the others, mean over classes, + sum_c pi_c log(pi_c / mean p_c), for each network.

Numbers are those of the authors' code. For scans: a case's loss is the mean over its patches of the epoch and over the
classes; clean cases are right; pi are the clean labels' shares, not equal ones; Dice joins cross-entropy; a case whose
loss tells nothing has w = 0.5; both networks see the same images, blended otherwise. The first network predicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.soft_targets import Targets, blended, guess_or_label, one_hot, share_divergence
from nnunetv2_mlbseg.methods.case_losses import CaseLosses, class_balanced_loss
from nnunetv2_mlbseg.methods.comparison import ComparisonSettings
from nnunetv2_mlbseg.methods.second_student import WithSecondStudent
from nnunetv2_mlbseg.methods.shared.draws import beta, uniform
from nnunetv2_mlbseg.methods.shared.scales import soft_loss
from nnunetv2_mlbseg.settings.rules import number, one_of
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.task import Task

AUTHORS = "the authors' code"


class DivideMixSettings(ComparisonSettings):
    """The keys of DivideMix."""

    ramp_up: float = number(
        0.055, least=0, most=1, unit="share of what follows the warm-up", source=AUTHORS + " (16 of 290 epochs)"
    )
    """How long the factor of targets without a label rises, in a straight line."""
    guessed_weight: float = number(25.0, least=0, unit="factor", source=AUTHORS)
    """Factor of the squared distance from targets without a label, mean over the classes."""
    shares_weight: float = number(1.0, least=0, unit="factor", source=AUTHORS)
    """Factor of the divergence of predicted class shares from those of clean labels."""
    temperature: float = number(0.5, least=0, most=1, open_ends=True, source=AUTHORS)
    """Of the sharpening of targets."""
    blend_alpha: float = number(4.0, least=0, most=1000, open_ends=True, source=AUTHORS)
    """Both parameters of the beta distribution by which images are blended."""
    warmup_labels: str = one_of("given", names=("given", "clean"), source="the paper (given)")
    """What the warm-up learns. `given`: clean and noisy labels. `clean`: clean ones alone."""


class DivideMix(WithSecondStudent):
    """Two networks, and noisy cases divided by their losses."""

    Settings: ClassVar = DivideMixSettings
    settings: DivideMixSettings
    needs_whole_batch: ClassVar[bool] = True
    quantities: ClassVar[Mapping[str, str]] = {
        "supervised": "labelled images",
        "guessed": "other images",
        "shares": "class shares",
        "supervised_2": "labelled images, second network",
        "guessed_2": "other images, second network",
        "shares_2": "class shares, second network",
    }
    card: ClassVar[Card] = Card(
        idea="two networks tell each other which noisy cases are right",
        labels=("clean", "noisy"),
        images=("clean", "noisy", "unlabeled"),
        cost=16 / 3,
        citation="Li et al., ICLR 2020",
    )

    def __init__(self, settings: DivideMixSettings, task: Task, passes: Passes, heads: nn.ModuleDict):
        super().__init__(settings, task, passes, heads)
        self.cases = CaseLosses(task.noisy, passes.device)
        self.clean_pixels = torch.zeros(task.classes, device=passes.device)

    @classmethod
    def noisy_teach_unshown(cls, settings: Any) -> bool:
        """No: every label of a blend counts as it is."""
        return False

    def warm_up_iterations(self, moment: Moment) -> int:
        """How many of the training both networks learn labels as they are."""
        epochs = self.settings.warmup_epochs
        return round(moment.all * epochs / (epochs + self.settings.epochs))

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """Labels as they are at first, then divided cases and blended images."""
        if moment.now == moment.began:
            self.cases.divide_()
        labels = as_labels(clean.target, self.task.ignore_label), as_labels(imperfect.target, self.task.ignore_label)
        self._count(labels[0])
        begins = self.warm_up_iterations(moment)
        if moment.now < begins:
            return Terms(self._as_they_are(clean, imperfect, labels[1]))
        own = self._predictions(imperfect, labels[1])
        images, rise = torch.cat([clean.images, imperfect.images]), self._rise(moment, begins)
        losses: dict[str, Tensor] = {}
        for place, suffix in enumerate(("", "_2")):
            targets = self._targets(labels, own, place, imperfect.case)
            found = self._of_blended(self.networks()[place], images, targets, rise)
            losses |= {name + suffix: loss for name, loss in found.items()}
        return Terms(losses)

    def _as_they_are(self, clean: Images, imperfect: ImperfectImages, labels: Tensor) -> dict[str, Tensor]:
        losses = {}
        for place, (network, suffix) in enumerate(zip(self.networks(), ("", "_2"), strict=True)):
            loss = self.supervised(clean, self.passes.through(network, clean.images))
            if self.settings.warmup_labels == "given" and self.task.noisy:
                outputs = self.passes.through(network, imperfect.images)
                loss = loss + self.labelled(outputs, labels)
                self._note(place, outputs[0].detach().softmax(dim=1), labels, imperfect.case)
            losses["supervised" + suffix] = loss
        return losses

    @torch.no_grad()
    def _predictions(self, imperfect: ImperfectImages, labels: Tensor) -> list[Tensor]:
        """Of both networks for the imperfect images, each a mean over image and mirror image."""
        found = []
        for place, network in enumerate(self.networks()):
            views = (imperfect.images, imperfect.images.flip(-1))
            first, mirrored = (self.passes.through(network, view)[0].softmax(dim=1) for view in views)
            self._note(place, first, labels, imperfect.case)
            found.append((first + mirrored.flip(-1)) / 2)
        return found

    def _note(self, network: int, probabilities: Tensor, labels: Tensor, case: Tensor) -> None:
        self.cases.add_(network, class_balanced_loss(probabilities, labels), case)

    def _count(self, labels: Tensor) -> None:
        ones = (labels >= 0).flatten().to(self.clean_pixels.dtype)
        self.clean_pixels = self.clean_pixels.index_add(0, labels.flatten().clamp_min(0), ones)

    def _targets(self, labels: tuple[Tensor, Tensor], own: list[Tensor], place: int, case: Tensor) -> Targets:
        """What one network should say of all images of both batches."""
        chance = self.cases.chance(place, case)
        guessed = guess_or_label(labels[1], chance, own[place], (own[0] + own[1]) / 2, self.settings.temperature)
        return Targets.joined(one_hot(labels[0], self.task.classes), guessed)

    def _of_blended(self, network: nn.Module, images: Tensor, targets: Targets, rise: float) -> dict[str, Tensor]:
        drawn = beta(self.passes, len(images), self.settings.blend_alpha, "blends")
        others = uniform(self.passes, (len(images),), "partners").argsort()
        images, targets = blended(images, targets, torch.maximum(drawn, 1 - drawn), others)
        outputs = self.passes.through(network, images)
        probabilities = outputs[0].softmax(dim=1)
        shares = share_divergence(probabilities, self.clean_pixels / self.clean_pixels.sum().clamp_min(1))
        return {
            "supervised": soft_loss(self.passes, outputs, targets),
            "guessed": rise * self.settings.guessed_weight * targets.distance_of_guessed(probabilities),
            "shares": self.settings.shares_weight * shares,
        }

    def _rise(self, moment: Moment, begins: int) -> float:
        length = self.settings.ramp_up * (moment.all - begins)
        return min(1.0, (moment.now - begins) / length) if length else 1.0

    def epoch_line(self, moment: Moment) -> str:
        """Whether labels are learned as they are."""
        return ", labels as they are" if moment.now < self.warm_up_iterations(moment) else ", cases divided by loss"

    def state(self) -> dict[str, Any]:
        """Losses of cases, and the class shares of clean labels."""
        return {**self.cases.state(), "clean_pixels": self.clean_pixels.clone()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.cases.load_state(state)
        self.clean_pixels = state["clean_pixels"].to(self.passes.device).clone()
