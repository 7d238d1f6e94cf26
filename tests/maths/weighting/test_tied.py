"""Weights that all pixels of one kind of dispute share."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import (
    NoHostReads,
    VirtualStep,
    clean_loss,
    imperfect_labels,
    labels_of_images,
    literal_cross_entropy,
    small_network,
)

from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.losses import IGNORE
from nnunetv2_mlbseg.maths.tangents.forward import label_weights, logit_tangents
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.tied import DisputeRecord, normalized_parts, rivals, tied_weights, updated

# Four pixels: n against p is 0:0, 0:1, 1:0, and no imperfect label.
IMPERFECT = torch.tensor([[[0, 0, 1, IGNORE]]])
PSEUDO = torch.tensor([[[0, 1, 0, 1]]])
PROBABILITIES = torch.tensor([[[[0.9, 0.2, 0.7, 0.4]], [[0.1, 0.8, 0.3, 0.6]]]])
HALVES = (slice(0, 1), slice(1, 2))


def labels_of(classes: torch.Tensor, generated: bool = False) -> ImperfectLabels:
    return imperfect_labels(classes, torch.full((len(classes),), generated))


GIVEN, GENERATED = labels_of(IMPERFECT), labels_of(IMPERFECT, generated=True)


def record_of(gain: float = 0.0, counts: list[list[float]] | None = None) -> DisputeRecord:
    """A record in which the clean batch prefers n = 0 to p = 1 by ``gain``; counts of 1e9 drown the prior.

    Labels err alike at every depth.
    """
    table = torch.tensor([[[0.0, gain], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    given = torch.tensor(counts) if counts else torch.zeros(2, 2)
    confusion = ConfusionRecord((given * 1e9).unsqueeze(2).repeat(1, 1, LEVELS), torch.zeros(0, 2, 2, LEVELS))
    return DisputeRecord(table * 1e9, torch.full((2, 2, 2), 1e9), confusion)


def test_the_tied_derivative_is_the_second_order_one() -> None:
    """A weight shared by the pixels of a kind: derivative of the clean loss through the literal virtual step.

    The imperfect labels of kind (n, p) carry the shared weight w, their pseudo labels 1 - w, so the derivative by w at
    w = 0 is the sum over the pixels of Eq. 6 for n minus Eq. 6 for p.
    """
    torch.manual_seed(0)
    network = small_network(dtype=torch.float64)
    images, clean = torch.randn(2, 1, 16, 16, dtype=torch.float64), torch.randn(2, 1, 16, 16, dtype=torch.float64)
    n, p, y = (torch.randint(2, (2, 16, 16)) for _ in range(3))
    step = VirtualStep(network)
    shared = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    (logits,) = step.outputs(images, step.theta)
    w = torch.where(n != p, shared[n, p], 0.0)
    loss = (w * literal_cross_entropy(logits, n) - w * literal_cross_entropy(logits, p)).sum()
    gradient = torch.autograd.grad(loss, step.theta, create_graph=True, allow_unused=True)
    theta = [t if g is None else t - g for t, g in zip(step.theta, gradient, strict=True)]
    (expected,) = torch.autograd.grad(clean_loss(step.outputs(clean, theta), [y]), shared)

    objective = clean_loss(network(clean), [y])
    direction = torch.autograd.grad(objective, list(network.parameters()), allow_unused=True)
    z, dz = logit_tangents(network, images, direction)
    raw = label_weights(z, dz, n), label_weights(z, dz, p)
    found = updated(DisputeRecord.empty(2), *raw, labels_of(n), p, z.softmax(1), decay=0.0)
    torch.testing.assert_close(found.gain[0] / found.extent[0].clamp_min(1e-9), -expected / extent_of(*raw, n, p))


def extent_of(raw_n: torch.Tensor, raw_p: torch.Tensor, n: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    extent = torch.ones(2, 2, dtype=raw_n.dtype)
    for a, b in ((0, 1), (1, 0)):
        extent[a, b] = (raw_n - raw_p)[(n == a) & (p == b)].abs().sum()
    return extent


def test_sums_over_disputed_pixels_by_hand() -> None:
    """Differences 3 (kind 0:1) and -1 (kind 1:0), mean size 2: the sums are 1.5 and -0.5. Other pixels do not count."""
    raw_n, raw_p = torch.tensor([[[9.0, 4.0, 1.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 2.0, 1.0]]])
    found = updated(DisputeRecord.empty(2), raw_n, raw_p, GIVEN, PSEUDO, PROBABILITIES, decay=0.0)
    torch.testing.assert_close(found.gain[0], torch.tensor([[0.0, 1.5], [-0.5, 0.0]]))
    torch.testing.assert_close(found.extent[0], torch.tensor([[0.0, 1.5], [0.5, 0.0]]))
    # One pixel of average size is counted as undecided: 1.5 / (1.5 + 1) and -0.5 / (0.5 + 1).
    torch.testing.assert_close(found.preference[0], torch.tensor([[0.0, 0.6], [-1 / 3, 0.0]]))
    # What is believed, labels being right nine times in ten before the first batch: 0.93 * 0.9 to 0.13 * 0.1 and so on.
    believed = [[0.837 / 0.85 + 0.207 / 0.29, 0.073 / 0.37], [0.013 / 0.85 + 0.083 / 0.29, 0.297 / 0.37]]
    torch.testing.assert_close(found.confusion.counts.sum(2), torch.tensor(believed), atol=3e-3, rtol=0)
    again = updated(found, raw_n, raw_p, GIVEN, PSEUDO, PROBABILITIES, decay=0.75)
    torch.testing.assert_close(again.gain, found.gain)
    opposite = updated(found, raw_p, raw_n, GIVEN, PSEUDO, PROBABILITIES, decay=0.75)
    torch.testing.assert_close(opposite.preference, 0.5 * found.preference)


def test_a_batch_counts_by_its_pixels_not_by_the_length_of_the_gradient() -> None:
    raw_n, raw_p = torch.randn(2, 1, 1, 4, generator=torch.Generator().manual_seed(0))
    one, thousand = (
        updated(DisputeRecord.empty(2), k * raw_n, k * raw_p, GIVEN, PSEUDO, PROBABILITIES, 0.5) for k in (1, 1000)
    )
    torch.testing.assert_close(one.gain, thousand.gain)


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


@pytest.mark.parametrize("how", ["joint", "sum"])
def test_normalised_parts(how: str) -> None:
    """Three pixels: a dispute, agreement, no label. Of 2 in all: 0.25 + 0.4, 0.75 + 0.4, and 0.2 for the rival."""
    part_n, part_p = torch.tensor([[0.25, 0.4, 0.0]]), torch.tensor([[0.75, 0.4, 0.0]])
    n, p, r = normalized_parts(part_n, part_p, how)
    scale_n, scale_p = (2, 2) if how == "joint" else (0.65, 1.35)
    torch.testing.assert_close(n, part_n / scale_n)
    torch.testing.assert_close(p, part_p / scale_p)
    torch.testing.assert_close(r, torch.tensor([[0.0, 0.2, 0.0]]) / scale_p)


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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_leaves_the_record_finite(value: float) -> None:
    raw = torch.full((1, 1, 4), value)
    found = updated(DisputeRecord.empty(2), raw, -raw, GIVEN, PSEUDO, PROBABILITIES * value, 0.9)
    assert all(torch.isfinite(table).all() for table in found.state().values())
    part, other = tied_weights(found, GIVEN, PSEUDO, PROBABILITIES, 8.0)
    assert torch.isfinite(part).all() and torch.isfinite(other).all()


def test_biased_labels_lose_their_weight_as_batches_add_up() -> None:
    """Where most pixels of a kind, not all, speak against the label, a single pixel knows little and the kind all."""
    generator = torch.Generator().manual_seed(0)
    n, p = torch.zeros(1, 64, 64, dtype=torch.long), torch.ones(1, 64, 64, dtype=torch.long)
    e = torch.full((1, 2, 64, 64), 0.5)
    record = DisputeRecord.empty(2)
    for _ in range(20):
        raw = torch.randn(1, 64, 64, generator=generator) - 0.5
        record = updated(record, raw, torch.zeros_like(raw), labels_of(n), p, e, decay=0.9)
    assert -0.6 < record.preference[0, 0, 1] < -0.4  # E(x) / E|x| of a normal variable with mean -0.5
    assert tied_weights(record, labels_of(n), p, e, 8.0)[0].max() < 0.1


def test_two_processes_make_one_record() -> None:
    """Sums over both halves of a batch, given by hand to ``total``, are the sums over the whole."""
    generator = torch.Generator().manual_seed(3)
    raw_n, raw_p = torch.randn(2, 2, 4, 4, generator=generator)
    n, p = torch.randint(-1, 3, (2, 4, 4), generator=generator), torch.randint(3, (2, 4, 4), generator=generator)
    e = torch.rand(2, 3, 4, 4, generator=generator)
    labels = imperfect_labels(n, torch.tensor([False, True]), torch.tensor([1, -1]))
    empty = DisputeRecord.empty(3, cases=2)
    whole = updated(empty, raw_n, raw_p, labels, p, e, 0.5)
    sums: list[list[torch.Tensor]] = []
    for half in HALVES:
        sums.append([])
        args = (raw_n[half], raw_p[half], labels_of_images(labels, half), p[half], e[half])
        updated(empty, *args, 0.5, total=lambda value: sums[-1].append(value) or value)
    totals = iter([a + b for a, b in zip(*sums, strict=True)])
    shared = updated(
        empty,
        raw_n[:1],
        raw_p[:1],
        labels_of_images(labels, HALVES[0]),
        p[:1],
        e[:1],
        0.5,
        total=lambda _: next(totals),
    )
    for name, table in whole.state().items():
        torch.testing.assert_close(shared.state()[name], table)


def test_nothing_waits_for_the_device() -> None:
    with NoHostReads() as watched:
        found = updated(
            DisputeRecord.empty(2),
            PROBABILITIES[:, 0],
            PROBABILITIES[:, 1],
            GIVEN,
            PSEUDO,
            PROBABILITIES,
            0.9,
        )
        tied_weights(found, GIVEN, PSEUDO, PROBABILITIES, 8.0)
    assert watched.operations


def test_a_generated_label_has_tables_of_its_own_and_no_confusion_matrix() -> None:
    raw_n, raw_p = torch.tensor([[[9.0, 4.0, 1.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 2.0, 1.0]]])
    found = updated(DisputeRecord.empty(2), raw_n, raw_p, GENERATED, PSEUDO, PROBABILITIES, decay=0.0)
    torch.testing.assert_close(found.gain[1], torch.tensor([[0.0, 1.5], [-0.5, 0.0]]))
    assert (found.gain[0] == 0).all() and (found.confusion.counts == 0).all()
    record = record_of(gain=0.5, counts=[[9.0, 1.0], [3.0, 7.0]])
    part, _ = tied_weights(record, GENERATED, PSEUDO, PROBABILITIES, strength=2.0)
    assert part[0, 0, 1].item() == pytest.approx(0.23 / 1.06, abs=1e-3)  # e_n / e_p alone, 0.03 added to both


def test_a_single_pixel_decides_nothing() -> None:
    """One disputed pixel in the first of many batches, the memory being long: 0.01 pixels per iteration against 1."""
    raw_n, raw_p = torch.tensor([[[0.0, -1e-6, 0.0, 0.0]]]), torch.zeros(1, 1, 4)
    n = torch.tensor([[[0, 0, IGNORE, IGNORE]]])
    found = updated(DisputeRecord.empty(2), raw_n, raw_p, labels_of(n), PSEUDO, PROBABILITIES, decay=0.99)
    assert -0.01 < found.preference[0, 0, 1] < 0
