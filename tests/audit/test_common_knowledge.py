"""What networks and labels have in common: factors by which both together find as much as the networks do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from audit_support import two_squares

from nnunetv2_mlbseg.audit.bayes import posterior, usual_confusion, words
from nnunetv2_mlbseg.audit.common_knowledge import MOST_VOXELS, CommonKnowledge, factors, fitted
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import Thresholds, audit_case
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS

EVERYWHERE = torch.zeros(1, 1, 1, dtype=torch.int64)


def _random(classes: int, voxels: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    networks = torch.rand(voxels, classes, generator=generator).pow(3)
    return networks / networks.sum(1, keepdim=True), 3 * torch.randn(voxels, classes, generator=generator)


def test_one_voxel_by_hand():
    """500 equal voxels, e = (0.8, 0.2): whatever the label says of all of them is taken off again, but for one voxel in
    500 that counts as unknown.
    """
    networks, said = torch.tensor([[0.8, 0.2]]).repeat(500, 1), torch.tensor([[0.1, 0.9]]).log().repeat(500, 1)
    table = fitted(networks, said)
    assert table[0, 0] == 0 and table[0, 1].item() == pytest.approx(-torch.tensor(9.0).log().item(), abs=0.01)
    assert not table[1].any()  # the networks call no voxel 1


def test_the_label_decides_which_voxels_they_are_and_the_networks_how_many():
    """e = (0.5 + a bit, 0.5) everywhere, a label that is always right on either half: each voxel is as it says."""
    networks = torch.tensor([[0.501, 0.499]]).repeat(1000, 1)
    said = torch.tensor([[0.0, -9.0], [-9.0, 0.0]]).repeat(500, 1)
    belief = (networks.log() + said + fitted(networks, said)[0]).softmax(1)
    assert (belief.argmax(1) == said.argmax(1)).all()
    assert belief[:, 1].mean().item() == pytest.approx(0.499, abs=0.002)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_class_is_found_as_often_as_the_networks_find_it_among_what_they_call_a_class(classes):
    networks, said = _random(classes, 4000)
    table, called = fitted(networks, said), networks.argmax(1)
    belief = (networks.log() + said + table[called]).softmax(1)
    assert (belief.sum(0) / networks.sum(0) - 1).abs().max() < 0.01
    for k in range(classes):
        torch.testing.assert_close(belief[called == k].sum(0), networks[called == k].sum(0), rtol=0.02, atol=2.0)
    assert not table.diagonal().any()
    independent = (networks.log() + said).softmax(1)
    assert (independent[called == 0].sum(0) / networks[called == 0].sum(0) - 1).abs().max() > 0.1


def test_the_factor_of_a_voxel_is_that_of_the_class_that_the_networks_call_it():
    table = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    networks = torch.tensor([[0.9, 0.2], [0.1, 0.8]])
    assert factors(networks, table).tolist() == [[0.0, 2.0], [1.0, 0.0]]


def test_some_voxels_of_every_class_stand_for_all():
    """10,000 voxels of background and 30 of a structure in each of two cases; voxels without a label do not count."""
    networks = torch.full((1, 2, 1, 100, 100), 0.9)
    networks[:, 1] = 0.1
    networks[0, :, 0, 0, :30] = networks[0, :, 0, 0, :30].flip(0)
    given = (networks[:, 1] > 0.5).long()
    given[0, 0, 0, :10] = -1
    levels = torch.randint(LEVELS, given.shape, generator=torch.Generator().manual_seed(0))
    known = usual_confusion(2)[None]
    found = CommonKnowledge(cases=2, kinds=2, groups=1, classes=2)
    for _ in range(2):
        found.add_(0, networks, given, levels, known)
    (seen,) = found.seen[0]
    assert [len(e) for e, _ in seen] == [MOST_VOXELS + 20] * 2
    assert [int((e[:, 1] > 0.5).sum()) for e, _ in seen] == [20, 20]
    own, further = found.tables()
    assert own.shape == further.shape == (1, 2, 2) and not further.any()
    everywhere = words(given[0], levels[0], known[0])[:, given[0] >= 0].T
    of_all = fitted(networks[0][:, given[0] >= 0].T, everywhere)
    torch.testing.assert_close(own[0][0], of_all[0], atol=0.1, rtol=0)


def test_where_a_label_knows_nothing_the_networks_are_believed():
    """A forgotten slice: all its voxels have one label at one depth, whatever they are. The factor for class 1 where
    networks say 1 makes up for what the matrix holds against it, which a constant for all voxels cannot.
    """
    confusion = usual_confusion(2)
    confusion[1, 0, LEVELS - 1] = 0.5 * confusion[0, 0, LEVELS - 1]
    networks = torch.tensor([[0.99, 0.01]] * 900 + [[0.1, 0.9]] * 100)
    given, levels = torch.zeros(1000, dtype=torch.int64), torch.full((1000,), LEVELS - 1)
    table = fitted(networks, words(given, levels, confusion).T)
    e = torch.tensor([0.1, 0.9]).view(2, 1, 1, 1)
    seen = e, EVERYWHERE, EVERYWHERE + LEVELS - 1, confusion
    assert float(posterior(*seen, factors(e, table))[1]) == pytest.approx(0.9, abs=0.01)
    assert float(posterior(*seen)[1]) < 0.85


def test_an_audit_counts_once_what_its_witnesses_share():
    """With a factor against class 1 the label lacks less of it."""
    audited, _ = two_squares("case", 3)
    unsure = (audited.probabilities.log() / 4).softmax(0)
    arguments = "case", Opinion(unsure, unsure), audited.label
    shared = torch.zeros(1, 3, 3)
    shared[0, :, 1] = -2.0
    lacks = {}
    for name, known in {"nothing": Witnesses(None), "much": replace(Witnesses(None), shared=shared)}.items():
        found = audit_case(*arguments, known, Thresholds(0.85, 0.0), 0, audited.levels)
        lacks[name] = found.suspicion[(audited.label.classes == 0) & (audited.network == 1)].mean()
        assert torch.equal(found.common, known.common(LabelGroups.of_classes(3)))
    assert lacks["much"] < lacks["nothing"] - 0.05
