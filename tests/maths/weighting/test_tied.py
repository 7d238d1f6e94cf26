"""Weights that all pixels of one kind of dispute share."""

from __future__ import annotations

import math

import pytest
import torch
from four_pixels import GENERATED, GIVEN, PROBABILITIES, PSEUDO, labels_of
from maths_support import NoHostReads, confusion_record, imperfect_labels, seen

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.tied import Tied, rivals, tied_weights


def record_of(gain: float = 0.0, counts: list[list[float]] | None = None) -> DisputeRecord:
    """A record in which the clean batch prefers n = 0 to p = 1 by ``gain``; counts of 1e9 drown the prior.

    Labels err alike at every depth.
    """
    table = torch.tensor([[[0.0, gain], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    given = torch.tensor(counts) if counts else torch.zeros(2, 2)
    confusion = confusion_record((given * 1e9).view(1, 2, 2, 1).repeat(1, 1, 1, LEVELS))
    return DisputeRecord(table * 1e9, torch.full((2, 2, 2), 1e9), confusion)


def test_parts_are_the_odds_of_bayes_rule_times_the_preference() -> None:
    """Pixel 0:1 at e = (0.2, 0.8), 0.03 added to both. M = [[0.9, 0.1], [0.3, 0.7]].

    Odds 0.23 / 0.83 * 0.9 / 0.3 = 0.8313, times e^(2 * 0.5).
    """
    record = record_of(gain=0.5, counts=[[9.0, 1.0], [3.0, 7.0]])
    plain, _ = tied_weights(record, GIVEN, PSEUDO, PROBABILITIES, strength=0.0)
    assert plain[0, 0, 1].item() == pytest.approx(0.8313 / 1.8313, abs=1e-3)
    part, other = tied_weights(record, GIVEN, PSEUDO, PROBABILITIES, strength=2.0)
    odds = 0.8313 * math.e
    assert part[0, 0, 1].item() == pytest.approx(odds / (1 + odds), abs=1e-3)
    torch.testing.assert_close((part + other)[0, 0, 1:], torch.ones(3))


def test_where_both_agree_they_share_what_bayes_rule_leaves_them_against_the_rival() -> None:
    """Pixel 0:0 at e = (0.9, 0.1): odds 0.93 / 0.13 * 0.9 / 0.3 = 21.46, whatever the clean batch prefers."""
    record = record_of(gain=0.5, counts=[[9.0, 1.0], [3.0, 7.0]])
    for strength in (0.0, 8.0):
        part, other = tied_weights(record, GIVEN, PSEUDO, PROBABILITIES, strength)
        assert part[0, 0, 0].item() == pytest.approx(21.46 / 22.46 / 2, abs=1e-3)
        assert other[0, 0, 0] == part[0, 0, 0]


def test_agreement_with_a_generated_label_is_halved_and_a_single_label_has_all_the_weight() -> None:
    n, p = torch.tensor([[[1, IGNORE, 1, IGNORE]]]), torch.tensor([[[1, 1, IGNORE, IGNORE]]])
    part, other = tied_weights(record_of(), labels_of(n, generated=True), p, PROBABILITIES, strength=8.0)
    assert part.tolist() == [[[0.5, 0.0, 1.0, 0.0]]]
    assert other.tolist() == [[[0.5, 1.0, 0.0, 0.0]]]


def test_the_rival_is_the_most_probable_other_class() -> None:
    e = torch.tensor([[[0.5, 0.5, 0.1, 0.0]], [[0.3, 0.3, 0.8, 0.0]], [[0.2, 0.2, 0.1, 1.0]]]).unsqueeze(0)
    assert rivals(torch.tensor([[[0, 1, 1, 2]]]), e).flatten().tolist() == [1, 0, 0, 0]


def test_labels_that_are_right_half_of_the_time_overrule_a_network_that_missed_a_class() -> None:
    """Pixels of class 1 that the network gives 0.1, half of their labels right, other pixels labelled right.

    A network that cannot tell these pixels apart learns the mean of what they ask for; each round takes it as the new
    probability. With the rival it climbs above one half; without (agreement is certain) it stays below for ever.
    """
    record = record_of(counts=[[0.97, 0.03], [0.5, 0.5]])
    n = torch.tensor([[[0, 1]]])
    for rival, expected in ((True, 0.8), (False, 0.5)):
        e = torch.tensor(0.1)
        for _ in range(30):
            probabilities = torch.stack([1 - e, e]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
            p = probabilities.argmax(dim=1)
            part, pseudo = tied_weights(record, labels_of(n), p, probabilities, strength=8.0)
            other = 1 - part - pseudo if rival else torch.zeros_like(part)
            of_one = part * (n == 1) + pseudo * (p == 1) + other * (rivals(n, probabilities) == 1)
            e = (of_one / (part + pseudo + other)).mean()
        assert (e > expected) == rival


def test_of_a_generated_label_the_network_alone_says_how_right_it_is() -> None:
    record = record_of(gain=0.5, counts=[[9.0, 1.0], [3.0, 7.0]])
    part, _ = tied_weights(record, GENERATED, PSEUDO, PROBABILITIES, strength=2.0)
    assert part[0, 0, 1].item() == pytest.approx(0.23 / 1.06, abs=1e-3)  # e_n / e_p alone, 0.03 added to both


def test_weights_at_every_scale_are_the_finest_ones_resized() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 2, size, size, generator=generator) for size in (8, 4)]
    tangents = [torch.randn(2, 2, size, size, generator=generator) for size in (8, 4)]
    n, p = torch.randint(2, (2, 2, 8, 8), generator=generator)
    made = torch.tensor([False, True])
    batch = seen(logits, tangents, imperfect_labels(n, made), p)
    tied = Tied("joint", 0.5, 8.0)
    record = tied.learned(batch, tied.begin(2))
    labels = tied.weigh(batch, record)
    part, _ = tied_weights(record, batch.imperfect, p, batch.ensemble, 8.0)
    assert torch.equal(labels[0].raw_imperfect, part)
    assert torch.equal(labels[1].raw_imperfect, part[:, 1::2, 1::2])  # "nearest-exact" at half the size
    assert torch.equal(labels[1].imperfect, n[:, 1::2, 1::2])
    for at_scale in labels:
        assert float(sum(weights.sum() for _, weights in at_scale.pairs())) == pytest.approx(1)
        assert at_scale.rival is not None and at_scale.weight_rival is not None
        alone = (at_scale.imperfect != at_scale.pseudo) | made.view(-1, 1, 1)
        assert not at_scale.weight_rival[alone].any() and (at_scale.weight_rival[~alone] > 0).all()
        assert torch.equal(at_scale.rival[~alone], 1 - at_scale.imperfect[~alone])


def test_it_learns_from_the_finest_scale_and_weighs_without_derivatives() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, tangents = ([torch.randn(2, 3, s, s, generator=generator) for s in (8, 4)] for _ in range(2))
    n, p = torch.randint(-1, 3, (2, 2, 8, 8), generator=generator)
    tied = Tied("joint", 0.5, 8.0)
    both, finest = seen(logits, tangents, n, p), seen(logits[:1], tangents[:1], n, p)
    without = seen(logits, None, n, p)
    record, alone = (tied.learned(each, tied.begin(3)) for each in (both, finest))
    assert all(torch.equal(table, alone.state()[name]) for name, table in record.state().items())
    expected = [each.weight_imperfect for each in tied.weigh(both, record)]
    found = [each.weight_imperfect for each in tied.weigh(without, record)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="need the derivatives"):
        tied.learned(without, record)


def test_a_whole_case_as_a_batch_of_one_has_no_weight_where_it_has_no_label() -> None:
    generator = torch.Generator().manual_seed(2)
    e = torch.rand(1, 3, 2, 5, 6, generator=generator)
    given = torch.randint(-1, 3, (1, 2, 5, 6), generator=generator)
    case = Seen(labels_of(given), torch.where(given >= 0, e.argmax(1), IGNORE), e / e.sum(1, True), ((2, 5, 6),))
    (found,) = Tied("sum", 0.5, 8.0).weigh(case, DisputeRecord.empty(3))
    for _, weights in found.pairs():
        assert not weights[given < 0].any()
    torch.testing.assert_close(found.weight_imperfect.sum(), torch.ones(()))


def test_nothing_waits_for_the_device() -> None:
    with NoHostReads() as watched:
        tied_weights(DisputeRecord.empty(2), GIVEN, PSEUDO, PROBABILITIES, 8.0)
    assert watched.operations
