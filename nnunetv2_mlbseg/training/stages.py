"""The stages of a training: stretches of epochs in which the same cases train in the same way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from nnunetv2_mlbseg.cases.datasets import count_images
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.training import TrainingSettings

LATEST = "checkpoint_latest.pth"
"""nnU-Net's file that ``--c`` goes on from."""

WARM_UP = "warm-up"
"""A stage's name."""
WARM_UP_FILE = "checkpoint_warmup.pth"
"""Keeps the networks as the warm-up leaves them."""


@dataclass(frozen=True)
class Draw:
    """What one loader draws.

    Attributes:
        roles: Whose cases.
        images: How many at a time, over all processes.
        key: Where that number is set, for messages.
        derived: Whether it follows from other numbers, and may be raised to an image for every process.
        blank: Roles among them whose labels nobody may read. They reach a step as nnU-Net's ignore label, or as -1
            where there is none, and patches of their images are drawn without regard to what they show.
    """

    roles: tuple[str, ...]
    images: int
    key: str
    derived: bool = False
    blank: tuple[str, ...] = ()

    def cases(self, roles: FoldRoles) -> tuple[str, ...]:
        """The cases of a fold that it draws from, sorted."""
        return tuple(sorted(case for role in self.roles for case in getattr(roles, role)))

    def among(self, processes: int) -> Draw:
        """The same, or a larger one if it is derived and leaves a process without an image."""
        return replace(self, images=processes) if self.derived and self.images < processes else self

    def blank_cases(self, roles: FoldRoles) -> tuple[str, ...]:
        """Those of them whose labels nobody may read, sorted."""
        return tuple(sorted(case for role in self.blank for case in getattr(roles, role)))


@dataclass(frozen=True)
class Labelling:
    """How the network labels unlabeled cases (Eq. 1), as the stage before leaves it.

    Attributes:
        network: "student" or "teacher".
        mirror: Whether predictions are averaged over mirrored images, as in nnU-Net's inference.
        align: Whether the labels get the class shares of the clean cases.
    """

    network: str
    mirror: bool
    align: bool


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs.

    Attributes:
        name: For log and checkpoint.
        epochs: Its length.
        main: The batch of nnU-Net's own loss; clean cases, but for plain training.
        imperfect: The batch beside it, if there is one.
        paced_by: Whose slices, or patches in 3D, one pass counts, where ``iterations_per_epoch`` is null.
        by_method: Whether the method's terms train; else nnU-Net's own step on the main batch does.
        quantity: The name of nnU-Net's own loss in the log.
        labelling: How unlabeled cases get labels before the stage begins; None: they keep nnU-Net's ignore label.
        true_labels: Whether noisy and unlabeled cases have their labels from ``labelsTr_true``.
        corrects: How many times the method has corrected noisy labels before the stage
            (:meth:`~nnunetv2_mlbseg.training.method.Method.correction`); 0: they are as preprocessed.
        further: Whether further labels of noisy cases come beside those of ``labelsTr``, where there are any.
        keeps: A checkpoint file that keeps the networks as this stage leaves them.
    """

    name: str
    epochs: int
    main: Draw
    imperfect: Draw | None = None
    paced_by: Draw | None = None
    by_method: bool = False
    quantity: str = "plain"
    labelling: Labelling | None = None
    true_labels: bool = False
    corrects: int = 0
    further: bool = False
    keeps: str | None = None

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What its loaders draw."""
        return (self.main,) if self.imperfect is None else (self.main, self.imperfect)

    @property
    def reads_clean_labels_alone(self) -> bool:
        """Whether no label of another case trains."""
        of_others = self.imperfect is not None and self.imperfect.roles != self.imperfect.blank
        return self.main.roles == ("clean",) and not of_others

    @property
    def labels_line(self) -> str:
        """For the log, of a stage of nnU-Net's own steps: whose labels train, if not those of clean cases alone."""
        whose = self.main.roles
        return "" if self.true_labels or whose == ("clean",) else f", with {' and '.join(whose)} labels"

    def among(self, processes: int) -> Stage:
        """The same, with draws that so many processes can share."""
        imperfect, pace = (draw and draw.among(processes) for draw in (self.imperfect, self.paced_by))
        return replace(self, main=self.main.among(processes), imperfect=imperfect, paced_by=pace)

    @property
    def at_rest(self) -> Stage:
        """The same for a training that is finished: no imperfect case is needed."""
        return replace(
            self,
            main=replace(self.main, roles=("clean",)),
            imperfect=None,
            labelling=None,
            true_labels=False,
            corrects=0,
            further=False,
        )

    @property
    def loaders(self) -> tuple[object, ...]:
        """Equal in two stages that can go on with the same loaders."""
        return (*self.draws, self.labelling, self.true_labels, self.corrects, self.further)


class Stages:
    """The stages of a training in their order. Those without an epoch are left out.

    Args:
        patch_size: Of the plan, which says what a pass consists of.
        processes: How many share a batch.
    """

    def __init__(self, stages: Iterable[Stage], patch_size: Sequence[int] = (), processes: int = 1):
        self.all = tuple(stage.among(processes) for stage in stages if stage.epochs)
        self.patch_size = patch_size
        self._images: dict[tuple[str, ...], int] = {}

    @property
    def epochs(self) -> int:
        """Of the whole training."""
        return sum(stage.epochs for stage in self.all)

    @property
    def imperfect_images(self) -> int:
        """Size of the whole imperfect batch; 0 where there is none."""
        return max((stage.imperfect.images for stage in self.all if stage.imperfect), default=0)

    def check_batches(self, processes: Processes) -> None:
        """Refuse a batch that leaves a process without an image.

        Raises:
            InputError: fewer images than processes.
        """
        for draw in dict.fromkeys(draw for stage in self.all for draw in stage.draws):
            processes.check_batch(draw.images, draw.key)

    @property
    def begins(self) -> dict[int, Stage]:
        """Every stage by its first epoch."""
        return {sum(stage.epochs for stage in self.all[:number]): stage for number, stage in enumerate(self.all)}

    @property
    def renamed(self) -> dict[int, str]:
        """The names of the stages after the first, by their first epoch; one that goes on under its name is none."""
        pairs = pairwise(self.begins.items())
        return {first: stage.name for (_, before), (first, stage) in pairs if stage.name != before.name}

    def began(self, epoch: int) -> int:
        """The first epoch of the stage that an epoch belongs to; after the last epoch that is the last stage."""
        return max(first for first in self.begins if first <= epoch)

    def loaders_began(self, epoch: int) -> int:
        """The epoch from which on the loaders of an epoch have drawn."""
        first = self.began(epoch)
        while first > 0 and self.at(first - 1).loaders == self.at(first).loaders:
            first = self.began(first - 1)
        return first

    def at(self, epoch: int) -> Stage:
        """The stage that an epoch belongs to."""
        return self.begins[self.began(epoch)]

    def kept_after(self, epochs_done: int) -> tuple[str, ...]:
        """The checkpoint files to write between two epochs, where a stage ends that keeps its networks.

        Where labels are about to be corrected, which overwrites those of before, ``--c`` has to go on from there.
        """
        ends = {first + stage.epochs: stage.keeps for first, stage in self.begins.items()}
        kept = tuple(name for name in (ends.get(epochs_done),) if name is not None)
        following = self.begins.get(epochs_done)
        goes_on = following is not None and (kept or following.corrects)
        return (*kept, LATEST) if goes_on else kept

    def one_pass(self, stage: Stage, roles: FoldRoles, dataset: Callable[[Sequence[str]], nnUNetBaseDataset]) -> int:
        """Iterations until as many slices or patches were drawn as the cases have that pace the stage.

        Args:
            dataset: Opens the preprocessed data of some cases. Counting reads it once.
        """
        pace = stage.paced_by or stage.main
        if pace.roles not in self._images:
            self._images[pace.roles] = count_images(dataset(pace.cases(roles)), self.patch_size)
        return math.ceil(self._images[pace.roles] / pace.images)


def warm_up(settings: TrainingSettings, plan_batch_size: int) -> Stage:
    """nnU-Net's own training on the clean cases alone."""
    clean = Draw(("clean",), settings.warmup_batch_size or plan_batch_size, "warmup_batch_size")
    return Stage(WARM_UP, settings.warmup_epochs, clean, quantity="warmup", keeps=WARM_UP_FILE)


def paired(
    settings: TrainingSettings,
    plan_batch_size: int,
    imperfect: Draw,
    name: str = "training",
    labelling: Labelling | None = None,
) -> Stage:
    """The method's own stage: a clean and an imperfect batch in every iteration, paced by the imperfect cases."""
    clean = Draw(("clean",), settings.clean_batch_size or plan_batch_size, "clean_batch_size")
    return Stage(name, settings.epochs, clean, imperfect, paced_by=imperfect, by_method=True, labelling=labelling)
