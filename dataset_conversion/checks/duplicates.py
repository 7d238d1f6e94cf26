"""The same scan or the same label under two names: harmless on one side of a fold, a leak across."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dataset_conversion.checks.cases import CaseFacts
from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.supervision.files import name_some, readable_folds

# Measured on 80 LA and 36 PROMISE12 scans: the one pair known to be a duplicate reaches 0.97 and 0.99, the next best
# pair 0.68 and 0.88.
SAME_IMAGE_CORRELATION = 0.9
SAME_LABEL_DICE = 0.95
_BLOCK = 512


def duplicates(facts: Sequence[CaseFacts], splits: Any) -> Iterator[Finding]:
    """Name cases with identical images, equal labels, or one scan that was cropped or scaled in two ways.

    The same image is a problem if a fold trains on one and validates on another, else a warning. Equal labels on
    different images are no leak, and right where labels are drawn by rule (boxes of one size): one warning for all of
    them, since a label may have been saved under a wrong name. The true labels behind simulated noise count as labels.
    Labels of one value only (empty, or all ignored) are nobody's duplicates.
    """
    named: set[frozenset[str]] = set()
    for group in _groups((case.name, case.image_hash) for case in facts):
        named |= {frozenset(pair) for pair in combinations(group, 2)}
        yield _finding("duplicate image", f"the same image under different names: {', '.join(group)}", group, splits)
    for first, second, correlation, dice in _look_alikes(facts):
        if frozenset((first, second)) not in named:
            message = (
                f"the same scan, cropped or scaled differently: {first}, {second} (around the label their images "
                f"correlate at {correlation:.2f}, their labels overlap at {dice:.2f})"
            )
            named.add(frozenset((first, second)))
            yield _finding("duplicate scan", message, (first, second), splits)
    yield from _equal_labels(facts, named)


def _groups(digests: Iterable[tuple[str, str | None]]) -> list[tuple[str, ...]]:
    """The cases that share a digest, for each that several have."""
    owners: dict[str, set[str]] = {}
    for case, digest in digests:
        if digest is not None:
            owners.setdefault(digest, set()).add(case)
    return sorted({tuple(sorted(names)) for names in owners.values() if len(names) > 1})


def _equal_labels(facts: Sequence[CaseFacts], named: Collection[frozenset[str]]) -> Iterator[Finding]:
    """One finding for all equal labels but those of cases that were ``named`` as a pair already."""
    groups = _groups((case.name, digest) for case in facts for digest in case.label_hashes)
    equal = [group for group in groups if any(frozenset(pair) not in named for pair in combinations(group, 2))]
    if equal:
        cases = sorted({case for group in equal for case in group})
        yield Finding(
            "equal labels",
            WARNING,
            f"{len(cases)} cases have the label of another case, on another image: {name_some(cases)}; right where "
            "labels are drawn by rule, such as boxes of one size, else one was saved under a wrong name",
            tuple(cases),
        )


def _look_alikes(facts: Sequence[CaseFacts]) -> Iterator[tuple[str, str, float, float]]:
    """Pairs whose fingerprints agree; images first, by matrix products of bounded size, then labels."""
    known = [case for case in facts if case.fingerprint is not None]
    prints = [case.fingerprint for case in known if case.fingerprint is not None]
    if len(prints) < 2:
        return
    images = np.stack([one.image for one in prints])
    for start in range(0, len(prints), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.float32)
        for other in range(start, len(prints), _BLOCK):
            columns = images[other : other + _BLOCK].astype(np.float32)
            alike = np.argwhere(block @ columns.T / columns.shape[1] >= SAME_IMAGE_CORRELATION)
            for i, j in ((start + int(row), other + int(column)) for row, column in alike):
                dice = prints[i].label_dice(prints[j])
                if i < j and dice >= SAME_LABEL_DICE:
                    yield known[i].name, known[j].name, prints[i].image_correlation(prints[j]), dice


def _finding(kind: str, message: str, group: tuple[str, ...], splits: Any) -> Finding:
    for number, fold in enumerate(readable_folds(splits)):
        members = set(group)
        if members & set(fold["train"]) and members & set(fold["val"]):
            return Finding(kind, PROBLEM, f"{message}; fold {number} trains on one and validates on another", group)
    return Finding(kind, WARNING, f"{message}; keep them on one side of every fold", group)
