"""The picture of weights: what it takes from a batch, the outlines, and that wrong and right pixels are told apart."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.weight_quality.picture import Exhibit, draw, exhibits_of, outline


def _weighed(imperfect, pseudo, weight_n, weight_p):
    """Images whose pixels are numbered, and their labels."""
    labels = WeightedLabels(imperfect, pseudo, weight_n, weight_p, weight_n, weight_p)
    images = torch.arange(imperfect.numel(), dtype=torch.float32).view(imperfect.shape)
    return images, labels


def test_exhibits_are_the_images_without_views_that_have_wrong_pixels():
    truth = torch.zeros(2, 4, 4, dtype=torch.int64)
    truth[:, :2] = 1
    imperfect = truth.repeat(3, 1, 1)
    imperfect[1, 2] = 1  # four pixels too many in the second image
    imperfect[1, 0, 0] = -1  # not known, so not wrong
    weight_n, weight_p = torch.full((6, 4, 4), 0.25), torch.full((6, 4, 4), 0.75)
    weight_n[1, 3, 3] = weight_p[1, 3, 3] = 0
    (exhibit,) = exhibits_of(*_weighed(imperfect, truth.repeat(3, 1, 1), weight_n, weight_p), truth)
    assert np.array_equal(exhibit.image, np.arange(16, 32).reshape(4, 4)), "the second image of the batch"
    assert np.argwhere(exhibit.wrong).tolist() == [[2, 0], [2, 1], [2, 2], [2, 3]]
    assert np.isnan(exhibit.part[3, 3]) and np.allclose(np.delete(exhibit.part.ravel(), 15), 0.25)


def test_of_a_volume_the_slice_with_most_wrong_pixels_is_shown():
    truth = torch.zeros(1, 3, 4, 4, dtype=torch.int64)
    imperfect = truth.clone()
    imperfect[0, 0, 0, 0] = 1
    imperfect[0, 2, 1] = 1
    weights = torch.full((1, 3, 4, 4), 0.5)
    (exhibit,) = exhibits_of(*_weighed(imperfect, truth, weights, weights), truth)
    assert np.array_equal(exhibit.image, np.arange(32, 48).reshape(4, 4)), "the last slice"
    assert exhibit.part.shape == (4, 4) and np.argwhere(exhibit.wrong).tolist() == [[1, k] for k in range(4)]


def test_of_regions_each_is_an_exhibit_under_its_name():
    """Two images of two regions in one view; of the second image the core is labelled right."""
    truth = torch.zeros(4, 4, 4, dtype=torch.int64)
    truth[:, :2] = 1
    imperfect = truth.clone()
    imperfect[:3, 2] = 1
    images, weights = torch.arange(32, dtype=torch.float32).view(2, 4, 4), torch.full((4, 4, 4), 0.5)
    labels = WeightedLabels(imperfect, truth, weights, weights, weights, weights)
    found = exhibits_of(images, labels, truth, ("disc", "core"))
    assert [(one.region, one.image[0, 0]) for one in found] == [("disc", 0), ("core", 0), ("disc", 16)]


def test_outline_by_hand():
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 1:3] = True
    around = {((0.5, 0.5), (0.5, 1.5)), ((2.5, 0.5), (2.5, 1.5))}  # x, y: left and right
    around |= {((x - 0.5, y), (x + 0.5, y)) for x in (1, 2) for y in (0.5, 1.5)}
    assert {tuple(map(tuple, side)) for side in outline(mask)} == around
    mask[:] = True
    assert len(outline(mask)) == 2 * (3 + 4), "the margin counts as outside"


@pytest.mark.parametrize("count", [1, 7])
def test_a_picture_of_one_image_or_of_the_first_five(tmp_path, count):
    label = np.zeros((24, 24), dtype=np.int64)
    label[6:18, 6:18] = 1
    labels = {"true label": label, "imperfect label": np.roll(label, 2, axis=1), "pseudo label": label}
    dark = np.where(labels["imperfect label"] != label, 0.0, 1.0).astype(np.float32)
    exhibit = Exhibit(np.random.default_rng(0).normal(size=(24, 24)).astype(np.float32), labels, dark)
    draw([exhibit] * count, tmp_path / "weights.png")
    width = sitk.ReadImage(str(tmp_path / "weights.png")).GetWidth()
    assert width == round(110 * (2.6 * min(count, 5) + 1.0))
    assert [file.name for file in tmp_path.iterdir()] == ["weights.png"]
