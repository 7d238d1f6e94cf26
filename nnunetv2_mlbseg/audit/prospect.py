"""Will corrections mend these labels or spoil them? From what any user has: validation cases whose labels are right.

What a correction changes in a label that is right is wrong. If it makes as many wrong changes in a noisy label, the
right ones outnumber them only where it changes noisy labels more than twice as much as right ones. How good network
and labels are does not decide: a network worse than the labels still finds a missing slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nnunetv2_mlbseg.audit.case_audit import CaseAudit
from nnunetv2_mlbseg.metrics import mean_dice
from noise_synthesis.errors import InputError

if TYPE_CHECKING:
    from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg

INSIST = "--correct-anyway"


@dataclass(frozen=True)
class Prospect:
    """What corrections can be expected to do: means over cases, all from 0 to 1.

    Attributes:
        labels: Estimated Dice of the noisy labels, their score.
        changed: 1 - the Dice of a noisy label before and after its correction.
        unseen: The cases below: their labels are right, and the network has not trained on them.
        network: Dice of the network's label and the right one; None without such cases.
        spoiled: 1 - the Dice of a right label before and after a correction; None without such cases.
    """

    labels: float
    changed: float
    unseen: tuple[str, ...]
    network: float | None
    spoiled: float | None

    @property
    def helps(self) -> bool | None:
        """Whether more right than wrong changes can be expected; None where it is unknown."""
        return None if self.spoiled is None else self.changed > 2 * self.spoiled

    @property
    def sentence(self) -> str:
        """What to think of the corrections, in one line."""
        if self.network is None or self.spoiled is None:
            return (
                "Whether corrections help is unknown: the fold has no validation case that did not train. Look at each."
            )
        return (
            f"Corrections {'can be expected to help' if self.helps else 'cannot be trusted'}: they change the noisy "
            f"labels by {self.changed:.3f} (1 - Dice) and right ones, of unseen validation cases ({len(self.unseen)}), "
            f"by {self.spoiled:.3f}. Estimated Dice of the noisy labels {self.labels:.3f}, Dice of the network on the "
            f"unseen cases {self.network:.3f}."
        )

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        facts = {**vars(self), "unseen": list(self.unseen)}
        return {**facts, "helps": self.helps, "sentence": self.sentence}


def prospect(noisy: Sequence[Mapping[str, Any]], unseen: Iterable[CaseAudit]) -> Prospect:
    """Hold what the corrections change in noisy labels against what they change in right ones.

    Args:
        noisy: The rows of the noisy cases, with ``score`` and ``corrected_dice``.
        unseen: The audits of cases with right labels that the network has not trained on, made like all others.
    """
    labels, changed = (fmean(row[key] for row in noisy) for key in ("score", "corrected_dice"))
    cases, network, spoiled = [], [], []
    for audited in unseen:
        cases.append(audited.case)
        network.append(mean_dice(audited.network.numpy(), audited.label.classes.numpy(), len(audited.probabilities)))
        spoiled.append(1 - audited.corrected_dice)
    found = (fmean(network), fmean(spoiled)) if cases else (None, None)
    return Prospect(labels, 1 - changed, tuple(cases), *found)


def unseen_cases(trainer: nnUNetTrainerMLBSeg) -> tuple[str, ...]:
    """The validation cases of the fold that did not train: none where the clean cases validate (fold all)."""
    return tuple(case for case in trainer.roles.validation if case not in trainer.training_cases)


def refuse_corrections(found: Prospect, folder: Path) -> None:
    """Stop where corrections cannot be trusted.

    Raises:
        InputError: it says why.
    """
    if found.helps is False:
        raise InputError(f"{folder}: no corrected labels written. {found.sentence} Write them with {INSIST}")
