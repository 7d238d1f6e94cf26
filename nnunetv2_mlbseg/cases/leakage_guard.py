"""The leakage guard of a training: what validates or tests must not have trained."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from os.path import join
from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw

from dataset_conversion.checks.leaks import (
    Leak,
    recorded_pattern,
    refuse,
    same_files,
    shared_images,
    shared_names,
    shared_patients,
    test_cases,
)
from nnunetv2_mlbseg.cases.roles import FoldRoles


@dataclass(frozen=True)
class HeldOut:
    """Training and held-out cases of a fold.

    Attributes:
        where: Begins the error.
        validation: Empty for fold "all", where what trains validates by the user's choice.
        allowed: Held-out cases whose leaks are no error.
        raw_images: File of every training case; empty where ``nnUNet_raw`` is not set.
        tests: File of every case in the raw ``imagesTs``; empty where ``nnUNet_raw`` is not set.
        raw: The raw dataset; None where ``nnUNet_raw`` is not set.
    """

    where: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    patient_regex: str | None
    allowed: Collection[str]
    raw_images: Mapping[str, Path] = field(default_factory=dict)
    tests: Mapping[str, Path] = field(default_factory=dict)
    raw: Path | None = None

    @classmethod
    def of_fold(
        cls,
        dataset_name: str,
        file_ending: str,
        training: tuple[str, ...],
        roles: FoldRoles,
        *,
        patient_regex: str | None,
        allowed: Collection[str],
    ) -> HeldOut:
        """Found through nnU-Net's folders.

        Args:
            training: The cases that train.
            patient_regex: Its first group in a case's name is the patient. None: the one noted in the dataset, if any.
            allowed: Held-out cases that may also train, or share image or patient with one that does.
        """
        preprocessed = Path(join(nnUNet_preprocessed, dataset_name))
        raw = Path(join(nnUNet_raw, dataset_name)) if nnUNet_raw.is_set() else None
        images = {} if raw is None else {c: raw / "imagesTr" / f"{c}_0000{file_ending}" for c in training}
        return cls(
            dataset_name,
            training,
            tuple(case for case in roles.validation if case not in roles.clean),
            patient_regex or recorded_pattern(preprocessed),
            allowed,
            images,
            {} if raw is None else test_cases(raw, file_ending),
            raw,
        )

    def check_names(self) -> None:
        """Look at names and patients.

        Raises:
            InputError: a held-out case, or its patient, trains.
        """
        refuse(self._by_name(), self.allowed, self.where)

    def check_images(self, preprocessed: Mapping[str, str]) -> list[str]:
        """Look at contents as well.

        Args:
            preprocessed: Hash of the preprocessed image of every training and validation case.

        Returns:
            Everything that was allowed by name.

        Raises:
            InputError: a held-out case has the image of a training case.
        """
        training = {case: preprocessed[case] for case in self.training}
        validation = {case: preprocessed[case] for case in self.validation}
        found = [
            *self._by_name(),
            *shared_images(training, validation, "validation"),
            *same_files(self.raw_images, self.tests, "test"),
        ]
        return refuse(found, self.allowed, self.where)

    def _by_name(self) -> Iterator[Leak]:
        training = set(self.training)
        yield from shared_names(training, self.tests, "test")
        for kind, cases in (("validation", self.validation), ("test", self.tests)):
            yield from shared_patients(training, cases, kind, self.patient_regex)
