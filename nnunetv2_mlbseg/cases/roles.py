"""Which case plays which role in a fold, read from files beside the preprocessed data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import join
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from dataset_conversion.raw.further import cases_with_labels, further_sources, labelled_twice
from dataset_conversion.supervision.files import ROLES, SPLITS_FILE, problems, read_splits, read_supervision
from dataset_conversion.supervision.sources import read_sources, source_problems
from nnunetv2_mlbseg.cases.role_copies import refresh_copies
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json

UNNAMED = "\n"
"""What stands for the source of the labels without one; no name of a source has more than one line."""


@dataclass(frozen=True)
class FoldRoles:
    """The cases of one fold, sorted. ``validation`` holds cases with true labels only.

    ``sources`` are pairs of a training case and the source of its label, of a clean one of its former label, where that
    is known; ``further`` pairs of another source and the training cases that have a further label of it. They are no
    roles: what trains, and validates, does not depend on them, and they may become known later.
    """

    clean: tuple[str, ...]
    noisy: tuple[str, ...]
    unlabeled: tuple[str, ...]
    validation: tuple[str, ...]
    sources: tuple[tuple[str, str], ...] = ()
    further: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def from_dict(cls, roles: Mapping[str, Iterable[str]]) -> FoldRoles:
        """Undo :meth:`as_dict`."""
        clean, noisy, unlabeled, validation = (tuple(roles[role]) for role in (*ROLES, "validation"))
        return cls(clean, noisy, unlabeled, validation)

    def as_dict(self) -> dict[str, tuple[str, ...]]:
        """The roles, as a checkpoint stores them."""
        return {role: getattr(self, role) for role in (*ROLES, "validation")}

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

    def source(self, case: str) -> str | None:
        """The source of a case's label, or None."""
        return self._sources.get(case)

    def source_number(self, case: str) -> int:
        """Which of the sources of noisy labels a case's label is from, from 0 in the order of names; -1 for none.

        Where there are further labels, those of ``labelsTr`` without a source are one: others tell nothing of them.
        """
        return self.number_of_source(self.source(case) or (UNNAMED if case in self._numbers else ""))

    def number_of_source(self, source: str) -> int:
        """Which of the sources of noisy labels this is, from 0 in the order of names; -1 for none of them."""
        return self._source_numbers.get(source, -1)

    @property
    def source_numbers(self) -> tuple[int, ...]:
        """The number of the source of every noisy case's label, in their order, then of their further labels.

        Empty where none is known. A further source has its number for every noisy case.
        """
        numbers = tuple(map(self.source_number, self.noisy))
        numbers += tuple(self.number_of_source(source) for source in self.further_of_noisy for _ in self.noisy)
        return numbers if max(numbers, default=-1) >= 0 else ()

    @cached_property
    def further_of_noisy(self) -> dict[str, frozenset[str]]:
        """The noisy cases that have a further label, by its source."""
        among = {source: frozenset(cases).intersection(self.noisy) for source, cases in self.further}
        return {source: cases for source, cases in among.items() if cases}

    @property
    def kinds(self) -> int:
        """How many labels a noisy case may have."""
        return 1 + len(self.further_of_noisy)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {case: number for number, case in enumerate(self.noisy)}

    @cached_property
    def _sources(self) -> dict[str, str]:
        return dict(self.sources)

    @cached_property
    def _source_numbers(self) -> dict[str, int]:
        of_noisy = {source for case, source in self.sources if case in self._numbers} | {*self.further_of_noisy}
        if self.further_of_noisy and not self._sources.keys() >= {*self.noisy}:
            of_noisy.add(UNNAMED)
        return {source: number for number, source in enumerate(sorted(of_noisy))}


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
    raw = Path(join(nnUNet_raw, dataset_name)) if nnUNet_raw.is_set() else None
    refresh_copies(raw, folder)
    cases = infer_dataset_class(str(data)).get_identifiers(str(data))
    roles = read_fold(folder, fold, cases, needs_imperfect=needs_imperfect)
    return roles if raw is None else replace(roles, further=read_further(raw, roles))


def read_further(raw: Path, roles: FoldRoles) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The training cases with further labels, by their source: those that a raw dataset has beside ``labelsTr``.

    Raises:
        InputError: a source has two labels of a case.
    """
    folders = further_sources(raw)
    if not folders:
        return ()
    ending, labelled = read_json(raw / "dataset.json")["file_ending"], (*roles.clean, *roles.noisy)
    found = {source: cases_with_labels(folder, ending, labelled) for source, folder in folders.items()}
    twice = labelled_twice(found, dict(roles.sources), roles.noisy)
    if twice:
        raise InputError(f"{raw.name}: {twice[0]}")
    return tuple((source, cases) for source, cases in found.items() if cases)


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
    sources, place = read_sources(preprocessed_folder, cases), "the preprocessed data"
    found = problems(supervision, splits, cases, place, needs_imperfect=needs_imperfect)
    found += source_problems(sources, supervision, supervision.clean)  # of former labels, which lie elsewhere
    if found:
        raise InputError(f"{preprocessed_folder.name}: " + "; ".join(found))
    roles: tuple[tuple[str, ...], ...]
    if fold == "all":
        roles = (supervision.clean, supervision.noisy, supervision.unlabeled, supervision.clean)
    else:
        training, validation = _fold_cases(splits, fold, preprocessed_folder / SPLITS_FILE)
        roles = (*(_within(training, role) for role in supervision.by_role().values()), tuple(validation))
    sorted_roles = [tuple(sorted(role)) for role in roles]
    labelled = {case for role in sorted_roles[:2] for case in role}
    named = tuple((case, sources[case]) for case in sorted(labelled.intersection(sources)))
    selected = FoldRoles(sorted_roles[0], sorted_roles[1], sorted_roles[2], sorted_roles[3], named)
    if not selected.clean:
        raise InputError(f"{preprocessed_folder.name}: fold {fold} has no clean training case, expected at least one")
    return selected


def _within(training: set[str], role: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(case for case in role if case in training)


def _fold_cases(splits: Any, fold: int | str, path: Path) -> tuple[set[str], list[str]]:
    if not isinstance(fold, int) or not 0 <= fold < len(splits):
        raise InputError(f"{path}: got fold {fold}, expected 0 to {len(splits) - 1} or all")
    return set(splits[fold]["train"]), splits[fold]["val"]
