"""What the loaders draw from, on nnU-Net's own dataset class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nnunetv2.training.dataloading import nnunet_dataset
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from preprocessed_cases import SHAPE, save_two_cases

from nnunetv2_mlbseg.cases.datasets import BlankDataset, RelabelledDataset, open_dataset
from nnunetv2_mlbseg.cases.label_store import LabelStore
from noise_synthesis.safe_io.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_two_cases(tmp_path)


def test_unlabeled_cases_get_generated_labels_and_noisy_ones_keep_theirs(folder, tmp_path):
    generated = LabelStore(tmp_path / "generated")
    generated.start("x")
    label = np.zeros(SHAPE, np.int16)
    label[0, 1, 2, 3] = 1
    generated.save("hidden", label, {1: np.array([[0, 1, 2, 3]])}, (8, 8))
    dataset = RelabelledDataset(nnUNetDatasetBlosc2(str(folder), ["noisy", "hidden"]), ["hidden"], generated)
    assert dataset.identifiers == ["hidden", "noisy"]
    data, seg, previous, properties = dataset.load_case("hidden")
    assert previous is None and properties["spacing"] == 1
    assert np.array_equal(seg[:], label) and float(data[:].mean()) == 1
    assert properties["class_locations"][1].tolist() == [[0, 1, 2, 3]]
    _, seg, _, properties = dataset.load_case("noisy")
    assert (seg[:] == 0).all() and properties["class_locations"] == {1: []}


def test_a_generated_label_of_another_shape_is_an_error(folder, tmp_path):
    generated = LabelStore(tmp_path / "generated")
    generated.start("x")
    generated.save("hidden", np.zeros((1, 3, 8, 9), np.int16), {}, (8, 8))
    dataset = RelabelledDataset(nnUNetDatasetBlosc2(str(folder), ["hidden"]), ["hidden"], generated)
    with pytest.raises(InputError, match=r"generated label is \(3, 8, 9\), image \(3, 8, 8\)"):
        dataset.load_case("hidden")


def test_a_blank_case_shows_its_image_and_nothing_of_its_label(folder):
    dataset = BlankDataset(nnUNetDatasetBlosc2(str(folder), ["noisy", "hidden"]), ["hidden"])
    data, seg, previous, properties = dataset.load_case("hidden")
    assert previous is None and float(data[:].mean()) == 1 and properties["spacing"] == 1
    assert seg.shape == SHAPE and (np.asarray(seg) == -1).all() and not any(seg.strides)
    patch = seg[:, :, 2:5]
    patch[:] = 0  # as augmentation does in place
    assert patch.shape == (1, 3, 3, 8) and (np.asarray(seg) == -1).all()
    assert {name: len(found) for name, found in properties["class_locations"].items()} == {1: 0}
    assert (dataset.load_case("noisy")[1][:] == 0).all()


def test_a_view_of_datasets_cannot_be_written(folder, tmp_path):
    dataset = RelabelledDataset(nnUNetDatasetBlosc2(str(folder), ["noisy"]), [], LabelStore(tmp_path))
    with pytest.raises(NotImplementedError, match="read-only"):
        dataset.save_case(None, None, {}, "x")
    with pytest.raises(NotImplementedError, match="identifiers"):
        dataset.get_identifiers("x")


def test_a_folder_is_listed_once_however_many_of_its_cases_are_opened(folder, monkeypatch):
    listed = []
    subfiles = nnunet_dataset.subfiles
    monkeypatch.setattr(
        nnunet_dataset, "subfiles", lambda path, **rest: (listed.append(path), subfiles(path, **rest))[1]
    )
    for cases in (("noisy",), ["hidden"], {"noisy": 1}):
        dataset = open_dataset(str(folder), cases)
        assert isinstance(dataset, nnUNetDatasetBlosc2) and list(dataset.identifiers) == list(cases)
    assert listed == [str(folder)]
