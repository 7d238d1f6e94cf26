"""Batches as nnU-Net draws them: pairs of them, around foreground, in shares, as a seed repeats them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import save_case

from nnunetv2_mlbseg.cases.datasets import BlankDataset
from nnunetv2_mlbseg.cases.label_kinds import Cover
from nnunetv2_mlbseg.cases.loaders import LoaderFactory, PairedLoader, oversampled_share, untimed
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.runtime.processes import Processes

IGNORE_LABEL = 2
ANNOTATED = (-1, 0, 1)


class _Numbers:
    batch_size = 2

    def __init__(self, data):
        self.batch = {"data": data, "target": -data, "keys": ["noisy", "hidden"]}

    def __next__(self):
        return self.batch


def test_a_pair_holds_both_batches_under_their_names():
    roles = FoldRoles(clean=(), noisy=("another", "noisy"), unlabeled=("hidden",), validation=())
    pair = next(PairedLoader(_Numbers(1), _Numbers(2), roles.unlabeled, roles.number))
    assert pair.pop("imperfect_generated").tolist() == [False, True]
    assert pair.pop("imperfect_case").tolist() == [1, -1]
    assert pair == {"data": 1, "target": -1, "imperfect_data": 2, "imperfect_target": -2}


@pytest.mark.parametrize("ignore_label", [None, IGNORE_LABEL])
@pytest.mark.parametrize("deep", [False, True])
def test_labels_that_nobody_may_read_are_covered_up_at_every_scale(deep, ignore_label):
    """Of the image of that case alone; -1 where nnU-Net has no ignore label."""
    scales = [torch.ones(2, 1, side, side, dtype=torch.int16) for side in (4, 2)]
    target = scales if deep else scales[0]
    found = Cover([["hidden"]], ignore_label=ignore_label).up(target, ["noisy", "hidden"])
    for one in found if deep else [found]:
        assert (one[0] == 1).all() and (one[1] == (-1 if ignore_label is None else ignore_label)).all()
        assert one.dtype == torch.int16


def test_blank_cases_are_drawn_without_regard_to_what_they_show(tmp_path):
    """A small disc that every patch is drawn around, unless the label is blank."""
    seg = np.zeros((1, 1, 64, 64), np.int16)
    seg[:, :, 5:7, 5:7] = 1
    save_case(tmp_path, "case", np.ones(seg.shape, np.float32), seg, {"class_locations": {1: np.argwhere(seg == 1)}})
    shown = []
    for blank in ((), ("case",)):
        dataset = BlankDataset(nnUNetDatasetBlosc2(str(tmp_path)), blank)
        loader = _factory({"background": 0, "disc": 1}, oversample_foreground_percent=1.0).training(
            dataset, batch_size=8
        )
        np.random.seed(0)
        batch = next(loader)
        assert batch["data"].max() == 1
        shown.append((batch["target"] == 1).flatten(1).any(1).tolist())
    assert all(shown[0]) and not any(shown[1])


def test_the_last_images_of_the_whole_batch_are_drawn_around_foreground():
    """Of 10 images the last 3; a process with images 0 to 4 has none of them, one with 5 to 9 has 3 of 5."""
    assert oversampled_share(0.33, 10, slice(0, 5)) == 0
    assert oversampled_share(0.33, 10, slice(5, 10)) == 3 / 5
    assert round(10 * (1 - oversampled_share(0.33, 10, slice(0, 10)))) == 7


def test_timed_choices_are_switched_off_at_any_depth():
    class Node:
        def __init__(self, **attributes):
            self.__dict__.update(attributes)

    blur = Node(benchmark=True)
    assert untimed(Node(transforms=[Node(transform=Node(transforms=[blur]))])) is not None
    assert blur.benchmark is False


def _factory(labels: dict[str, int], **values) -> LoaderFactory:
    rest = {
        "initial_patch_size": (24, 24),
        "patch_size": (16, 16),
        "plan_batch_size": 40,
        "oversample_foreground_percent": 0.0,
        "probabilistic_oversampling": False,
        "training_transforms": None,
        "validation_transforms": None,
        "pin_memory": False,
        "processes": Processes(),
    }
    return LoaderFactory(label_manager=LabelManager(labels, None), **{**rest, **values})


def _loader(folder: Path, labels: dict[str, int]):
    return _factory(labels).training(nnUNetDatasetBlosc2(str(folder)), batch_size=40)


# Of a batch of 2 nnU-Net counts round(2 * 0.67) = 1 image that is drawn anywhere, of 12 it is 8.
@pytest.mark.parametrize(("plan", "share"), [(2, 1 / 2), (12, 1 / 3)])
def test_small_batches_are_drawn_around_foreground_as_often_as_nnunets(tmp_path, plan, share):
    """Clean and imperfect batches of every size, in nnU-Net's own loader; by chance within three standard errors."""
    _save_annotated(tmp_path / "complete", ignored=0)
    factory = _factory({"background": 0, "organ": 1}, plan_batch_size=plan, oversample_foreground_percent=0.33)
    np.random.seed(0)
    for batch in {1, 2, plan}:
        loader = factory.training(nnUNetDatasetBlosc2(str(tmp_path / "complete")), batch)
        forced = np.array([[loader.get_do_oversample(image) for image in range(batch)] for _ in range(4000 // batch)])
        if batch == plan:
            assert (forced.mean(axis=1) == share).all(), "counted, as nnU-Net does"
        assert abs(forced.mean() - share) < 3 * np.sqrt(share * (1 - share) / forced.size)


def test_a_share_by_chance_stays_what_the_trainer_says():
    factory = _factory({"background": 0}, oversample_foreground_percent=0.4, probabilistic_oversampling=True)
    assert factory.oversampling(1) == factory.oversampling(40) == (True, 0.4)


def _save_annotated(folder: Path, ignored: int) -> None:
    folder.mkdir()
    seg = np.zeros((1, 3, 16, 16), np.int16)
    seg[:, :, 6:10, 6:10] = 1
    seg[:, :, :ignored] = IGNORE_LABEL
    known = np.argwhere(seg != IGNORE_LABEL)
    properties = {"class_locations": {1: np.argwhere(seg == 1), ANNOTATED: known}}
    save_case(folder, "case", np.ones((1, 3, 16, 16), np.float32), seg, properties)


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
