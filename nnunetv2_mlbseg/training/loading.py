"""The loaders of a stage, and the labels that have to be in place before they draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_mlbseg.cases.datasets import BlankDataset, RelabelledDataset, open_dataset
from nnunetv2_mlbseg.cases.label_kinds import with_further
from nnunetv2_mlbseg.cases.label_preparation import LabelPreparation
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, PairedLoader
from nnunetv2_mlbseg.cases.prediction import CasePredictor
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.worker_processes import InterruptibleLoader
from nnunetv2_mlbseg.networks.surgery import plain_network, predicting
from nnunetv2_mlbseg.runtime.stop_request import StopRequest
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.stages import Draw, Stage


@dataclass(frozen=True)
class LabelStores:
    """Labels that take the place of preprocessed ones, or are compared with them, in the folder of a fold."""

    generated: LabelStore
    true: LabelStore
    corrected: LabelStore
    former: LabelStore
    folder: Path

    def further(self, source: str) -> LabelStore:
        """Of the further labels by a source."""
        return LabelStore(self.folder / "further_labels" / source, kind="further")

    @property
    def written(self) -> tuple[Path, ...]:
        """Folders that a training writes."""
        return self.generated.folder, self.corrected.folder

    @classmethod
    def of_fold(cls, folder: Path, writer: int = 0) -> LabelStores:
        """``writer``: the number of the process that writes."""
        return cls(
            generated=LabelStore(folder / "generated_labels", writer=writer),
            true=LabelStore(folder / "true_labels", kind="true"),
            corrected=LabelStore(folder / "corrected_labels", kind="corrected", writer=writer),
            former=LabelStore(folder / "former_labels", kind="former"),
            folder=folder,
        )


@dataclass(frozen=True)
class Loading:
    """How the loaders of a stage are made.

    Attributes:
        folder: nnU-Net's preprocessed cases.
        report: Takes lines for the log file.
    """

    folder: str
    roles: FoldRoles
    stores: LabelStores
    plans: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]
    report: Callable[[str], None]

    def prepare_labels(
        self,
        stage: Stage,
        learning: Learning,
        mirror_axes: tuple[int, ...] | None,
        known: str | None,
        in_use: bool,
    ) -> str | None:
        """Put labels in place that a stage does not find in the preprocessed folder.

        Args:
            learning: Its networks label unlabeled cases, and its method corrects noisy labels.
            mirror_axes: Axes of nnU-Net's test-time mirroring.
            known: The fingerprint of what such labels came from, if the training has had some.
            in_use: Whether iterations of before have drawn them; then they are only checked.

        Returns:
            The fingerprint, for the checkpoint.
        """
        place = LabelPreparation(self.folder, self.roles, learning.processes, self.report)
        of_nnunet = (self.plans, self.configuration, self.dataset_json)
        if stage.true_labels:
            return place.true(self.stores.true, *of_nnunet, known=known, begun=in_use)
        if stage.corrects:
            with predicting(plain_network(learning.for_inference)) as network:
                predictor = CasePredictor(network, *of_nnunet, mirror_axes, learning.passes.device)
                correction = learning.method.correction
                return place.corrected(self.stores.corrected, predictor, correction, known=known, begun=in_use)
        if stage.by_method and not stage.reads_clean_labels_alone and learning.method.learns_from_former:
            pairs = place.former(self.stores.former, *of_nnunet)
            if pairs is not None:
                learning.method.know(chain(pairs, place.further(self.stores.further, *of_nnunet)))
        how = stage.labelling
        if how is None or not self.roles.unlabeled:
            return known
        mirror = mirror_axes if how.mirror else None
        with predicting(plain_network(learning.named(how.network))) as network:
            unshown = learning.passes.unshown
            never = () if unshown is None else unshown.classes  # the network has not learned them yet
            predictor = CasePredictor(network, *of_nnunet, mirror, learning.passes.device, never)
            return place.generated(self.stores.generated, predictor, known=known, begun=in_use, align=how.align)

    def loaders(
        self, stage: Stage, factory: LoaderFactory, stop: StopRequest, seed: tuple[int, ...] | None
    ) -> tuple[InterruptibleLoader, InterruptibleLoader]:
        """Start the loaders of training and validation.

        Args:
            seed: Numbers that their random draws derive from; None leaves those to the operating system.
        """
        training = factory.training(self._dataset(stage.main, stage), stage.main.images)
        if stage.imperfect is not None:
            further = self.roles.further_of_noisy if stage.further else {}
            drawn = with_further(self._dataset(stage.imperfect, stage), further, self.stores.further)
            imperfect = factory.training(drawn, stage.imperfect.images, 1 + len(further))
            generated = self.roles.unlabeled if stage.labelling else ()
            cover = factory.cover(self.roles.imperfect, further, stage.imperfect.blank_cases(self.roles))
            training = PairedLoader(training, imperfect, generated, self.roles.number, cover)
        validating = open_dataset(self.folder, self.roles.validation)
        validation = factory.validation(validating, self.configuration.batch_size)
        running = factory.run(training, validation, get_allowed_n_proc_DA(), seed)
        return InterruptibleLoader(running[0], stop), InterruptibleLoader(running[1], stop)

    def _dataset(self, draw: Draw, stage: Stage) -> nnUNetBaseDataset:
        found = open_dataset(self.folder, draw.cases(self.roles))
        if stage.true_labels:
            return RelabelledDataset(found, self.roles.imperfect, self.stores.true)
        if stage.labelling and draw is stage.imperfect:
            return RelabelledDataset(found, self.roles.unlabeled, self.stores.generated)
        if draw.blank:
            found = BlankDataset(found, draw.blank_cases(self.roles))
        if stage.corrects and draw is stage.imperfect:
            return RelabelledDataset(found, self.stores.corrected.complete(), self.stores.corrected)
        return found
