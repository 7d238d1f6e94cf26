"""Whether corrections help or spoil: the numbers by hand, and what is said and refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nnunetv2_mlbseg.audit.prospect import prospect, refuse_corrections, unseen_cases
from noise_synthesis.errors import InputError


def unseen(case: str, network: list[int], corrected_dice: float):
    """The audit of a case whose right label is 4 of 6 voxels, as far as it is looked at."""
    return SimpleNamespace(
        case=case,
        label=SimpleNamespace(classes=torch.tensor([[[0, 1, 1, 1, 1, 0]]])),
        network=torch.tensor([[network]]),
        probabilities=torch.zeros(2, 1, 1, 6),
        corrected_dice=corrected_dice,
    )


# The network's Dice is 1 and 2 * 2 / 6; right labels are changed by 0 and 0.2.
CASES = (unseen("v0", [0, 1, 1, 1, 1, 0], 1.0), unseen("v1", [0, 1, 1, 0, 0, 0], 0.8))


def noisy(*corrected_dice: float):
    return [{"score": 0.7, "corrected_dice": value} for value in corrected_dice]


def test_what_changes_in_noisy_labels_is_held_against_what_changes_in_right_ones(tmp_path):
    found = prospect(noisy(0.6, 0.8), CASES)
    assert (found.labels, found.changed, found.network, found.spoiled) == pytest.approx((0.7, 0.3, 5 / 6, 0.1))
    assert found.helps is True  # 0.2 of the 0.3 are right, if 0.1 are wrong here as well
    assert found.sentence == (
        "Corrections can be expected to help: they change the noisy labels by 0.300 (1 - Dice) and right ones, of "
        "unseen validation cases (2), by 0.100. Estimated Dice of the noisy labels 0.700, Dice of the network on the "
        "unseen cases 0.833."
    )
    assert found.as_dict()["helps"] is True and found.as_dict()["unseen"] == ["v0", "v1"]
    refuse_corrections(found, tmp_path)


@pytest.mark.parametrize("dice", [0.85, 1.0])
def test_as_many_wrong_changes_as_right_ones_are_refused(dice):
    found = prospect(noisy(dice), CASES)
    assert found.helps is False
    with pytest.raises(InputError, match=r"new_labels: no corrected labels written. Corrections cannot .* by 0.100"):
        refuse_corrections(found, Path("new_labels"))


def test_without_unseen_right_labels_nothing_is_claimed(tmp_path):
    found = prospect(noisy(0.1), [])
    assert found.network is found.spoiled is found.helps is None
    assert "unknown: the fold has no validation case that did not train" in found.sentence
    refuse_corrections(found, tmp_path)


def test_validation_cases_that_trained_prove_nothing():
    """With fold all the clean cases train and validate."""
    trainer = SimpleNamespace(roles=SimpleNamespace(validation=("c0", "v0")), training_cases=("c0", "n0"))
    assert unseen_cases(trainer) == ("v0",)
