"""A trained fold for those who look into it without training on: its networks, its cases, what it learned of labels."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_mlbseg.cases.datasets import RelabelledDataset, open_dataset
from nnunetv2_mlbseg.cases.label_kinds import with_further
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, PairedLoader
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.tangents.forward import Direction, unit_direction
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.settings.overrides import ENVIRONMENT_VARIABLE
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.loading import LabelStores
from nnunetv2_mlbseg.training.method import LabelWeighing, Method
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


@dataclass(frozen=True)
class TrainedFold:
    """What there is of a training of one fold.

    Attributes:
        trainer: Name of its class.
        folder: Its output folder.
        data_folder: The preprocessed cases.
        fold: A number or "all".
        epoch: Epochs done.
        training_cases: The cases that train; which of the roles do is up to the settings.
        only_noisy: Foreground classes that noisy labels show and no clean one does.
        configuration_name: Such as "2d"; ``configuration`` is what the plans say about it.
        student, teacher: Plain modules, outputs and mode as in training (see :func:`predicting`).
        mirror_axes: Axes of test-time mirroring, None for none.
        weighing: How it weighs labels, with all it has learned of them.
        method: What trained it, in its present state, for those who know which method it is.
        clean_gradient: The gradient of a clean batch (Eq. 5), with deep supervision on.
        loaders: Makes nnU-Net's loaders, which draw and augment as in training, whatever the load of the machine.
        clean_batch, imperfect_batch: Images in the two batches of an iteration.
        further: The noisy cases that train with a further label, by its source.
    """

    trainer: str
    folder: Path
    data_folder: str
    fold: int | str
    epoch: int
    settings: Any
    roles: FoldRoles
    training_cases: tuple[str, ...]
    only_noisy: tuple[int, ...]
    plans: PlansManager
    configuration_name: str
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]
    device: torch.device
    student: nn.Module
    teacher: nn.Module
    mirror_axes: tuple[int, ...] | None
    weighing: LabelWeighing
    method: Method
    clean_gradient: Callable[[Mapping[str, Any]], Direction]
    loaders: Callable[[], LoaderFactory]
    clean_batch: int
    imperfect_batch: int
    further: Mapping[str, Collection[str]]

    @classmethod
    def of(cls, trainer: nnUNetTrainerMethod, folder: Path | None = None) -> TrainedFold:
        """The fold of an initialised trainer, as it is now; ``folder``: where its files lie if not where it writes."""
        course, learning = trainer.course, trainer.learning
        last = course.stages.all[-1]
        return cls(
            trainer=type(trainer).__name__,
            folder=Path(trainer.output_folder) if folder is None else folder,
            data_folder=trainer.preprocessed_dataset_folder,
            fold=trainer.fold,
            epoch=trainer.current_epoch,
            settings=trainer.settings,
            roles=trainer.roles,
            training_cases=course.cases.training,
            only_noisy=course.cases.only_noisy,
            plans=trainer.plans_manager,
            configuration_name=trainer.configuration_name,
            configuration=trainer.configuration_manager,
            dataset_json=trainer.dataset_json,
            device=trainer.device,
            student=plain_network(learning.student),
            teacher=learning.teacher.network,
            mirror_axes=trainer.inference_allowed_mirroring_axes,
            weighing=learning.method.weighing(),
            method=learning.method,
            clean_gradient=lambda batch: learning.clean_gradient(Batch.of(batch, trainer.device)),
            loaders=lambda: LoaderFactory.of_trainer(trainer, deterministic=True),
            clean_batch=last.main.images,
            imperfect_batch=course.stages.imperfect_images,
            further=trainer.roles.further_of_noisy if last.further else {},
        )

    @property
    def labels(self) -> LabelManager:
        """nnU-Net's: the classes and the ignore label."""
        return self.plans.get_label_manager(self.dataset_json)

    @property
    def slice_axis(self) -> int:
        """Which of Z, Y, X of the raw images counts the slices."""
        return self.plans.transpose_forward[0]

    @property
    def unseen(self) -> tuple[str, ...]:
        """The validation cases that did not train: none where the clean cases validate (fold all)."""
        return tuple(case for case in self.roles.validation if case not in self.training_cases)

    @property
    def true_labels(self) -> LabelStore:
        """Where preprocessed true labels are kept, for studies."""
        return LabelStores.of_fold(self.folder).true

    def dataset(self, cases: Sequence[str]) -> nnUNetBaseDataset:
        """Preprocessed cases, as nnU-Net reads them."""
        return open_dataset(self.data_folder, cases)

    def imperfect_dataset(self, cases: Sequence[str]) -> nnUNetBaseDataset:
        """Imperfect cases with the labels that they train with."""
        stores = LabelStores.of_fold(self.folder)
        own = RelabelledDataset(self.dataset(cases), self.roles.unlabeled, stores.generated)
        return with_further(own, self.further, stores.further)

    def clean_directions(self, batches: int, seed: int) -> list[Direction]:
        """The direction (norm 1) of the clean gradient for several batches as the training draws them.

        Taken at theta also where the training takes it after a virtual step of the consistency terms, which depends on
        the imperfect batch.
        """
        loaders = self.loaders()
        with random_state.preserved(), redirect_stdout(StringIO()):  # nnU-Net tells how it augments
            random_state.seed_everything(seed)
            loader = loaders.training(self.dataset(self.roles.clean), self.clean_batch)
            return [unit_direction(self.clean_gradient(next(loader))) for _ in range(batches)]

    def paired_loader(self, imperfect: nnUNetBaseDataset, kinds: int) -> PairedLoader:
        """Clean batches beside those of some imperfect cases, of the sizes the training had, in this process.

        Args:
            kinds: How many labels those have.
        """
        loaders = self.loaders()
        return PairedLoader(
            loaders.training(self.dataset(self.roles.clean), self.clean_batch),
            loaders.training(imperfect, self.imperfect_batch, kinds),
            self.roles.unlabeled,
            self.roles.number,
            loaders.cover(self.roles.imperfect, self.further),
        )


@contextmanager
def restored(
    found: dict[str, Any], folder: Path, device: torch.device, *, roles_of_then: bool = False
) -> Iterator[TrainedFold]:
    """The fold of a checkpoint, as configured then. Logs go to a temporary folder, messages nowhere.

    Args:
        found: What :func:`~nnunetv2_mlbseg.progress.checkpoint.read` gave.
        folder: The fold's output folder.
        roles_of_then: Give it the cases that it trained with, whatever roles the dataset gives them now: for a network
            that only predicts.

    Raises:
        InputError: the dataset gives its cases other roles now.
    """
    init, config = found["init_args"], json.dumps(found["mlbseg"]["config"])
    plans = {**init["plans"], "continue_training": False}  # as nnUNetv2_train hands them over
    with (
        tempfile.TemporaryDirectory() as results,
        _environment({"nnUNet_results": results, ENVIRONMENT_VARIABLE: config}),
    ):
        with redirect_stdout(StringIO()):  # nnU-Net tells how it looks for the trainer, and what is in it
            trainer_class = recursive_find_trainer_class_by_name(found["trainer_name"])
            trainer = trainer_class(plans, init["configuration"], init["fold"], init["dataset_json"], device)
            if roles_of_then:
                trainer.roles = trainer.run.roles = FoldRoles.from_dict(found["mlbseg"]["roles"])
            trainer.load_checkpoint(found)
        yield TrainedFold.of(trainer, folder)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
