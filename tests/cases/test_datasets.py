"""What the loaders draw from, on nnU-Net's own dataset class."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_mlbseg.cases.datasets import PairedLoader, RelabelledDataset, count_slices, verify_cases
from nnunetv2_mlbseg.cases.label_store import GeneratedLabels
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, untimed, worker_seeds
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.errors import InputError

SHAPE = (1, 3, 8, 8)


def _save(folder: Path, case: str, data: np.ndarray, seg: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net warns that no chunk size is given
        nnUNetDatasetBlosc2.save_case(data, seg, {"class_locations": {1: []}, "spacing": 1}, str(folder / case))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, case in enumerate(("noisy", "hidden")):
        data = np.full(SHAPE, number, np.float32)
        _save(tmp_path, case, data, np.full(SHAPE, number, np.int16))
    return tmp_path


def test_unlabeled_cases_get_generated_labels_and_noisy_ones_keep_theirs(folder, tmp_path):
    generated = GeneratedLabels(tmp_path / "generated")
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


def test_a_view_of_datasets_cannot_be_written(folder, tmp_path):
    dataset = RelabelledDataset(nnUNetDatasetBlosc2(str(folder), ["noisy"]), [], GeneratedLabels(tmp_path))
    with pytest.raises(NotImplementedError, match="read-only"):
        dataset.save_case(None, None, {}, "x")
    with pytest.raises(NotImplementedError, match="identifiers"):
        dataset.get_identifiers("x")


class _Numbers:
    batch_size = 2

    def __init__(self, data):
        self.batch = {"data": data, "target": -data, "keys": ["noisy", "hidden"]}

    def __next__(self):
        return self.batch


def test_a_pair_holds_both_batches_under_their_names():
    pair = next(PairedLoader(_Numbers(1), _Numbers(2), ["hidden"], ["another", "noisy"]))
    assert pair.pop("imperfect_generated").tolist() == [False, True]
    assert pair.pop("imperfect_case").tolist() == [1, -1]
    assert pair == {"data": 1, "target": -1, "imperfect_data": 2, "imperfect_target": -2}


def test_slices_are_counted_over_all_cases(folder):
    assert count_slices(nnUNetDatasetBlosc2(str(folder), ["noisy", "hidden"])) == 6


def test_verification_accepts_good_cases_and_names_each_bad_one(folder):
    good = np.zeros(SHAPE, np.float32)
    outside = np.full(SHAPE, -1, np.int16)
    _save(folder, "outside", good, outside)
    infinite = good.copy()
    infinite[0, 0, 0, 0] = np.inf
    _save(folder, "infinite", infinite, outside)
    _save(folder, "strange", good, np.full(SHAPE, 9, np.int16))
    _save(folder, "short", good, np.zeros((1, 2, 8, 8), np.int16))
    _save(folder, "broken", good, outside)
    (folder / "broken.b2nd").write_bytes(b"no array")
    cases = ["noisy", "hidden", "outside", "infinite", "strange", "short", "broken"]
    found, images = verify_cases(nnUNetDatasetBlosc2(str(folder), cases), [0, 1, 2], folder)
    assert len(found) == 4 and set(images) == set(cases) - {"broken"}
    for case, words in (
        ("infinite", "NaN or infinite"),
        ("strange", "label has the values [9], expected only [0, 1, 2]"),
        ("short", "image is (3, 8, 8), label (2, 8, 8)"),
        ("broken", "cannot be read"),
    ):
        assert any(case in line and words in line for line in found)


def test_a_generated_label_of_another_shape_is_an_error(folder, tmp_path):
    generated = GeneratedLabels(tmp_path / "generated")
    generated.start("x")
    generated.save("hidden", np.zeros((1, 3, 8, 9), np.int16), {}, (8, 8))
    dataset = RelabelledDataset(nnUNetDatasetBlosc2(str(folder), ["hidden"]), ["hidden"], generated)
    with pytest.raises(InputError, match=r"generated label is \(3, 8, 9\), image \(3, 8, 8\)"):
        dataset.load_case("hidden")


def test_worker_seeds_repeat_and_change_with_the_epoch():
    seeds = worker_seeds((7, 3), 4)
    assert seeds == worker_seeds((7, 3), 4) and len(set(seeds)) == 4
    assert not set(seeds) & set(worker_seeds((7, 4), 4))
    assert all(0 <= seed < 2**32 for seed in worker_seeds((2**32 - 1, 0), 3))
    assert worker_seeds(None, 2) is None


def test_timed_choices_are_switched_off_at_any_depth():
    class Node:
        def __init__(self, **attributes):
            self.__dict__.update(attributes)

    blur = Node(benchmark=True)
    assert untimed(Node(transforms=[Node(transform=Node(transforms=[blur]))])) is not None
    assert blur.benchmark is False


IGNORE_LABEL = 2
ANNOTATED = (-1, 0, 1)


def _loader(folder: Path, labels: dict[str, int]):
    factory = LoaderFactory(
        initial_patch_size=(24, 24),
        patch_size=(16, 16),
        label_manager=LabelManager(labels, None),
        oversample_foreground_percent=0.0,
        probabilistic_oversampling=False,
        training_transforms=None,
        validation_transforms=None,
        pin_memory=False,
        processes=Processes(),
    )
    return factory.training(nnUNetDatasetBlosc2(str(folder)), batch_size=40)


def _save_annotated(folder: Path, ignored: int) -> None:
    folder.mkdir()
    seg = np.zeros((1, 3, 16, 16), np.int16)
    seg[:, :, 6:10, 6:10] = 1
    seg[:, :, :ignored] = IGNORE_LABEL
    known = np.argwhere(seg != IGNORE_LABEL)
    properties = {"class_locations": {1: np.argwhere(seg == 1), ANNOTATED: known}}
    nnUNetDatasetBlosc2.save_case(np.ones((1, 3, 16, 16), np.float32), seg, properties, str(folder / "case"))


def test_complete_labels_are_drawn_from_as_if_there_were_no_ignore_label(tmp_path):
    _save_annotated(tmp_path / "complete", ignored=0)
    known = {"background": 0, "organ": 1}
    drawn = []
    for labels in (known, {**known, "ignore": IGNORE_LABEL}):
        np.random.seed(0)
        loader = _loader(tmp_path / "complete", labels)
        drawn.append(np.stack([np.array(loader.get_bbox((3, 16, 16), False, _locations(loader))) for _ in range(40)]))
    np.testing.assert_array_equal(*drawn)
    assert (drawn[0][:, 1, 1:] >= 16).all(), "every patch of 24 shows the whole middle of an image of 16"


def test_partial_labels_are_drawn_around_annotated_voxels(tmp_path):
    _save_annotated(tmp_path / "partial", ignored=15)
    loader = _loader(tmp_path / "partial", {"background": 0, "organ": 1, "ignore": IGNORE_LABEL})
    np.random.seed(0)
    starts = {loader.get_bbox((3, 16, 16), False, _locations(loader))[0][1] for _ in range(40)}
    assert starts == {15 - 24 // 2}, "the only annotated row is in the middle of the patch"


def _locations(loader) -> dict:
    return loader._data.load_case("case")[3]["class_locations"]
