"""The weights of training batches judged by true labels, from the checkpoints of a training. For studies only.

The weights are those of :meth:`BootstrapStep.weigh`, with the views, strategy and normalisation of the training. The
true labels go through nnU-Net's augmentation and through the views beside the imperfect ones.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from torch import Tensor

from nnunetv2_mlbseg.cases.datasets import DatasetView, RelabelledDataset
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, PairedLoader
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import METHOD
from nnunetv2_mlbseg.cases.true_labels import TrueLabels
from nnunetv2_mlbseg.methods.mlbseg.terms import as_labels
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.settings.training import ENVIRONMENT_VARIABLE
from nnunetv2_mlbseg.weight_quality.picture import COLUMNS, LEAST_WRONG, Exhibit, draw, exhibits_of
from nnunetv2_mlbseg.weight_quality.scores import LabelQuality, judge, summarize
from noise_synthesis.safe_io.errors import InputError

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

CHECKPOINTS = ("checkpoint_warmup.pth", "checkpoint_latest.pth", "checkpoint_final.pth")


class WithTruth(DatasetView):
    """Imperfect cases with their true label where nnU-Net's cascade has the label of its previous stage.

    So the loader crops and augments both alike, and the target has a second channel.
    """

    def __init__(self, base: nnUNetBaseDataset, truth: LabelStore):
        super().__init__(base)
        self.truth = truth

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """Image ``(C, Z, Y, X)``, imperfect label ``(1, Z, Y, X)``, true label ``(Z, Y, X)``, properties."""
        data, seg, _, properties = self.base.load_case(identifier)
        return data, seg, np.asarray(self.truth.load(identifier)[0][:])[0], properties


def measure(
    fold_folder: Path,
    *,
    role: str = "noisy",
    iterations: int = 20,
    seed: int = 0,
    device: torch.device | None = None,
    checkpoints: Sequence[str] | None = None,
    picture: Path | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Judge the weights at every checkpoint of a fold, each on the same batches.

    Args:
        fold_folder: ``.../nnUNetTrainerMLBSeg__nnUNetPlans__2d/fold_0``. Preprocessed true labels are kept in its
            ``true_labels``.
        role: Which imperfect cases: "noisy", or "unlabeled" with their generated labels.
        iterations: Number of batches, of the size the training had.
        checkpoints: File names; None: all of :data:`CHECKPOINTS` that there are.
        picture: PNG file for :func:`draw`, with the weights of the last checkpoint.

    Returns:
        Plain JSON types: what was measured, and under ``checkpoints`` for each file its epoch and, for the imperfect
        and the pseudo label, what :func:`~nnunetv2_mlbseg.weight_quality.scores.summarize` gives.

    Raises:
        InputError: a checkpoint is missing, the training had no weights, there are no cases or no true labels, or there
            is nothing wrong that a picture could show.
    """
    names = list(checkpoints or [name for name in CHECKPOINTS if (fold_folder / name).is_file()])
    if not names:
        raise InputError(f"{fold_folder}: no checkpoint, expected one of {', '.join(CHECKPOINTS)}")
    result: dict[str, Any] = {"fold_folder": str(fold_folder), "role": role, "iterations": iterations, "seed": seed}
    result["checkpoints"] = {}
    for name in names:
        found = checkpoint.read(fold_folder / name, device or torch.device("cpu"))
        report(f"{name}: {iterations} batches of {role} cases")
        with restored_trainer(found, fold_folder, device or torch.device("cpu")) as trainer:
            wanted = COLUMNS if picture else 0
            quality, exhibits = _measure(trainer, role, iterations, seed, wanted, report)
            config = trainer.config
        result |= {"trainer": found["trainer_name"], "weighting": config.weighting, "views": list(config.all_views)}
        summaries = {label: summarize(judged) for label, judged in quality.items()}
        result["checkpoints"][name] = {"epoch": found["current_epoch"], **summaries}
    if picture is not None:
        if not exhibits:
            raise InputError(f"{picture}: in {iterations} batches no {role} image has {LEAST_WRONG:.0%} wrong pixels")
        draw(exhibits, picture)
    return result


@contextmanager
def restored_trainer(
    found: dict[str, Any],
    fold_folder: Path,
    device: torch.device,
    needs_weights: bool = True,
    roles_of_then: bool = False,
) -> Iterator[nnUNetTrainerMLBSeg]:
    """The trainer of a checkpoint, as configured then. Its logs go to a temporary folder, its messages nowhere.

    Args:
        roles_of_then: Give it the cases that it trained with, whatever roles the dataset gives them now: for a network
            that only predicts.

    Raises:
        InputError: it weighs no labels, and ``needs_weights``; or the dataset gives its cases other roles now.
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
            if needs_weights and trainer.config.training_labels != METHOD:
                raise InputError(
                    f"{fold_folder}: {found['trainer_name']} is plain training without weights "
                    f"(training_labels = {trainer.config.training_labels}), expected one that bootstraps"
                )
            if roles_of_then:
                trainer.roles = FoldRoles.from_dict(found["mlbseg"]["roles"])
            trainer.load_checkpoint(found)
        trainer.generated = LabelStore(fold_folder / "generated_labels")
        trainer.true_labels = LabelStore(fold_folder / "true_labels", kind="true")
        yield trainer


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


def _measure(
    trainer: nnUNetTrainerMLBSeg, role: str, iterations: int, seed: int, wanted: int, report: Callable[[str], None]
) -> tuple[dict[str, list[LabelQuality]], list[Exhibit]]:
    random_state.seed_everything(seed)
    loader = loader_with_truth(trainer, role, report)
    step = trainer.bootstrap_step
    step.seed_generators(seed)
    trainer.network.train()
    judged: dict[str, list[LabelQuality]] = {"imperfect": [], "pseudo": []}
    exhibits: list[Exhibit] = []
    for _ in range(iterations):
        batch = next(loader)
        truth = true_labels_of(batch, trainer.label_manager.ignore_label).to(trainer.device)
        weighed = step.weigh(batch)
        step.remember(weighed)  # tied weights and class shares go on as in the training
        for label, quality in judge(weighed, truth).items():
            judged[label].append(quality)
        if len(exhibits) < wanted:
            exhibits += exhibits_of(weighed, truth)
    return judged, exhibits


def loader_with_truth(trainer: nnUNetTrainerMLBSeg, role: str, report: Callable[[str], None] = print) -> PairedLoader:
    """Clean batches and imperfect ones with their truth, of the sizes the training had, in this process."""
    cases = getattr(trainer.roles, role)
    if not cases:
        raise InputError(f"{trainer.plans_manager.dataset_name}: fold {trainer.fold} has no {role} training case")
    truth = TrueLabels.of_dataset(
        trainer.roles.imperfect, trainer.plans_manager, trainer.configuration_manager, trainer.dataset_json
    )
    truth.prepare(trainer._dataset(trainer.roles.imperfect), trainer.true_labels, report)
    base = RelabelledDataset(trainer._dataset(cases), trainer.roles.unlabeled, trainer.generated)
    factory = LoaderFactory.of_trainer(trainer, deterministic=True)
    return PairedLoader(
        factory.training(trainer._dataset(trainer.roles.clean), trainer.batch_sizes["bootstrapping"]),
        factory.training(WithTruth(base, trainer.true_labels), trainer.batch_sizes["imperfect"]),
        trainer.roles.unlabeled,
        trainer.roles.number,
    )


def true_labels_of(batch: Mapping[str, Any], ignore_label: int | None) -> Tensor:
    """The true labels of the imperfect images in a batch of :func:`loader_with_truth`: ``(B, *S)``, negative = none."""
    return as_labels(batch["imperfect_target"], ignore_label, channel=1)
