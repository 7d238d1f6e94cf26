"""Weight maps of the label audit, by hand values and identities with what a training step computes."""

from __future__ import annotations

import pytest
import torch
from maths_support import imperfect_labels

from nnunetv2_mlbseg.audit.class_weights import WeightsAsLogits, class_weights
from nnunetv2_mlbseg.audit.weight_maps import WeightMaps, meta_maps, tied_maps
from nnunetv2_mlbseg.maths.tangents.forward import label_weights, logit_tangents, normalize_weights
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.tied import DisputeRecord, tied_weights

SHAPE = (2, 5, 6)


@pytest.fixture
def case():
    """Probabilities of three classes and a label, without label in some places."""
    generator = torch.Generator().manual_seed(1)
    probabilities = torch.rand(3, *SHAPE, generator=generator).pow(2)
    return probabilities / probabilities.sum(0), torch.randint(-1, 3, SHAPE, generator=generator)


def record():
    generator = torch.Generator().manual_seed(2)
    gain = torch.rand(2, 3, 3, generator=generator) * 2 - 1
    counts = torch.rand(3, 3, LEVELS, generator=generator) * 50
    return DisputeRecord(gain, torch.ones_like(gain), ConfusionRecord(counts, torch.zeros(0, 3, 3, LEVELS)))


def test_tied_weights_are_shares_that_add_up_to_one(case):
    probabilities, given = case
    labels = imperfect_labels(given[None], torch.zeros(1, dtype=torch.bool))
    found = tied_maps(probabilities, labels, record(), 8.0, "joint")
    known = given >= 0
    disputed = known & (given != probabilities.argmax(0))
    assert (found.imperfect + found.pseudo)[disputed].sub(1).abs().max() < 1e-5
    assert (found.imperfect + found.pseudo)[known].max() < 1 + 1e-5
    assert not found.imperfect[~known].any() and not found.pseudo[~known].any()
    pseudo = probabilities.argmax(0)
    own, _ = tied_weights(record(), labels, pseudo[None], probabilities[None], 8.0)
    torch.testing.assert_close(found.imperfect[known], own[0][known], atol=1e-5, rtol=0)
    assert (found.share[known & (given == pseudo)] - 0.5).abs().max() < 1e-5


def test_a_share_is_half_where_neither_label_counts():
    maps = WeightMaps(torch.tensor([3.0, 0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 2.0, 0.0]))
    assert maps.share.tolist() == [0.75, 0.5, 0.0, 1.0]


@pytest.mark.parametrize("how", ["joint", "sum", "accepted"])
def test_meta_maps_are_those_of_a_step_in_units_of_the_mean_voxel(case, how):
    probabilities, given = case
    raw = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(3))
    found = meta_maps(raw, probabilities, given, "both", how)
    known = given >= 0
    one_by_one = [
        torch.stack([raw[c][z, y, x] if c >= 0 else raw[0, 0, 0, 0] * 0 for c, z, y, x in places(labels)]).view(SHAPE)
        for labels in (given, torch.where(known, probabilities.argmax(0), -1))
    ]
    expected = normalize_weights(*one_by_one, how)
    torch.testing.assert_close(found.imperfect, expected[0] * known.sum())
    torch.testing.assert_close(found.pseudo, expected[1] * known.sum())
    total = (found.imperfect.sum() + found.pseudo.sum()) / known.sum()
    assert total == pytest.approx(1 if how == "joint" else 2, abs=1e-4)
    assert found.imperfect.min() == 0 < found.imperfect.max()


def places(labels):
    return [(int(labels[z, y, x]), z, y, x) for z in range(2) for y in range(5) for x in range(6)]


def test_a_label_that_the_training_leaves_out_has_no_weight(case):
    raw = torch.rand(3, *SHAPE)
    found = meta_maps(raw, *case, "imperfect", "sum")
    assert found.imperfect.any() and not found.pseudo.any()


def test_a_network_that_shows_its_weights_agrees_with_the_weights_of_each_label():
    torch.manual_seed(0)
    student = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(4, 3, 1))
    direction = [torch.randn_like(parameter) for parameter in student.parameters()]
    images, labels = torch.randn(2, 1, 6, 7), torch.randint(0, 3, (2, 6, 7))
    logits, tangents = logit_tangents(student, images, direction)
    expected = label_weights(logits, tangents, labels)
    with torch.inference_mode():  # as nnU-Net's inference calls it
        shown = WeightsAsLogits(student, direction)(images.clone())
    assert shown.shape == (2, 3, 6, 7)
    torch.testing.assert_close(shown.gather(1, labels[:, None])[:, 0], expected)
    torch.testing.assert_close(class_weights(logits, tangents), shown)
