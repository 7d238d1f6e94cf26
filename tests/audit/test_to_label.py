"""Which cases are worth a label: by what the network expects of itself, and by what it has not seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.to_label import check_choice, expected_dice, rows
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures

GROUPS = LabelGroups.of_classes(2)


def opinion(network: list[float], both: list[float]) -> Opinion:
    """Foreground probabilities of four voxels in a row."""
    maps = [torch.tensor([[1 - p for p in own], own]).view(2, 1, 1, 4) for own in (network, both)]
    return Opinion(*maps)


def test_the_expected_dice_is_that_of_the_networks_label_under_both_networks():
    """Labelled by the network: the first two voxels. Expected overlap 0.9 + 0.5, sizes 2 and 0.9 + 0.5 + 0.2."""
    found = opinion([0.8, 0.6, 0.1, 0.0], [0.9, 0.5, 0.2, 0.0])
    assert expected_dice(found, GROUPS, 0) == pytest.approx(2 * 1.4 / (2 + 1.6))


def test_a_network_that_finds_nothing_is_as_good_as_it_is_sure():
    assert expected_dice(opinion([0.4, 0.0, 0.0, 0.0], [0.3, 0.1, 0.0, 0.0]), GROUPS, 0) == pytest.approx(0.7)
    assert expected_dice(opinion([0.0] * 4, [0.0] * 4), GROUPS, 0) == 1


def test_of_regions_each_counts():
    """Two regions; the network finds only the first, of which it is sure, and half expects the second at a voxel."""
    groups = LabelGroups(Structures({"whole": (1, 2), "core": (2,)}, (1, 2)))
    inside = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.4, 0.0, 0.0, 0.0]]).view(2, 1, 1, 4)
    assert expected_dice(Opinion(inside, inside), groups, 0) == 1  # the core has no part, as in the audit's scores


def test_far_and_poorly_predicted_cases_come_first_with_reasons():
    """Clean: c at 0. On a line, with expected Dice: a at 10 (0.6), b at 9.5 (0.5), d at 1 (0.2), e at -6 (0.9).

    Gains: a 0.4, b 0.475, d 0.08, e 0.06. After b, which lies at 0.95, a is 0.05 away: d 0.08, e 0.06, a 0.02.
    """
    features = torch.tensor([[0.0], [10.0], [9.5], [1.0], [-6.0]], dtype=torch.float64)
    found = rows(["c"], ["a", "b", "d", "e"], features, [0.6, 0.5, 0.2, 0.9], 4)
    assert [(row["rank"], row["case"]) for row in found] == [(1, "b"), (2, "d"), (3, "e"), (4, "a")]
    np.testing.assert_allclose([row["expected_gain"] for row in found], [0.475, 0.08, 0.06, 0.02], atol=1e-9)
    assert [row["why"] for row in found] == [
        "expected Dice 0.50; unlike any clean scan",
        "expected Dice 0.20; close to the clean scan c",
        "expected Dice 0.90; unlike any clean scan",
        "expected Dice 0.60; close to b, above",
    ]
    assert rows(["c"], ["a", "b", "d", "e"], features, [0.6, 0.5, 0.2, 0.9], 2) == found[:2]
    assert len(rows(["c"], ["a"], features[:2], [0.6], 10)) == 1


def test_a_case_that_is_far_from_the_chosen_ones_too_says_so():
    features = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64)
    first, second = rows(["c"], ["a", "b"], features, [0.5, 0.5], 2)
    assert first["why"].endswith("unlike any clean scan") and second["why"].endswith("unlike any clean scan")
    features[2, 0] = 9.0  # now nearer to a than to c
    features[2, 1] = 8.0
    by_case = {row["case"]: row for row in rows(["c"], ["a", "b"], features, [0.1, 0.6], 2)}
    assert by_case["b"]["why"] == "expected Dice 0.60; unlike any clean scan and a, above"


def test_images_that_all_look_alike_gain_nothing():
    found = rows(["c"], ["a", "b"], torch.ones(3, 2, dtype=torch.float64), [0.5, 0.2], 2)
    assert [row["expected_gain"] for row in found] == [0, 0]


def test_nothing_to_choose_from_and_no_encoder_are_refused_at_once():
    fold: Any = SimpleNamespace(
        plans=SimpleNamespace(dataset_name="Dataset900_Tiny"),
        fold=0,
        roles=SimpleNamespace(unlabeled=()),
        teacher=nn.Conv2d(1, 2, 1),
    )
    with pytest.raises(InputError, match=r"Dataset900_Tiny: fold 0 has no unlabeled training case, .*--to-label"):
        check_choice(fold)
    fold.roles = SimpleNamespace(unlabeled=("u0",))
    with pytest.raises(InputError, match="Conv2d without encoder and decoder"):
        check_choice(fold)
