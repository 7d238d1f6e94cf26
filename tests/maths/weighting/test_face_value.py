"""Labels of classes that no clean image shows are taken at face value; all others are weighed as if there were none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from maths_support import NoHostReads, imperfect_labels, in_two_processes, seen_of_images

from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.face_value import FaceValue
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.strategies import make

LESION = Unshown.of((2,), 3)
IMPERFECT = torch.tensor([[[0, 2, 0, 1]], [[0, 1, 0, 1]]])
PSEUDO = torch.tensor([[[0, 0, 2, 0]], [[0, 1, 2, 0]]])
ONLY_GIVEN = torch.tensor([False, False])
ONE_GENERATED = torch.tensor([False, True])


def seen_pixels(generated: torch.Tensor, garbage: float = 0.3) -> Seen:
    """Four pixels of two images; n against p is 0:0, 2:0, 0:2, 1:0 in the first, 0:0, 1:1, 0:2, 1:0 in the second."""
    ensemble = torch.tensor([0.4, 0.3, garbage]).view(1, 3, 1, 1).expand(2, 3, 1, 4)
    derivatives = torch.randn(2, 3, 1, 4, generator=torch.Generator().manual_seed(0))
    return Seen(imperfect_labels(IMPERFECT, generated), PSEUDO, ensemble, ((1, 4),), (derivatives,))


def found(name: str, normalization: str, seen: Seen, decay: float = 0.9):
    weighting = FaceValue(make(name, normalization, decay, 3.0), LESION)
    state = weighting.learned(seen, weighting.begin(3))
    return weighting.weigh(seen, state)[0], state


def test_uniform_weights_by_hand():
    """Given labels: each of the eight pixels gets an eighth, by both labels, or by the given one alone."""
    labels, _ = found("uniform", "joint", seen_pixels(ONLY_GIVEN))
    sixteenth, eighth = 1 / 16, 1 / 8
    expected_n = [[[sixteenth, eighth, eighth, sixteenth]], [[sixteenth, sixteenth, eighth, sixteenth]]]
    expected_p = [[[sixteenth, 0, 0, sixteenth]], [[sixteenth, sixteenth, 0, sixteenth]]]
    torch.testing.assert_close(labels.weight_imperfect, torch.tensor(expected_n))
    torch.testing.assert_close(labels.weight_pseudo, torch.tensor(expected_p))
    assert torch.equal(labels.imperfect, IMPERFECT), "the labels of a class that is not shown count"


def test_a_generated_label_knows_nothing_of_the_class_and_neither_label_counts():
    """A generated image has no weight where its pseudo label is the class; seven pixels have a 7th."""
    labels, _ = found("uniform", "joint", seen_pixels(ONE_GENERATED))
    both = labels.weight_imperfect + labels.weight_pseudo
    torch.testing.assert_close(both, torch.tensor([[[1.0, 1, 1, 1]], [[1, 1, 0, 1]]]) / 7)
    assert labels.imperfect[1, 0, 2] < 0 and labels.pseudo[1, 0, 2] < 0


@pytest.mark.parametrize("normalization", ["joint", "sum"])
@pytest.mark.parametrize("name", ["tied", "meta", "uniform"])
def test_pixels_that_can_be_judged_are_weighed_as_without_the_class(name, normalization):
    """Joint: five of them and two labels at face value share what the five had. Sum: the two add up to 1."""
    seen = seen_pixels(ONE_GENERATED)
    labels, _ = found(name, normalization, seen)
    out = LESION.among(IMPERFECT) | LESION.among(PSEUDO)
    bare = replace(
        seen,
        imperfect=replace(seen.imperfect, classes=torch.where(out, -1, IMPERFECT)),
        pseudo=torch.where(out, -1, PSEUDO),
        ensemble=torch.cat([seen.ensemble[:, :2], torch.zeros(2, 1, 1, 4)], 1),
    )
    weighting = make(name, normalization, 0.9, 3.0)
    (without,) = weighting.weigh(bare, weighting.learned(bare, weighting.begin(3)))
    total = sum(weights.sum() for _, weights in without.pairs())
    assert total > 0
    for (_, weights), (_, expected) in zip(labels.pairs(), without.pairs(), strict=True):
        torch.testing.assert_close(weights[~out], expected[~out] * (5 / 7 if normalization == "joint" else 1))
    each = total / 7 if normalization == "joint" else torch.tensor(0.5)
    torch.testing.assert_close(labels.weight_imperfect[0, 0, 1:3], each.expand(2))
    if labels.rival is not None:
        assert not (LESION.among(labels.rival) & (labels.weight_rival > 0)).any()


@pytest.mark.parametrize("name", ["tied", "uniform"])
def test_what_the_network_says_of_the_class_changes_no_weight_of_the_others(name):
    """Its probability is left out, not only its label."""
    first, second = (found(name, "joint", seen_pixels(ONE_GENERATED, garbage))[0] for garbage in (0.0, 0.9))
    for (_, weights), (_, expected) in zip(first.pairs(), second.pairs(), strict=True):
        torch.testing.assert_close(weights, expected)


def test_tied_weights_remember_no_pixel_of_the_class():
    _, state = found("tied", "joint", seen_pixels(ONLY_GIVEN))
    assert not state.gain[:, 2].any() and not state.gain[:, :, 2].any()
    assert not state.confusion.counts[0, :, 2].any(), "no label of the class"
    assert state.confusion.counts.sum() == pytest.approx((1 - 0.9) * 5), "the other five pixels"


@pytest.mark.parametrize("name", ["tied", "meta", "uniform"])
def test_two_processes_find_the_weights_of_one(name):
    seen = seen_pixels(ONE_GENERATED)
    weighting = FaceValue(make(name, "joint", 0.9, 3.0), LESION)
    state = weighting.learned(seen, weighting.begin(3))
    (whole,) = weighting.weigh(seen, state)
    halves = in_two_processes(lambda half, total: weighting.weigh(seen_of_images(seen, half), state, total)[0])
    for number, (_, expected) in enumerate(whole.pairs()):
        torch.testing.assert_close(torch.cat([half.pairs()[number][1] for half in halves]), expected)


def test_nothing_waits_for_the_device():
    seen = seen_pixels(ONE_GENERATED)
    with NoHostReads():
        found("tied", "joint", seen)
