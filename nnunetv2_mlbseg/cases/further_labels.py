"""Labels that a raw dataset has beside ``labelsTr``, preprocessed as nnU-Net preprocessed the images of their cases.

``labelsTr_true`` has the true labels of imperfect cases. For upper bounds and studies only: no training reads them but
the one that is asked for by ``training_labels = true``. ``labelsTr_former`` has labels that clean cases had before they
were corrected. They tell how labels err. ``labelsTr_SOURCE`` has labels of the same cases by another reader or model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os.path import join
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.paths import nnUNet_raw
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from dataset_conversion.raw.cases import FORMER_LABELS, TRUE_LABELS
from dataset_conversion.raw.dataset import read_raw_dataset
from dataset_conversion.raw.further import folder_of_source
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.settings.overrides import PLANS_KEY
from noise_synthesis.safe_io.damage import refuse_damaged
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class FurtherLabels:
    """Further labels of some cases of a raw dataset, and how nnU-Net preprocesses them.

    Args:
        raw: ``nnUNet_raw/DatasetXXX_NAME``.
        cases: The cases whose further label is wanted.
        folder: Where in ``raw`` they lie.
    """

    raw: Path
    cases: tuple[str, ...]
    plans: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]
    folder: str = TRUE_LABELS

    @classmethod
    def of_dataset(
        cls,
        cases: Sequence[str],
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
    ) -> FurtherLabels:
        """Find true labels through nnU-Net's folders.

        Raises:
            InputError: nnUNet_raw is not set, or a case has no file in ``labelsTr_true``.
        """
        if not nnUNet_raw.is_set():
            raise InputError(f"nnUNet_raw is not set, expected the raw datasets: true labels come from {TRUE_LABELS}")
        found = cls(Path(join(nnUNet_raw, plans.dataset_name)), tuple(cases), plans, configuration, dataset_json)
        missing = [case for case in found.cases if not found.path(case).is_file()]
        if missing:
            raise InputError(
                f"{found.raw / TRUE_LABELS}: no true label of {len(missing)} of {len(found.cases)} noisy and unlabeled "
                f"training cases ({name_some(missing)}), expected one for each; data sets with simulated noise have "
                f"them, your own by 'mlbseg split --true-labels DIR'"
            )
        return found

    @classmethod
    def former(
        cls,
        cases: Sequence[str],
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
    ) -> FurtherLabels | None:
        """The former labels of those of the cases that have one; None where nnUNet_raw is not set."""
        if not nnUNet_raw.is_set():
            return None
        raw = Path(join(nnUNet_raw, plans.dataset_name))
        of_all = cls(raw, tuple(cases), plans, configuration, dataset_json, FORMER_LABELS)
        return replace(of_all, cases=tuple(case for case in of_all.cases if of_all.path(case).is_file()))

    @classmethod
    def of_source(
        cls,
        source: str,
        cases: Sequence[str],
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
    ) -> FurtherLabels:
        """The labels of a source that cases have beside those in ``labelsTr``; see :attr:`FoldRoles.further`."""
        raw = Path(join(nnUNet_raw, plans.dataset_name))
        return cls(raw, tuple(cases), plans, configuration, dataset_json, folder_of_source(source))

    def path(self, case: str) -> Path:
        """The raw file of a label."""
        return self.raw / self.folder / f"{case}{self.dataset_json['file_ending']}"

    def fingerprint(self) -> str:
        """SHA-256 over the label files and what the plans say about preprocessing them."""
        configuration = {key: value for key, value in self.configuration.configuration.items() if key != PLANS_KEY}
        digest = hashlib.sha256(json.dumps([configuration, self.plans.transpose_forward], default=str).encode())
        for case in self.cases:
            digest.update(case.encode())
            digest.update(self.path(case).read_bytes())
        return digest.hexdigest()

    def prepare(self, images: nnUNetBaseDataset, target: LabelStore, report: Callable[[str], None]) -> str:
        """Preprocess what ``target`` does not hold yet; a killed run goes on after the last complete case.

        Args:
            images: nnU-Net's dataset with the preprocessed image of every case.

        Returns:
            The fingerprint that ``target`` is marked with.

        Raises:
            InputError: a label does not fit its preprocessed image, or has values that dataset.json does not know.
        """
        source = self.fingerprint()
        target.start(source)
        missing = [case for case in self.cases if case not in target.complete()]
        if missing:
            report(f"Preprocessing {len(missing)} of {len(self.cases)} {target.kind} labels in {target.folder}")
        image_files = self._image_files()
        for case in missing:
            seg, class_locations = self._preprocessed(case, image_files[case])
            shape = tuple(images.load_case(case)[0].shape[1:])
            if seg.shape[1:] != shape:
                raise InputError(
                    f"{self.path(case)}: preprocessed to {seg.shape[1:]}, expected the shape of its preprocessed image "
                    f"{shape}; run nnUNetv2_preprocess again"
                )
            target.save(case, seg, class_locations, tuple(self.configuration.patch_size))
            target.mark_complete(case)
        return source

    def _image_files(self) -> dict[str, list[str]]:
        """The image files of every case.

        Not by nnU-Net: it lists a folder in forked workers, which it then ends by SIGTERM. A worker of a process that
        handles this signal in Python loses it in the moment after the fork, and the pool waits for ever.
        """
        return {case.name: [str(path) for path in case.images] for case in read_raw_dataset(self.raw).cases}

    def _preprocessed(self, case: str, image_files: list[str]) -> tuple[np.ndarray, dict[Any, Any]]:
        """Label ``(1, Z, Y, X)`` and class locations, by nnU-Net's own preprocessor of the configuration."""
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        files = image_files, str(self.path(case))
        for path in (*map(Path, image_files), self.path(case)):
            refuse_damaged(path)
        try:
            _, seg, properties = preprocessor.run_case(*files, self.plans, self.configuration, self.dataset_json)
        except Exception as error:  # readers raise their own types, nnU-Net asserts that the shapes are equal
            what = str(error).splitlines()[0] if str(error) else "no reason given"
            raise InputError(f"{files[1]}: cannot be preprocessed ({type(error).__name__}: {what})") from None
        labels = self.plans.get_label_manager(self.dataset_json)
        known = [-1, *labels.all_labels, *([labels.ignore_label] if labels.has_ignore_label else [])]
        strange = np.setdiff1d(np.unique(seg), known)
        if strange.size:
            expected = [int(value) for value in sorted(known)[1:]]
            raise InputError(f"{files[1]}: has the values {strange.tolist()}, expected only {expected}")
        return seg, properties["class_locations"]
