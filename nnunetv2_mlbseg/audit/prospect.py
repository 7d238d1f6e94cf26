"""Will corrections mend these labels or spoil them? From what any user has: validation cases whose labels are right.

What a correction changes in a label that is right is wrong. Two questions follow from that, one about each label and
one about all of them:

- Would a right label change as much? A label whose correction changes no more than those of right labels do has nothing
  against it but what the network gets wrong everywhere; it stays as it is.
- If corrections make as many wrong changes in noisy labels as in right ones, right changes outnumber them only where
  noisy labels change more than twice as much. How good network and labels are does not decide: a network worse than
  the labels still finds a missing slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from nnunetv2_mlbseg.audit.one_case import CaseAudit
from noise_synthesis.safe_io.errors import InputError

INSIST = "--correct-anyway"

FALSE_ALARMS = 0.1
"""Of right labels, this share at most is corrected, if there are enough of them to tell."""


@dataclass(frozen=True)
class RightLabels:
    """What corrections change in labels that are right, of cases that the network has not trained on.

    Attributes:
        changes: By case: 1 - the Dice of the label before and after a correction.
        network: Dice of the network's label and the right one, mean over the cases; None without any.
    """

    changes: Mapping[str, float]
    network: float | None

    @classmethod
    def of(cls, unseen: Iterable[CaseAudit]) -> RightLabels:
        """From the audits of such cases, made like all others."""
        changes, network = {}, []
        for audited in unseen:
            changes[audited.case] = audited.change
            network.append(audited.groups.mean_dice(audited.network, audited.label.classes))
        return cls(changes, fmean(network) if network else None)

    def p_value(self, change: float) -> float | None:
        """Share of right labels that change as much or more, this one counted among them; None without any.

        The conformal p-value (Bates et al. 2023, Annals of Statistics 51, 149-178): a right label of an unseen case has
        one of t or less with a probability of at most t.
        """
        as_much = sum(1 for other in self.changes.values() if other >= change)
        return (1 + as_much) / (1 + len(self.changes)) if self.changes else None

    def stands_out(self, change: float) -> bool:
        """Whether a label changes more than right ones: a p-value of :data:`FALSE_ALARMS` or less.

        Of few right labels it has to change more than every one. Without any nothing is known, and every label does.
        """
        p = self.p_value(change)
        return p is None or p <= max(FALSE_ALARMS, 1 / (1 + len(self.changes)))

    def judged(self, audited: CaseAudit, correct_anyway: bool = False) -> CaseAudit:
        """The audit with its p-value, and without its correction where right labels change as much."""
        corrects = correct_anyway or self.stands_out(audited.change)
        proposal = audited.proposal if corrects else audited.label.classes
        return replace(audited, p_value=self.p_value(audited.change), proposal=proposal)


@dataclass(frozen=True)
class Prospect:
    """What corrections can be expected to do: means over cases, all from 0 to 1.

    Attributes:
        labels: Estimated Dice of the noisy labels, their score.
        changed: 1 - the Dice of a noisy label before and after its correction, were all of them corrected.
        standing_out: Share of the noisy labels that change more than right ones do.
        right: The same changes in labels that are right.
        not_judged: Names of classes that no clean training case shows; the network has them from the noisy labels.
    """

    labels: float
    changed: float
    standing_out: float
    right: RightLabels
    not_judged: tuple[str, ...] = ()

    @property
    def spoiled(self) -> float | None:
        """1 - the Dice of a right label before and after a correction; None without such cases."""
        return fmean(self.right.changes.values()) if self.right.changes else None

    @property
    def helps(self) -> bool | None:
        """Whether more right than wrong changes can be expected; None where it is unknown."""
        return None if self.spoiled is None else self.changed > 2 * self.spoiled

    @property
    def sentence(self) -> str:
        """What to think of the corrections, in one line."""
        if not self.not_judged:
            return self._expectation
        return f"{self._expectation} Not judged, as no clean training case shows it: {', '.join(self.not_judged)}."

    @property
    def _expectation(self) -> str:
        if self.right.network is None or self.spoiled is None:
            return (
                "Whether corrections help is unknown: the fold has no validation case that did not train. Look at each."
            )
        return (
            f"Corrections {'can be expected to help' if self.helps else 'cannot be trusted'}: they change the noisy "
            f"labels by {self.changed:.3f} (1 - Dice) and right ones, of unseen validation cases "
            f"({len(self.right.changes)}), by {self.spoiled:.3f}. {100 * self.standing_out:.0f}% of the noisy labels "
            f"change more than right ones do. Estimated Dice of the noisy labels {self.labels:.3f}, "
            f"Dice of the network on the unseen cases {self.right.network:.3f}."
        )

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        facts = {"labels": self.labels, "changed": self.changed, "standing_out": self.standing_out}
        right = {"spoiled": self.spoiled, "unseen": dict(self.right.changes), "network": self.right.network}
        whole = {"helps": self.helps, "not_judged": list(self.not_judged), "sentence": self.sentence}
        return {**facts, **right, **whole}


def prospect(noisy: Sequence[Mapping[str, Any]], right: RightLabels, not_judged: tuple[str, ...] = ()) -> Prospect:
    """Hold what the corrections change in noisy labels against what they change in right ones.

    Args:
        noisy: The rows of the noisy cases, with ``score`` and ``change``.
        not_judged: See :class:`Prospect`.
    """
    labels, changed = (fmean(row[key] for row in noisy) for key in ("score", "change"))
    standing_out = fmean(right.stands_out(row["change"]) for row in noisy)
    return Prospect(labels, changed, standing_out, right, not_judged)


def refuse_corrections(found: Prospect, folder: Path) -> None:
    """Stop where corrections cannot be trusted.

    Raises:
        InputError: it says why.
    """
    if found.helps is False:
        raise InputError(f"{folder}: no corrected labels written. {found.sentence} Write them with {INSIST}")
