"""Which classes the labels of a fold show, by nnU-Net's notes on every preprocessed case."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.shown_classes import ShownClasses, not_shown
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures

LABELS = Structures({"organ": (1,), "lesion": (2,), "stone": (3,)}, ignore=4)
ROLES = FoldRoles(clean=("c0", "c1"), noisy=("n0",), unlabeled=("u0",), validation=("v0",))
SHOWN = {"c0": (), "c1": (1,), "n0": (1, 2), "u0": (), "v0": (1, 2, 3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Properties as nnU-Net writes them, with places of the ignore label's complement as well."""
    for case, shown in SHOWN.items():
        locations = {value: [(0, 0, 1, 1)] if value in shown else [] for value in (1, 2, 3)}
        write_properties(tmp_path, case, {"class_locations": {**locations, (-1, 0, 1, 2, 3): [(0, 0, 0, 0)]}})
    return tmp_path


def write_properties(folder: Path, case: str, properties: dict) -> None:
    (folder / f"{case}.pkl").write_bytes(pickle.dumps(properties))


def test_classes_are_told_apart_by_whose_labels_show_them(folder):
    """A case that validates does not train, and the label of an unlabeled one shows nothing."""
    found = ShownClasses.of_fold(str(folder), ROLES, LABELS)
    assert found == ShownClasses({1: "organ", 2: "lesion", 3: "stone"}, only_noisy=(2,), nowhere=(3,))


def test_regions_are_found_under_their_values_and_counted_from_the_first_output(folder):
    """nnU-Net keeps the places of a region under a tuple of its values, also of one, and of a plain value under it."""
    for case, shown in {"c0": (), "c1": ((1, 2),), "n0": ((1, 2), 2)}.items():
        locations = {own: [(0, 0, 1, 1)] if own in shown else [] for own in ((1, 2), 2, (3,))}
        write_properties(folder, case, {"class_locations": locations})
    regions = Structures({"whole": (1, 2), "core": (2,), "rim": (3,)}, order=(1, 2, 3))
    found = ShownClasses.of_fold(str(folder), ROLES, regions)
    assert found == ShownClasses({0: "whole", 1: "core", 2: "rim"}, only_noisy=(1,), nowhere=(2,))


def test_the_log_says_what_becomes_of_such_a_class(folder):
    found = ShownClasses.of_fold(str(folder), ROLES, LABELS)
    lesion, stone = "Class lesion: no clean training case shows it, ", "Class stone: no clean or noisy label shows it"
    assert found.lines(noisy_train=True, taught=True) == [
        lesion + "the noisy labels alone teach it, at face value",
        stone,
    ]
    assert found.lines(noisy_train=True, taught=False)[0] == lesion + "only noisy ones do"
    assert found.lines(noisy_train=False, taught=False)[0] == lesion + "and no others train: it is not learned"


def test_where_every_class_is_shown_there_is_no_line_and_no_further_case_is_read(folder):
    write_properties(folder, "c0", {"class_locations": {1: [1], 2: [1], 3: [1]}})
    for case in ("c1", "n0"):
        (folder / f"{case}.pkl").unlink()
    found = ShownClasses.of_fold(str(folder), ROLES, LABELS)
    assert (found.only_noisy, found.nowhere, found.lines(True, True)) == ((), (), [])


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"spacing": 1}), pickle.dumps({1: 2})])
def test_properties_that_cannot_be_read_are_one_clear_line(folder, content):
    (folder / "c0.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"c0\.pkl: got no class locations .* run nnUNetv2_preprocess again") as caught:
        not_shown(str(folder), ["c0"], {1: (1,)})
    assert "\n" not in str(caught.value)
