"""Which classes or regions the labels of a fold's training cases show, as nnU-Net's preprocessing noted of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from os.path import join
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_pickle

from nnunetv2_mlbseg.cases.roles import FoldRoles
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures


@dataclass(frozen=True)
class ShownClasses:
    """Foreground classes, or regions, that the clean training cases of a fold do not show.

    Attributes:
        names: Of all of them, by the number of the network's output: that of a class is its label value.
        only_noisy: Those that a noisy label shows.
        nowhere: Those that no clean and no noisy label shows.
    """

    names: Mapping[int, str]
    only_noisy: tuple[int, ...] = ()
    nowhere: tuple[int, ...] = ()

    @classmethod
    def of_fold(cls, folder: str, roles: FoldRoles, structures: Structures) -> ShownClasses:
        """Read it from the preprocessed cases.

        Args:
            folder: nnU-Net's preprocessed cases.
            structures: What dataset.json names.

        Raises:
            InputError: see :func:`not_shown`.
        """
        names = dict(enumerate(structures.values, start=0 if structures.regions else 1))
        not_clean = not_shown(folder, roles.clean, {number: structures.values[name] for number, name in names.items()})
        nowhere = not_shown(folder, roles.noisy, not_clean)
        return cls(names, tuple(number for number in not_clean if number not in nowhere), tuple(nowhere))

    def lines(self, noisy_train: bool, taught: bool) -> list[str]:
        """For the log: what no clean training case shows, and what becomes of it.

        Args:
            noisy_train: Whether the noisy cases train.
            taught: Whether they alone teach such a class, since the clean cases say nothing of it.
        """
        then = "and no others train: it is not learned"
        if noisy_train:
            then = "the noisy labels alone teach it, at face value" if taught else "only noisy ones do"
        found = [f"Class {self.names[value]}: no clean training case shows it, {then}" for value in self.only_noisy]
        return found + [f"Class {self.names[value]}: no clean or noisy label shows it" for value in self.nowhere]


def not_shown(folder: str, cases: Iterable[str], classes: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Those of some classes or regions, by their label values, that no preprocessed label of some cases has.

    Reads until all are found.

    nnU-Net notes for every case where its classes are, for the oversampling of foreground.

    Raises:
        InputError: a case's properties cannot be read.
    """
    left = dict(classes)
    for case in cases:
        if not left:
            break
        path = Path(join(folder, f"{case}.pkl"))
        try:
            locations = load_pickle(str(path))["class_locations"]
            left = {number: own for number, own in left.items() if not _shown(locations, own)}
        except Exception as error:  # pickle raises whatever a damaged file makes it raise
            raise InputError(
                f"{path}: got no class locations ({type(error).__name__}: {error}), expected those of every foreground "
                f"class; run nnUNetv2_preprocess again"
            ) from None
    return left


def _shown(locations: Mapping[Any, Sized], values: tuple[int, ...]) -> bool:
    """Whether nnU-Net found voxels of a region, which it keeps under its values, or of a class, under its one value."""
    return len(locations[values] if values in locations else locations[values[0]]) > 0
