"""Regions by MLB-Seg: one region is two exclusive classes, and every region finds out how its own labels err."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import parameters_of, take_guarded_step, weighed
from region_support import (
    IGNORE_LABEL,
    AsClasses,
    at_scales,
    grown,
    learning_of_classes,
    learning_of_regions,
    nested_discs,
    region_target,
)
from torch import Tensor

from nnunetv2_mlbseg.training.batch import Batch


def _batches(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A batch of one region with labels that err, ignored pixels, an unlabeled image; and the same of two classes."""
    generator = torch.Generator().manual_seed(number)
    clean, masks = nested_discs(2, generator)
    images, truth = nested_discs(3, generator)
    given = grown(truth, 2)[:, :1]
    ignored = torch.rand(3, 32, 32, generator=generator) < 0.1
    sources = {"imperfect_generated": torch.tensor([False, False, True]), "imperfect_case": torch.tensor([0, 1, -1])}
    drawn = {"data": clean.double(), "imperfect_data": images.double(), **sources}
    nowhere = torch.zeros(2, 32, 32, dtype=torch.bool)
    pairs = {"target": (masks[:, :1], nowhere), "imperfect_target": (given, ignored)}
    regions, classes = dict(drawn), dict(drawn)
    for key, (inside, outside) in pairs.items():
        regions[key] = at_scales(region_target(inside, outside))
        classes[key] = at_scales(torch.where(outside.unsqueeze(1), IGNORE_LABEL, inside.short()))
    return regions, classes


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
def test_one_region_is_two_exclusive_classes(weighting: str) -> None:
    """Three whole steps with all terms: what both log, remember and learn differs by rounding alone."""
    settings = {"weighting": weighting, "align_shares": True, "virtual_consistency": weighting == "meta"}
    inside, other = (small_network(classes=1, deep_supervision=True, dtype=torch.float64) for _ in range(2))
    regions, classes = learning_of_regions(inside, 1, **settings), learning_of_classes(AsClasses(other), **settings)
    before = parameters_of(inside)
    for number in range(3):
        batches = _batches(number)
        found, expected = (
            take_guarded_step(one, batch) for one, batch in zip((regions, classes), batches, strict=True)
        )
        assert found.keys() == expected.keys() and {"dice", "views", "teacher"} <= found.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-7, rtol=1e-6)
    for name, tables in classes.method.state().items():
        for table, values in (tables or {}).items():
            torch.testing.assert_close(regions.method.state()[name][table], values, atol=1e-5, rtol=1e-6)
    assert max((one - first).abs().max() for first, one in zip(before, inside.parameters(), strict=True)) > 1e-3
    for one, two in zip(inside.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=0)


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
def test_a_step_in_parts_is_the_whole_step(weighting: str) -> None:
    generator = torch.Generator().manual_seed(5)
    images, masks = nested_discs(2, generator)
    noisy, truth = nested_discs(3, generator)
    sources = {"generated": torch.tensor([False, True, False]), "case": torch.tensor([0, -1, 1])}
    imperfect = _drawn(noisy.double(), grown(truth, 2)) | sources
    batch = _drawn(images.double(), masks) | {f"imperfect_{name}": value for name, value in imperfect.items()}
    networks = []
    for at_once in (None, 2):
        networks.append(small_network(classes=2, deep_supervision=True, dtype=torch.float64))
        learning = learning_of_regions(networks[-1], 2, False, weighting=weighting, images_at_once=at_once)
        take_guarded_step(learning, batch)
    for whole, in_parts in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(in_parts, whole, atol=1e-12, rtol=0)


def test_of_a_region_that_no_clean_image_shows_the_given_label_counts_as_it_is() -> None:
    """The core is in noisy labels alone: the warm-up leaves it at one half, and no pseudo label of it counts."""
    generator = torch.Generator().manual_seed(6)
    images, masks = nested_discs(2, generator)
    noisy, truth = nested_discs(2, generator)
    masks[:, 1] = False
    network = small_network(classes=2, deep_supervision=True)
    learning = learning_of_regions(network, 2, False, unshown=(1,))
    learning.supervised_step(Batch.of(_drawn(images, masks), torch.device("cpu")), "warmup")
    assert all(not output[:, 1].any() and output[:, 0].any() for output in network(images))
    sources = {"generated": torch.tensor([False, True]), "case": torch.tensor([0, -1])}
    imperfect = _drawn(noisy, grown(truth, 2)) | sources
    batch = _drawn(images, masks) | {f"imperfect_{name}": value for name, value in imperfect.items()}
    labels = weighed(learning, batch).labels[0]
    of_core = [weight.unflatten(0, (-1, 2, 2))[:, :, 1] for _, weight in labels.pairs()]
    assert of_core[0][:, 0].any() and not of_core[0][:, 1].any(), "given labels count, generated ones do not"
    assert not any(weight.any() for weight in of_core[1:])
    take_guarded_step(learning, batch)
    assert any(output[:, 1].any() for output in network(images))


def test_every_region_learns_how_its_own_labels_err() -> None:
    """Discs with a core, both labelled too large: in either dispute clean cases side with "outside"."""
    torch.manual_seed(0)
    network = small_network(classes=2, deep_supervision=True)
    learning = learning_of_regions(network, 2, ignore=False, confusion_by_case=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        images, masks = nested_discs(4, generator)
        learning.supervised_step(Batch.of(_drawn(images, masks), torch.device("cpu")), "warmup")
        learning.finish_step()
    for _ in range(25):
        images, masks = nested_discs(4, generator)
        noisy, truth = nested_discs(2, generator)
        sources = {"generated": torch.zeros(2, dtype=torch.bool), "case": torch.tensor([0, 1])}
        imperfect = _drawn(noisy, grown(truth, 2)) | sources
        named = {f"imperfect_{name}": value for name, value in imperfect.items()}
        take_guarded_step(learning, _drawn(images, masks) | named)
    preference = learning.method.memory.disputes.preference[::2]
    assert (preference[:, 0, 1] > 0.1).all(), "labelled outside, predicted inside"
    assert (preference[:, 1, 0] < -0.1).all(), "labelled inside, predicted outside"


def _drawn(images: Tensor, masks: Tensor) -> dict[str, Any]:
    return {"data": images, "target": at_scales(region_target(masks))}
