"""Labels of unlabeled scans held to the class shares of the clean ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from maths_support import Elements, NoHostReads
from scipy.optimize import linprog

from nnunetv2_mlbseg.maths import class_shares
from nnunetv2_mlbseg.maths.class_shares import (
    DECAY,
    LIMIT,
    RATE,
    SETTLED,
    SWEEPS,
    ShareRecord,
    aligned,
    fitted_bias,
    followed,
)
from nnunetv2_mlbseg.maths.unshown import Unshown

BOTH = torch.tensor([False, True])


def record_of(*bias: float) -> ShareRecord:
    return ShareRecord(*torch.zeros(2, 1, len(bias)), torch.tensor([bias]))


def test_a_bias_moves_the_odds_of_unlabeled_images_only() -> None:
    """0.8 : 0.2 times 1 : 4 is even. Pixels that no view covers stay without a probability."""
    probabilities = torch.tensor([[[0.8, 0.4, 0.0]], [[0.2, 0.6, 0.0]]]).movedim(1, 0).repeat(2, 1, 1)
    found = aligned(probabilities, BOTH, record_of(0.0, math.log(4)))
    assert torch.equal(found[0], probabilities[0])
    torch.testing.assert_close(found[1], torch.tensor([[0.5, 1 / 7, 0.0], [0.5, 6 / 7, 0.0]]))


def test_without_a_bias_nothing_moves_by_a_bit() -> None:
    probabilities = torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert torch.equal(aligned(probabilities, BOTH, ShareRecord.empty(3)), probabilities)


def test_the_record_by_hand() -> None:
    """Clean: one pixel of four is 1 (another is ignored); unlabeled: one of eight; the bias goes towards log 2."""
    clean = torch.tensor([[[0, 0, 0, 1, -1]]])
    pseudo = torch.tensor([[[1, 1, 1, 1, 1, 1, 1, 1]], [[0, 0, 0, 0, 0, 0, 0, 1]]])
    found = followed(ShareRecord.empty(2), clean, pseudo, BOTH)
    torch.testing.assert_close(found.clean, (1 - DECAY) * torch.tensor([[3.0, 1.0]]))
    torch.testing.assert_close(found.pseudo, (1 - DECAY) * torch.tensor([[7.0, 1.0]]))
    expected = RATE * (math.log(0.2501 / 0.1251) - math.log(0.7501 / 0.8751))
    assert found.bias[0].tolist() == pytest.approx([0, expected], rel=1e-4)
    again = followed(found, clean, pseudo, BOTH)
    torch.testing.assert_close(again.clean, (1 - DECAY) * (1 + DECAY) * torch.tensor([[3.0, 1.0]]))
    assert again.bias[0].tolist() == pytest.approx([0, 2 * expected], rel=1e-4)


def test_a_batch_without_unlabeled_images_leaves_the_bias() -> None:
    record = ShareRecord(torch.tensor([[3.0, 1.0]]), torch.tensor([[7.0, 1.0]]), torch.tensor([[0.0, 0.5]]))
    labels = torch.ones(2, 4, 4, dtype=torch.long)
    found = followed(record, labels, labels, torch.tensor([False, False]))
    assert torch.equal(found.bias, record.bias) and found.clean[0, 1] > record.clean[0, 1]


def test_a_class_that_is_nowhere_moves_the_bias_to_its_limit_and_no_further() -> None:
    """Clean images are full of class 1, unlabeled ones never show it, whatever the bias."""
    record = ShareRecord.empty(3)
    for _ in range(400):
        record = followed(record, torch.ones(1, 8, dtype=torch.long), torch.zeros(2, 8, dtype=torch.long), BOTH)
    assert record.bias[0].tolist() == pytest.approx([0, LIMIT, LIMIT])  # class 2 is too rare against class 0 as well
    assert record.weight(0.25) == pytest.approx(1)


def test_a_network_that_finds_too_little_is_brought_to_the_clean_shares() -> None:
    """Three classes; logits of unlabeled pixels are those of clean ones with 1.5 and 0.8 taken off the organs.

    The clean labels follow the true logits, so the bias must find the 1.5 and 0.8 again.
    """
    generator = torch.Generator().manual_seed(0)
    record = ShareRecord.empty(3)
    taken = torch.tensor([0.0, 1.5, 0.8]).view(1, 3, 1)
    for _ in range(2000):
        clean, unlabeled = (torch.randn(1, 3, 2000, generator=generator) * 2 for _ in range(2))
        probabilities = (unlabeled - taken).softmax(1)
        pseudo = aligned(probabilities, torch.tensor([True]), record).argmax(1)
        record = followed(record, clean.argmax(1), pseudo, torch.tensor([True]))
    assert record.bias[0].tolist() == pytest.approx([0, 1.5, 0.8], abs=0.1)


@pytest.mark.parametrize(("bias", "weight"), [(0.0, 0.2), (-0.5, 0.2), (1.25, 0.6), (-1.25, 0.6), (2.0, 1), (3.0, 1)])
def test_unlabeled_images_count_more_the_further_their_labels_are_moved(bias: float, weight: float) -> None:
    assert float(record_of(0.0, 0.1, bias).weight(0.2)) == pytest.approx(weight)


def test_two_processes_keep_the_record_of_one() -> None:
    generator = torch.Generator().manual_seed(1)
    clean, pseudo = torch.randint(3, (4, 6, 6), generator=generator), torch.randint(3, (4, 6, 6), generator=generator)
    made = torch.tensor([True, False, True, True])
    whole = followed(ShareRecord.empty(3), clean, pseudo, made)
    sums: list[torch.Tensor] = []
    for part in (slice(0, 2), slice(2, 4)):  # what each would hand to the sum over both
        followed(ShareRecord.empty(3), clean[part], pseudo[part], made[part], lambda x: sums.append(x) or x)
    shared = followed(ShareRecord.empty(3), clean[:2], pseudo[:2], made[:2], lambda _: sums[0] + sums[1])
    assert all(torch.equal(value, whole.state()[name]) for name, value in shared.state().items())


def test_nothing_is_read_on_the_host() -> None:
    probabilities, labels = torch.rand(2, 3, 8, 8).softmax(1), torch.randint(3, (2, 8, 8))
    with NoHostReads() as watched:
        aligned(probabilities, BOTH, record_of(0.0, 1.0, 2.0))
        followed(record_of(0.0, 1.0, 2.0), labels, labels, BOTH).weight(0.5)
    assert watched.operations


def test_two_classes_are_fitted_by_the_quantile() -> None:
    logits = torch.randn(999, 2, generator=torch.Generator().manual_seed(2))
    bias = fitted_bias(logits, torch.tensor([0.9, 0.1]))
    odds = np.sort((logits[:, 1] - logits[:, 0]).numpy())
    assert -odds[-100] < bias[1] < -odds[-101] and bias[0] == 0
    assert ((logits + bias).argmax(1) == 1).sum() == 100


def test_several_classes_are_fitted_as_optimal_transport_assigns_them() -> None:
    """Labels with given shares and the largest sum of logits: a linear programme, solved by another library."""
    pixels, shares = 60, torch.tensor([0.5, 0.3, 0.2])
    logits = torch.randn(pixels, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rows = np.kron(np.eye(pixels), np.ones(3)), np.kron(np.ones(pixels), np.eye(3))
    wanted = np.concatenate([np.ones(pixels), (shares * pixels).numpy().round()])
    solved = linprog(-logits.flatten().numpy(), A_eq=np.vstack(rows), b_eq=wanted)
    labels = solved.x.reshape(pixels, 3).argmax(1)
    found = (logits + fitted_bias(logits, shares)).argmax(1).numpy()
    assert (found == labels).mean() >= 58 / 60
    assert np.abs(np.bincount(found, minlength=3) - wanted[pixels:]).max() <= 1


def test_a_fitted_bias_stays_within_its_limit_and_leaves_classes_that_no_clean_scan_has() -> None:
    logits = torch.tensor([[30.0, 0.0, 0.0]]).repeat(100, 1)
    assert fitted_bias(logits, torch.tensor([0.5, 0.5, 0.0])).tolist() == pytest.approx([0, LIMIT, 0])


def test_a_class_without_a_known_share_keeps_no_bias_and_its_pixels_do_not_count() -> None:
    """The other two move as if there were no third."""
    clean, pseudo = torch.tensor([[0, 0, 0, 1]]), torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0]])
    with_third = torch.cat([pseudo, torch.tensor([[2, 2], [2, 2]])], 1)
    record, expected = ShareRecord.empty(3), ShareRecord.empty(2)
    for _ in range(5):
        record = followed(record, clean, with_third, BOTH, unshown=Unshown.of((2,), 3))
        expected = followed(expected, clean, pseudo, BOTH)
    torch.testing.assert_close(record.bias[:, :2], expected.bias)
    assert expected.bias[0, 1] != 0 and record.bias[0, 2] == 0 and record.pseudo[0, 2] == 0


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 7), certainty=st.floats(0.1, 3))
@settings(max_examples=50, deadline=None)
def test_fitted_labels_have_the_wanted_shares(seed: int, classes: int, certainty: float) -> None:
    """Each class to a pixel or so of its wanted number, whatever the logits, and so background gets the remainder."""
    pixels, generator = 2000, torch.Generator().manual_seed(seed)
    logits = certainty * torch.randn(pixels, classes, generator=generator)
    wanted = torch.rand(classes, generator=generator) + 0.2
    wanted = (wanted / wanted.sum() * pixels).round()
    wanted[0] = pixels - wanted[1:].sum()
    bias = fitted_bias(logits, wanted / pixels)
    found = torch.bincount((logits + bias).argmax(1), minlength=classes)
    assume(bool(bias.abs().max() < LIMIT))
    assert (found[1:] - wanted[1:]).abs().max() <= 2 + classes * pixels * SETTLED


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_one_class_after_the_other_is_fitted_by_its_definition(seed: int, classes: int) -> None:
    """The largest of the other classes looked up anew for every class, the quantile from all sorted values."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(300, classes, generator=generator).round(decimals=1)  # many values are the same
    shares = torch.rand(classes, generator=generator)
    shares = shares / shares.sum()
    bias = np.zeros(classes, np.float32)
    for _ in range(SWEEPS):
        before = bias.copy()
        for number in range(1, classes):
            count = min(max(round(float(shares[number]) * 300), 1), 299)
            others = np.delete(logits.numpy() + bias, number, axis=1).max(1)
            needed = np.sort(others - logits[:, number].numpy())
            bias[number] = np.clip((needed[count - 1] + needed[count]) / 2, -LIMIT, LIMIT)
        if np.abs(bias - before).max() <= SETTLED:
            break
    np.testing.assert_allclose(fitted_bias(logits, shares).numpy(), bias, atol=1e-5)


def test_a_sweep_over_many_classes_costs_hardly_more_than_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the classes: C log C is 5.3 times as much from 16 to 64; the square would be 16 times."""
    monkeypatch.setattr(class_shares, "SWEEPS", 1)
    made = []
    for classes in (16, 64):
        logits = torch.randn(500, classes, generator=torch.Generator().manual_seed(4))
        with Elements() as counted:
            fitted_bias(logits, torch.full((classes,), 1 / classes))
        made.append(counted.made)
    assert made[1] < 6 * made[0]
