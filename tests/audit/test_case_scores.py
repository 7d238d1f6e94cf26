"""Label-quality scores, by hand values."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.audit.case_scores import expected_gain, label_scores


def test_with_certain_beliefs_the_scores_are_dice_coefficients():
    truth = torch.zeros(3, 4, 4, dtype=torch.int64)
    truth[0, :2] = 1  # 8 voxels in slice 0
    truth[1, 0, 0] = 1
    given = torch.zeros_like(truth)
    given[0, 0] = 1  # 4 of the 8; nothing in slice 1
    belief = torch.nn.functional.one_hot(truth, 2).movedim(-1, 0).float()
    scores = label_scores(belief[None], given[None], axis=0)
    assert scores.case == pytest.approx(2 * 4 / (4 + 9))
    assert scores.slices == (pytest.approx(2 * 4 / 12), 0.0, None)
    turned = label_scores(belief.transpose(1, 3)[None], given.transpose(0, 2)[None], axis=2)
    assert turned.slices == scores.slices
    unknown = given.clone()
    unknown[0, 1], unknown[1] = -1, -1
    assert label_scores(belief[None], unknown[None], axis=0).case == 1.0


def test_a_class_without_part_is_left_out_of_the_mean():
    belief = torch.zeros(3, 1, 2, 2)
    belief[1] = 0.8
    belief[2] = 0.2  # nowhere the most probable
    scores = label_scores(belief[None], torch.ones(1, 1, 2, 2, dtype=torch.int64), axis=0)
    assert scores.classes == (pytest.approx(2 * 3.2 / 7.2), None)
    assert scores.case == scores.classes[0]


def test_the_score_of_regions_is_the_mean_of_those_of_each():
    belief = torch.rand(2, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    given = torch.randint(-1, 2, (2, 3, 4, 5), generator=torch.Generator().manual_seed(1))
    both = label_scores(belief, given, axis=0)
    alone = [label_scores(belief[[region]], given[[region]], axis=0) for region in range(2)]
    assert both.classes == tuple(one.classes[0] for one in alone)
    assert both.case == pytest.approx(sum(one.case for one in alone) / 2)
    assert both.slices == pytest.approx([sum(pair) / 2 for pair in zip(*(one.slices for one in alone), strict=True)])


def test_the_expected_gain_is_the_score_of_the_proposal_less_that_of_the_label():
    """Four voxels, P(1) = 0.9, 0.8, 0.3, 0: of the first the Dice is 2 x 0.9 / (1 + 2), of both 2 x 1.7 / (2 + 2)."""
    inside = torch.tensor([0.9, 0.8, 0.3, 0.0]).view(1, 1, 1, 4)
    belief = torch.stack([1 - inside, inside], dim=1)
    given, proposal = (torch.tensor(label).view(1, 1, 1, 4) for label in ([1, 0, 0, 0], [1, 1, 0, 0]))
    assert expected_gain(belief, given, proposal) == pytest.approx(3.4 / 4 - 1.8 / 3)
    assert expected_gain(belief, given, given) == 0.0
    assert expected_gain(belief, proposal, given) == pytest.approx(1.8 / 3 - 3.4 / 4)
    unknown = torch.tensor([1, -1, 0, 0]).view(1, 1, 1, 4)
    assert expected_gain(belief, unknown, proposal) == 0.0, "what is not judged does not count"


def test_taking_away_an_object_that_is_not_there_gains_what_it_spoiled():
    """Class 1 is right; class 2 is given where it is not, and has no part any more once it is gone."""
    belief = torch.nn.functional.one_hot(torch.tensor([1, 0, 0]), 3).movedim(-1, 0).float().view(1, 3, 1, 1, 3)
    given, proposal = (torch.tensor(label).view(1, 1, 1, 3) for label in ([1, 2, 0], [1, 0, 0]))
    assert expected_gain(belief, given, proposal) == pytest.approx(1.0 - (1.0 + 0.0) / 2)
