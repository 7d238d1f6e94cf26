"""The cases of a training, and the classes that they show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fold_files import write_fold_files
from preprocessed_cases import SHAPE, save_case

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.fold import Fold
from noise_synthesis.safe_io.errors import InputError

DATASET_JSON = {"labels": {"background": 0, "organ": 1, "lesion": 2, "ignore": 3}, "file_ending": ".nii.gz"}


def test_a_fold_knows_whether_unlabeled_cases_train():
    """Plain training on given labels leaves them out."""
    roles, unguarded = FoldRoles(("c0",), ("n0",), ("u0", "u1"), ("v0",)), SimpleNamespace()
    assert Fold(roles, ("c0", "u1"), unguarded).unlabeled_train
    assert not Fold(roles, ("c0", "n0"), unguarded).unlabeled_train


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"background": 0, "a": 1, "b": 3},
            r"^Dataset070_Gap: dataset\.json: label values \[0, 1, 3\]; expected 0, 1, 2",
        ),
        ({"background": 0, "a": 1, "ignore": 3}, r"label values \[0, 1, 3\]"),
        ({"background": 0, "ignore": 1, "a": 2}, "'ignore' must be the highest label value"),
    ],
)
def test_label_values_that_cannot_train_are_refused_before_anything_is_built(labels, said):
    nothing = SimpleNamespace()
    with pytest.raises(InputError, match=said):
        Fold.checked("Dataset070_Gap", 0, {"labels": labels}, nothing, nothing, nothing, nothing)


@pytest.fixture
def dataset(nnunet_folders: dict[str, str]) -> Path:
    """Fold 0 trains on a and b (clean), c (noisy) and d (unlabeled); b validates in fold 1."""
    folder = write_fold_files(Path(nnunet_folders["nnUNet_preprocessed"]) / "Dataset900_Own")
    (folder / "2d").mkdir()
    show(folder, a=(1,), b=(1, 2), c=(1, 2), d=(), e=(1,))
    return folder


def show(folder: Path, **shown: tuple[int, ...]) -> None:
    """Write the cases anew, with a place of every class that one shows."""
    for case, values in shown.items():
        locations = {value: [(0, 0, 0, 0)] if value in values else [] for value in (1, 2)}
        empty = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int16)
        for path in (folder / "2d").glob(f"{case}*"):
            path.unlink()
        save_case(folder / "2d", case, *empty, {"class_locations": locations})


def checked(fold: int, method: Any = MLBSeg, **settings: Any) -> Fold:
    configuration: Any = SimpleNamespace(data_identifier="2d")
    chosen = resolve(method.Settings, settings)
    return Fold.checked("Dataset900_Own", fold, DATASET_JSON, configuration, method, chosen, Processes())


def test_the_clean_cases_say_nothing_of_a_class_that_only_the_one_shows_that_validates(dataset):
    assert (checked(0).unshown, checked(0).only_noisy, checked(0).class_lines) == ((), (), ())
    found = checked(1)
    assert found.unshown == found.only_noisy == (2,)
    assert found.class_lines == (
        "Class lesion: no clean training case shows it, the noisy labels alone teach it, at face value",
    )


@pytest.mark.parametrize(
    ("method", "settings", "then"),
    [
        (Plain, {"training_labels": "given"}, "only noisy ones do"),
        (Plain, {"training_labels": "clean"}, "and no others train: it is not learned"),
        (MLBSeg, {"weighting": "meta", "weighted_labels": "pseudo"}, "only noisy ones do"),
        (MLBSeg, {"epochs": 0}, "only noisy ones do"),
    ],
)
def test_where_noisy_labels_teach_it_as_any_other_class_or_not_at_all_nothing_is_left_out(
    dataset, method, settings, then
):
    found = checked(1, method, **settings)
    assert found.unshown == () and found.only_noisy == (2,)
    assert found.class_lines == (f"Class lesion: no clean training case shows it, {then}",)


def test_a_class_that_no_label_shows_is_left_to_the_clean_cases(dataset):
    """Nothing else would teach the network that it is nowhere."""
    show(dataset, c=(1,))
    assert checked(1).unshown == () and checked(1).class_lines == ("Class lesion: no clean or noisy label shows it",)


def test_clean_cases_that_show_nothing_are_refused(dataset):
    show(dataset, a=())
    with pytest.raises(InputError, match="no clean training case of fold 1 shows a class beside the background, expec"):
        checked(1)
    assert checked(1, Plain, training_labels="given").class_lines[0].startswith("Class organ: no clean")
