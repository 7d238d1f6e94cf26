"""Which classes the labels of a fold's training cases show, by what nnU-Net's preprocessing noted of every case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os.path import join
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_pickle

from nnunetv2_mlbseg.cases.roles import FoldRoles
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class ShownClasses:
    """Foreground classes that the clean training cases of a fold do not show, by name.

    Attributes:
        names: Of all foreground classes, by label value.
        only_noisy: Those that a noisy label shows.
        nowhere: Those that no clean and no noisy label shows.
    """

    names: Mapping[int, str]
    only_noisy: tuple[int, ...] = ()
    nowhere: tuple[int, ...] = ()

    @classmethod
    def of_fold(cls, folder: str, roles: FoldRoles, labels: Mapping[str, int]) -> ShownClasses:
        """Read it from the preprocessed cases.

        Args:
            folder: nnU-Net's preprocessed cases.
            labels: ``labels`` of dataset.json.

        Raises:
            InputError: see :func:`not_shown`.
        """
        names = {int(value): name for name, value in labels.items() if name != "ignore" and int(value) > 0}
        not_clean = not_shown(folder, roles.clean, names)
        nowhere = not_shown(folder, roles.noisy, not_clean)
        return cls(names, tuple(value for value in not_clean if value not in nowhere), nowhere)

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


def not_shown(folder: str, cases: Iterable[str], classes: Iterable[int]) -> tuple[int, ...]:
    """Those of some foreground classes that no preprocessed label of some cases has; reads until all are found.

    nnU-Net notes for every case where its classes are, for the oversampling of foreground.

    Raises:
        InputError: a case's properties cannot be read.
    """
    left = sorted(classes)
    for case in cases:
        if not left:
            break
        path = Path(join(folder, f"{case}.pkl"))
        try:
            locations = load_pickle(str(path))["class_locations"]
            left = [value for value in left if len(locations[value]) == 0]
        except Exception as error:  # pickle raises whatever a damaged file makes it raise
            raise InputError(
                f"{path}: got no class locations ({type(error).__name__}: {error}), expected those of every foreground "
                f"class; run nnUNetv2_preprocess again"
            ) from None
    return tuple(left)
