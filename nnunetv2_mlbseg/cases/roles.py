"""Which case plays which role in a fold, read from files beside the preprocessed data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os.path import join
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from dataset_conversion.supervision.files import SPLITS_FILE, problems, read_splits, read_supervision
from nnunetv2_mlbseg.cases.role_copies import refresh_copies
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class FoldRoles:
    """The cases of one fold, sorted. ``validation`` holds cases with true labels only."""

    clean: tuple[str, ...]
    noisy: tuple[str, ...]
    unlabeled: tuple[str, ...]
    validation: tuple[str, ...]

    @classmethod
    def from_dict(cls, roles: Mapping[str, Iterable[str]]) -> FoldRoles:
        """As a checkpoint stores them."""
        return cls(**{role: tuple(cases) for role, cases in roles.items()})

    @property
    def imperfect(self) -> tuple[str, ...]:
        """Noisy and unlabeled cases, sorted: the set the bootstrapping stage learns from."""
        return tuple(sorted(self.noisy + self.unlabeled))

    @property
    def training(self) -> tuple[str, ...]:
        """All training cases, sorted."""
        return tuple(sorted(self.clean + self.noisy + self.unlabeled))

    def number(self, case: str) -> int:
        """Which of the noisy cases this is, from 0; -1 for a case that is not noisy.

        Whatever keeps a value for every noisy case, from the loaders to the audit, keeps it under this number.
        """
        return self._numbers.get(case, -1)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {case: number for number, case in enumerate(self.noisy)}


def roles_of_fold(
    dataset_name: str, data_identifier: str, fold: int | str, *, needs_imperfect: bool = True
) -> FoldRoles:
    """Roles of a fold of a preprocessed dataset, found through nnU-Net's folders.

    Args:
        dataset_name: ``DatasetXXX_NAME``.
        data_identifier: Folder of the preprocessed configuration, as the plans name it.
        needs_imperfect: Whether a fold without noisy and unlabeled cases is refused.

    Raises:
        InputError: nnU-Net's folder is not set, the data is not preprocessed, or what :func:`refresh_copies` and
            :func:`read_fold` refuse.
    """
    if not nnUNet_preprocessed.is_set():
        raise InputError("nnUNet_preprocessed is not set, expected the folder of nnU-Net's preprocessed datasets")
    folder = Path(join(nnUNet_preprocessed, dataset_name))
    data = folder / data_identifier
    if not data.is_dir():
        raise InputError(f"{data}: no such folder, run nnUNetv2_plan_and_preprocess (or nnUNetv2_preprocess) first")
    if not any(data.iterdir()):
        raise InputError(f"{data}: empty, run nnUNetv2_preprocess again")
    refresh_copies(Path(join(nnUNet_raw, dataset_name)) if nnUNet_raw.is_set() else None, folder)
    cases = infer_dataset_class(str(data)).get_identifiers(str(data))
    return read_fold(folder, fold, cases, needs_imperfect=needs_imperfect)


def read_fold(
    preprocessed_folder: Path, fold: int | str, cases: Iterable[str], *, needs_imperfect: bool = True
) -> FoldRoles:
    """Read and check the roles of a fold.

    Args:
        preprocessed_folder: Holds ``supervision/`` and ``splits_final.json``.
        fold: Fold number, or "all": every case with a role trains and the clean ones validate.
        cases: Identifiers of all preprocessed cases.
        needs_imperfect: Whether a fold without noisy and unlabeled cases is refused.

    Raises:
        InputError: one line with every problem found.
    """
    cases = set(cases)
    supervision = read_supervision(preprocessed_folder, cases)
    splits = read_splits(preprocessed_folder, cases)
    place = "the preprocessed data"
    found = problems(supervision, splits, cases, place, needs_imperfect=needs_imperfect)
    if found:
        raise InputError(f"{preprocessed_folder.name}: " + "; ".join(found))
    roles: tuple[tuple[str, ...], ...]
    if fold == "all":
        roles = (supervision.clean, supervision.noisy, supervision.unlabeled, supervision.clean)
    else:
        training, validation = _fold_cases(splits, fold, preprocessed_folder / SPLITS_FILE)
        roles = (*(_within(training, role) for role in supervision.by_role().values()), tuple(validation))
    selected = FoldRoles(*(tuple(sorted(role)) for role in roles))
    if not selected.clean:
        raise InputError(f"{preprocessed_folder.name}: fold {fold} has no clean training case, expected at least one")
    return selected


def _within(training: set[str], role: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(case for case in role if case in training)


def _fold_cases(splits: Any, fold: int | str, path: Path) -> tuple[set[str], list[str]]:
    if not isinstance(fold, int) or not 0 <= fold < len(splits):
        raise InputError(f"{path}: got fold {fold}, expected 0 to {len(splits) - 1} or all")
    return set(splits[fold]["train"]), splits[fold]["val"]
