"""Weight maps of the label audit, by hand values and identities with what a training step computes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from maths_support import confusion_record, imperfect_labels

from nnunetv2_mlbseg.audit.weight_maps import WeightMaps, seen_case, weighs, weight_maps
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS, depth_levels
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.normalization import normalize_weights
from nnunetv2_mlbseg.maths.weighting.strategies import make
from nnunetv2_mlbseg.maths.weighting.tied import tied_weights
from nnunetv2_mlbseg.training.method import LabelWeighing

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
    counts = torch.rand(1, 3, 3, LEVELS, generator=generator) * 50
    return DisputeRecord(gain, torch.ones_like(gain), confusion_record(counts))


def maps_of(case, weighting: str, how: str, *, record=None, derivatives=None, counted: str = "both") -> WeightMaps:
    """What a training with this weighting counts both labels with."""
    weighting = make(weighting, how, decay=0.99, strength=8.0)
    record = weighting.begin(3) if record is None else record
    weighing = LabelWeighing(weighting=weighting, record=record, normalization=how, counted=counted, none_because=None)
    probabilities, given = case
    derivatives = None if derivatives is None else derivatives[None]
    seen = seen_case(probabilities[None], given[None], depth_levels(given[None]), -1, counted, derivatives)
    found = weight_maps(weighing, seen, int((given >= 0).sum()))
    return WeightMaps(found.imperfect[0], found.pseudo[0])


def test_tied_weights_are_shares_that_add_up_to_one(case):
    probabilities, given = case
    labels = imperfect_labels(given[None], torch.zeros(1, dtype=torch.bool))
    found = maps_of(case, "tied", "joint", record=record())
    known = given >= 0
    disputed = known & (given != probabilities.argmax(0))
    assert (found.imperfect + found.pseudo)[disputed].sub(1).abs().max() < 1e-5
    assert (found.imperfect + found.pseudo)[known].max() < 1 + 1e-5
    assert not found.imperfect[~known].any() and not found.pseudo[~known].any()
    pseudo = probabilities.argmax(0)
    own, _ = tied_weights(record(), labels, pseudo[None], probabilities[None], 8.0)
    torch.testing.assert_close(found.imperfect[known], own[0][known], atol=1e-5, rtol=0)
    share = WeightMaps(found.imperfect[None], found.pseudo[None]).share
    assert (share[known & (given == pseudo)] - 0.5).abs().max() < 1e-5


def test_a_share_is_half_where_neither_label_counts():
    maps = WeightMaps(torch.tensor([[3.0, 0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 2.0, 0.0]]))
    assert maps.share.tolist() == [0.75, 0.5, 0.0, 1.0]


@pytest.mark.parametrize("how", ["joint", "sum", "accepted"])
def test_meta_maps_are_those_of_a_step_in_units_of_the_mean_voxel(case, how):
    probabilities, given = case
    raw = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(3))
    found = maps_of(case, "meta", how, derivatives=raw)
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
    found = maps_of(case, "meta", "sum", derivatives=raw, counted="imperfect")
    assert found.imperfect.any() and not found.pseudo.any()


def test_a_noisy_case_is_weighed_by_how_its_own_label_errs(case):
    """The loaders number the noisy cases; under this number the training keeps what it knows of each."""
    probabilities, given = case
    folded = probabilities[None], given[None], depth_levels(given[None])
    right = torch.eye(3).unsqueeze(2).expand(3, 3, LEVELS) * 1e4
    tables = torch.stack([right, right.flip(0)])  # the second label has its classes the wrong way round
    everywhere = record().confusion.counts
    known = DisputeRecord(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), confusion_record(everywhere, tables))
    weighing = LabelWeighing(weighting=make("tied", "joint", 0.99, 8.0), record=known, none_because=None)
    fold = SimpleNamespace(roles=FoldRoles(("c0",), ("n0", "n1"), ("u0",), ("v0",)))
    with weighs(fold, weighing) as weigh:
        first, second, other = (weigh(name, *folded) for name in ("n0", "n1", "v0"))
    disputed = (given >= 0) & (given != probabilities.argmax(0)) & (given != 1) & (probabilities.argmax(0) != 1)
    assert disputed.any()
    assert (first.share[disputed] > other.share[disputed]).all()
    assert (other.share[disputed] > second.share[disputed]).all()


def test_without_weights_there_is_nothing_to_weigh_with():
    why = LabelWeighing(none_because="plain training without weights")
    with weighs(SimpleNamespace(), why) as weigh:
        assert weigh is None
