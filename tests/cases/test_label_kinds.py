"""Labels of several kinds beside each other: read in part, cropped alike, covered up where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import save_case

from nnunetv2_mlbseg.cases.label_kinds import Cover, LabelsOfKinds, Layers, for_kinds, with_further
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.maths.labels import IGNORE
from noise_synthesis.safe_io.errors import InputError

SHAPE = (3, 20, 24)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[nnUNetDatasetBlosc2, LabelStore]:
    """Cases a and b, whose labels number the voxels; a has a further label, one more everywhere."""
    store = LabelStore(tmp_path / "reader", kind="further")
    store.start("files")
    for case in "ab":
        seg = _numbers()
        save_case(tmp_path / "data", case, seg.astype(np.float32), seg)
    store.save("a", _numbers() + 1, {}, SHAPE)
    return nnUNetDatasetBlosc2(str(tmp_path / "data")), store


def _numbers() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(1, *SHAPE)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)


def test_layers_read_no_more_than_they_are_asked_for():
    class Noted:
        shape = (1, *SHAPE)
        asked: list = []  # noqa: RUF012

        def __getitem__(self, part):
            self.asked.append(part)
            return _numbers()[part]

    part = (slice(None), slice(1, 2), slice(3, 7), slice(0, 5))
    layers = Layers([Noted(), Layers([Noted(), _numbers() + 1])])
    assert layers.shape == (3, *SHAPE)
    found = layers[part]
    assert found.shape == (3, 1, 4, 5) and (found[2] == found[0] + 1).all()
    assert Noted.asked == [part, part]


def test_a_case_without_a_further_label_has_as_many_layers(stored):
    base, store = stored
    dataset = with_further(base, {"reader": ["a"]}, lambda source: store)
    for case, more in (("a", 1), ("b", 0)):
        data, seg, previous, properties = dataset.load_case(case)
        assert previous is None and properties == base.load_case(case)[3] and data.shape[1:] == seg.shape[1:]
        assert (seg[:][1] - seg[:][0] == more).all()
    assert with_further(base, {}, lambda source: store) is base


def test_nnunets_loader_crops_and_pads_both_alike(stored):
    base, store = stored
    dataset = LabelsOfKinds(base, [(["a"], store)])
    loader = nnUNetDataLoader(dataset, 6, (16, 32), (16, 32), LabelManager({"background": 0, "a": 1}, None), 0.0, None)
    batch = next(loader)
    assert batch["target"].shape == (6, 2, 16, 32)
    for case, (own, other) in zip(batch["keys"], batch["target"], strict=True):
        inside = own >= 0
        assert inside.any() and (~inside).any(), "the patch is larger than the image"
        assert torch.equal(other[inside], own[inside] + (case == "a")) and (other[~inside] == own[~inside]).all()


def test_a_label_of_another_shape_is_one_line(stored):
    base, store = stored
    store.save("b", _numbers()[:, :2], {}, SHAPE)
    with pytest.raises(
        InputError, match=r"reader/b: further label is \(2, 20, 24\), image \(3, 20, 24\); the data was"
    ):
        LabelsOfKinds(base, [(["a", "b"], store)]).load_case("b")


@pytest.mark.parametrize("ignore_label", [None, 3])
@pytest.mark.parametrize("deep", [False, True])
def test_only_what_is_missing_is_covered_up(deep, ignore_label):
    scales = [torch.ones(2, 3, side, side, dtype=torch.int16) for side in (4, 2)]
    found = Cover([(), ["b"], ["a", "b"]], ignore_label=ignore_label).up(scales if deep else scales[0], ["a", "b"])
    value = IGNORE if ignore_label is None else ignore_label
    for one in found if deep else [found]:
        assert one[:, :, 0, 0].tolist() == [[1, 1, value], [1, value, value]]
        assert (one == one[:, :, :1, :1]).all()


@pytest.mark.parametrize("ignore_label", [None, 3])
def test_regions_of_every_kind_are_those_of_nnunet_and_can_be_covered_up(ignore_label):
    own = ConvertSegmentationToRegionsTransform([(1, 2), (2,)] + ([(3,)] if ignore_label else []), channel_in_seg=0)
    transforms, space = ComposeTransforms([own]), LabelSpace(regions=2)
    assert for_kinds(transforms, 1) is transforms
    labels = torch.randint(0, 4 if ignore_label else 3, (2, 2, 5, 6), dtype=torch.int16)
    both = torch.stack([for_kinds(transforms, 2)(segmentation=one)["segmentation"] for one in labels])
    channels = space.channels(ignore_label)
    covered = Cover([(), ["b"]], channels, ignore_label).up(both.clone().to(torch.int16), ["a", "b"])
    for kind in range(2):
        alone = torch.stack([transforms(segmentation=one[kind : kind + 1])["segmentation"] for one in labels])
        expected = space.labels(alone, ignore_label)
        assert torch.equal(space.labels(both, ignore_label, kind), expected)
        found = space.labels(covered, ignore_label, kind)
        if kind:
            assert torch.equal(found[:2], expected[:2]) and (found[2:] == IGNORE).all()
        else:
            assert torch.equal(found, expected)
