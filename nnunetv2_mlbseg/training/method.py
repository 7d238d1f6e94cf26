"""The interface of a learning method: what its iterations add to nnU-Net's own.

A method is one class in one file of ``methods/``, and a trainer in ``trainers/`` that names it. What is left as it is
here trains on the clean cases first and then on pairs of a clean and an imperfect batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.former_labels import FormerPair
from nnunetv2_mlbseg.cases.label_correction import Correction
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import ROLES, who_trains
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.weighting.strategies import Weighting
from nnunetv2_mlbseg.progress.epoch_log import Quantities
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.descent import Gradient
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.stages import Draw, Stage, paired, warm_up
from nnunetv2_mlbseg.training.task import Task

LOSSES = "loss terms"
STEPS = "share of steps"
OF_ALL: Mapping[str, Mapping[str, str]] = {
    LOSSES: {"warmup": "warm-up on the clean cases", "plain": "labels at face value"},
    STEPS: {"skipped": "left out: loss or gradient not finite"},
}
"""What the log shows of every training, by panel of its picture."""


@dataclass(frozen=True)
class Moment:
    """How far a stage is, in iterations.

    Attributes:
        began: Those before the present epoch.
        now: Those before the present one.
        all: Of the whole stage.
        stage: Its name.
        of_training: How much of the whole training is done, 0 to 1.
    """

    began: int
    now: int
    all: int
    stage: str = ""
    of_training: float = 0.0

    @property
    def share(self) -> float:
        """How much of the stage is done, 0 to 1."""
        return self.now / self.all


@dataclass(frozen=True)
class Terms:
    """What an iteration learns from. With several processes every value is this one's share of the whole batch's.

    Attributes:
        losses: Weighted loss terms with their graph, by the name the log has for them.
        begun: A gradient that is there already, weighted, as :meth:`Passes.gradient` returns it; it is overwritten.
        of_begun: The values of the terms it is the gradient of.
        values: Further quantities for the log.
    """

    losses: dict[str, Tensor]
    begun: Gradient | None = None
    of_begun: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """The sum of ``losses``."""
        return _sum(self.losses)

    def all_begun(self, passes: Passes) -> Terms:
        """The same with the gradient of all losses taken, which frees their activations before more losses are made."""
        gradient, begun = passes.gradient(passes.processes.count * self.loss), self.begun
        if begun is not None:
            pairs = zip(begun, gradient, strict=True)
            gradient = [a if b is None else b if a is None else b.add_(a) for a, b in pairs]
        of_losses = {name: loss.detach() for name, loss in self.losses.items()}
        return Terms({}, gradient, self.of_begun | of_losses, self.values)

    def found(self) -> dict[str, Tensor]:
        """What the log gets, on the device: ``loss`` is the sum of all terms."""
        terms = {name: term.detach() for name, term in (self.losses | self.of_begun).items()}
        return {"loss": _sum(terms), **terms, **self.values}


def _sum(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([term.float() for term in terms.values()]).sum()


@dataclass(frozen=True)
class LabelWeighing:
    """How a training weighs its noisy labels, for the audit.

    Attributes:
        name: Of the weighting.
        weighting, record: The weighting and what it has learned; None where there are no weights, or none yet.
        normalization: How weights are scaled.
        counted: Which labels count: both, imperfect or pseudo.
        by_depth: Whether labels are told apart by depth.
        clean_loss: The loss whose gradient speaks for the clean cases, of those that :meth:`Passes.supervised` knows.
        none_because: Why there are no maps of weights; None where there are.
    """

    name: str = "none"
    weighting: Weighting[Any] | None = None
    record: Record | None = None
    normalization: str = "none"
    counted: str = "both"
    by_depth: bool = False
    clean_loss: str = "dice_ce"
    none_because: str | None = "the method weighs no labels"


class Method:
    """What an iteration adds to nnU-Net's own. Override what differs, mostly :meth:`terms`.

    Args:
        settings: An instance of ``Settings``.
        passes: Both networks, precision, processes and random generators.
        heads: What :meth:`modules` made.
    """

    Settings: ClassVar[type[TrainingSettings]] = TrainingSettings
    quantities: ClassVar[Mapping[str, str]] = {}
    """Loss terms of the method: name in the log, and legend."""
    needs_imperfect: ClassVar[bool] = True
    """Whether a fold without noisy and unlabeled cases is refused."""
    takes_regions: ClassVar[bool] = False
    """Whether it trains on regions: reads labels by ``passes.space``, and takes every (image, region) for an image."""
    needs_whole_batch: ClassVar[bool] = False
    """Whether a term compares the images of a batch, or a critic learns from them: several processes are refused."""
    card: ClassVar[Card | None] = None
    """What lists of methods say of it."""

    def __init__(self, settings: Any, task: Task, passes: Passes, heads: nn.ModuleDict):
        self.settings, self.task, self.passes, self.heads = settings, task, passes, heads

    @classmethod
    def logged(cls) -> Quantities:
        """All that the log shows of a training by this method."""
        return Quantities({LOSSES: {**OF_ALL[LOSSES], **cls.quantities}, STEPS: OF_ALL[STEPS]})

    @classmethod
    def about(cls, settings: Any) -> dict[str, Any]:
        """What ``mlbseg_log.json`` says of a training beside its settings."""
        return {}

    @classmethod
    def roles(cls, settings: Any) -> tuple[str, ...]:
        """The roles whose cases train."""
        return ROLES

    @classmethod
    def cases_line(cls, settings: Any, roles: FoldRoles) -> str:
        """One line for the log on who trains."""
        return who_trains(roles, cls.roles(settings))

    @classmethod
    def noisy_teach_unshown(cls, settings: Any) -> bool:
        """Whether noisy labels, as they are, teach a class that no clean training case shows.

        Then no loss on clean images counts it (:meth:`Passes.supervised`): it would teach that there is no such class.
        """
        return False

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """A warm-up on the clean cases, then pairs of a clean and an imperfect batch; labels as preprocessed."""
        imperfect = tuple(role for role in cls.roles(settings) if role != "clean")
        pairs = Draw(imperfect, settings.imperfect_batch_size or plan_batch_size, "imperfect_batch_size")
        return (warm_up(settings, plan_batch_size), paired(settings, plan_batch_size, pairs))

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """Heads and further students beside the network; they join the optimiser and are stored beside it."""
        return nn.ModuleDict()

    def mixed(self, batch: Batch) -> Batch:
        """The batch as the terms see it."""
        return batch

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """The loss terms of an iteration."""
        raise NotImplementedError(f"{type(self).__name__} has a stage of its own, but no terms")

    def after_step(self) -> None:
        """What follows the optimiser's step, such as that of a discriminator."""

    def correction(self) -> Correction | None:
        """How noisy labels are corrected before a stage that asks for it; None: they train as they are. Asked once."""
        return None

    @property
    def learns_from_former(self) -> bool:
        """Whether it wants to be told by :meth:`know` how former and further labels of clean cases err."""
        return False

    def know(self, pairs: Iterable[FormerPair]) -> None:
        """Learn from all clean training cases that have or had another label, at once; what was known of such goes."""

    def epoch_line(self, moment: Moment) -> str:
        """What the log says of an epoch at its begin, after the number of iterations."""
        return ""

    def state(self) -> dict[str, Any]:
        """What the method remembers, in plain types and tensors, for a checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`; what ``state`` lacks begins anew."""

    def weighing(self) -> LabelWeighing:
        """How labels are weighed, for the audit."""
        return LabelWeighing()
