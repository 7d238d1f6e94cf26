"""Which label the clean cases side with: sums over disputed pixels and batches."""

from __future__ import annotations

import math

import pytest
import torch
from four_pixels import GENERATED, GIVEN, PROBABILITIES, PSEUDO, labels_of
from maths_support import (
    NoHostReads,
    VirtualStep,
    clean_loss,
    imperfect_labels,
    in_two_processes,
    labels_of_images,
    literal_cross_entropy,
    small_network,
)

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.tensors import Total
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives, label_weights
from nnunetv2_mlbseg.maths.weighting.tied import tied_weights

EMPTY = DisputeRecord.empty(2)


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
    derivatives = class_derivatives(z, dz)
    raw = label_weights(derivatives, n), label_weights(derivatives, p)
    found = EMPTY.followed(*raw, labels_of(n), p, z.softmax(1), decay=0.0)
    torch.testing.assert_close(found.gain[0] / found.extent[0].clamp_min(1e-9), -expected / extent_of(*raw, n, p))


def extent_of(raw_n: torch.Tensor, raw_p: torch.Tensor, n: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    extent = torch.ones(2, 2, dtype=raw_n.dtype)
    for a, b in ((0, 1), (1, 0)):
        extent[a, b] = (raw_n - raw_p)[(n == a) & (p == b)].abs().sum()
    return extent


def test_sums_over_disputed_pixels_by_hand() -> None:
    """Differences 3 (kind 0:1) and -1 (kind 1:0), mean size 2: the sums are 1.5 and -0.5. Other pixels do not count."""
    raw_n, raw_p = torch.tensor([[[9.0, 4.0, 1.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 2.0, 1.0]]])
    found = EMPTY.followed(raw_n, raw_p, GIVEN, PSEUDO, PROBABILITIES, decay=0.0)
    torch.testing.assert_close(found.gain[0], torch.tensor([[0.0, 1.5], [-0.5, 0.0]]))
    torch.testing.assert_close(found.extent[0], torch.tensor([[0.0, 1.5], [0.5, 0.0]]))
    # One pixel of average size is counted as undecided: 1.5 / (1.5 + 1) and -0.5 / (0.5 + 1).
    torch.testing.assert_close(found.preference[0], torch.tensor([[0.0, 0.6], [-1 / 3, 0.0]]))
    # What is believed, labels being right nine times in ten before the first batch: 0.93 * 0.9 to 0.13 * 0.1 and so on.
    believed = [[0.837 / 0.85 + 0.207 / 0.29, 0.073 / 0.37], [0.013 / 0.85 + 0.083 / 0.29, 0.297 / 0.37]]
    torch.testing.assert_close(found.confusion.counts[0].sum(2), torch.tensor(believed), atol=3e-3, rtol=0)
    again = found.followed(raw_n, raw_p, GIVEN, PSEUDO, PROBABILITIES, decay=0.75)
    torch.testing.assert_close(again.gain, found.gain)
    opposite = found.followed(raw_p, raw_n, GIVEN, PSEUDO, PROBABILITIES, decay=0.75)
    torch.testing.assert_close(opposite.preference, 0.5 * found.preference)


def test_derivatives_of_the_first_images_alone_make_the_preference_and_all_images_the_confusion() -> None:
    generator = torch.Generator().manual_seed(2)
    raw_n, raw_p = torch.randn(2, 3, 4, 4, generator=generator)
    n, p = torch.randint(-1, 2, (2, 3, 4, 4), generator=generator)
    e = torch.rand(3, 2, 4, 4, generator=generator)
    labels = imperfect_labels(n, torch.tensor([False, True, False]), torch.tensor([0, -1, 1]))
    empty = DisputeRecord.empty(2, cases=2)
    whole = empty.followed(raw_n, raw_p, labels, p, e, 0.5)
    of_two = empty.followed(raw_n[:2], raw_p[:2], labels_of_images(labels, slice(0, 2)), p[:2], e[:2], 0.5)
    found = empty.followed(raw_n[:2], raw_p[:2], labels, p, e, 0.5)
    assert torch.equal(found.gain, of_two.gain) and torch.equal(found.extent, of_two.extent)
    assert torch.equal(found.confusion.counts, whole.confusion.counts) and not torch.equal(found.gain, whole.gain)
    assert torch.equal(found.confusion.cases, whole.confusion.cases)


def test_a_batch_counts_by_its_pixels_not_by_the_length_of_the_gradient() -> None:
    raw_n, raw_p = torch.randn(2, 1, 1, 4, generator=torch.Generator().manual_seed(0))
    one, thousand = (EMPTY.followed(k * raw_n, k * raw_p, GIVEN, PSEUDO, PROBABILITIES, 0.5) for k in (1, 1000))
    torch.testing.assert_close(one.gain, thousand.gain)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_leaves_the_record_finite(value: float) -> None:
    raw = torch.full((1, 1, 4), value)
    found = EMPTY.followed(raw, -raw, GIVEN, PSEUDO, PROBABILITIES * value, 0.9)
    assert all(torch.isfinite(table).all() for table in found.state().values())
    part, other = tied_weights(found, GIVEN, PSEUDO, PROBABILITIES, 8.0)
    assert torch.isfinite(part).all() and torch.isfinite(other).all()


def test_biased_labels_lose_their_weight_as_batches_add_up() -> None:
    """Where most pixels of a kind, not all, speak against the label, a single pixel knows little and the kind all."""
    generator = torch.Generator().manual_seed(0)
    n, p = torch.zeros(1, 64, 64, dtype=torch.long), torch.ones(1, 64, 64, dtype=torch.long)
    e = torch.full((1, 2, 64, 64), 0.5)
    record = EMPTY
    for _ in range(20):
        raw = torch.randn(1, 64, 64, generator=generator) - 0.5
        record = record.followed(raw, torch.zeros_like(raw), labels_of(n), p, e, decay=0.9)
    assert -0.6 < record.preference[0, 0, 1] < -0.4  # E(x) / E|x| of a normal variable with mean -0.5
    assert tied_weights(record, labels_of(n), p, e, 8.0)[0].max() < 0.1


def test_two_processes_make_one_record() -> None:
    generator = torch.Generator().manual_seed(3)
    raw_n, raw_p = torch.randn(2, 2, 4, 4, generator=generator)
    n, p = torch.randint(-1, 3, (2, 4, 4), generator=generator), torch.randint(3, (2, 4, 4), generator=generator)
    e = torch.rand(2, 3, 4, 4, generator=generator)
    labels = imperfect_labels(n, torch.tensor([False, True]), torch.tensor([1, -1]))
    empty = DisputeRecord.empty(3, cases=2)
    whole = empty.followed(raw_n, raw_p, labels, p, e, 0.5)

    def of_half(half: slice, total: Total) -> DisputeRecord:
        of_images = labels_of_images(labels, half)
        return empty.followed(raw_n[half], raw_p[half], of_images, p[half], e[half], 0.5, total)

    for shared in in_two_processes(of_half):
        for name, table in whole.state().items():
            torch.testing.assert_close(shared.state()[name], table)


def test_nothing_waits_for_the_device() -> None:
    with NoHostReads() as watched:
        EMPTY.followed(PROBABILITIES[:, 0], PROBABILITIES[:, 1], GIVEN, PSEUDO, PROBABILITIES, 0.9)
    assert watched.operations


def test_a_generated_label_has_tables_of_its_own_and_no_confusion_matrix() -> None:
    raw_n, raw_p = torch.tensor([[[9.0, 4.0, 1.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 2.0, 1.0]]])
    found = EMPTY.followed(raw_n, raw_p, GENERATED, PSEUDO, PROBABILITIES, decay=0.0)
    torch.testing.assert_close(found.gain[1], torch.tensor([[0.0, 1.5], [-0.5, 0.0]]))
    assert (found.gain[0] == 0).all() and (found.confusion.counts == 0).all()


def test_a_single_pixel_decides_nothing() -> None:
    """One disputed pixel in the first of many batches, the memory being long: 0.01 pixels per iteration against 1."""
    raw_n, raw_p = torch.tensor([[[0.0, -1e-6, 0.0, 0.0]]]), torch.zeros(1, 1, 4)
    n = torch.tensor([[[0, 0, IGNORE, IGNORE]]])
    found = EMPTY.followed(raw_n, raw_p, labels_of(n), PSEUDO, PROBABILITIES, decay=0.99)
    assert -0.01 < found.preference[0, 0, 1] < 0
