"""What networks and labels have in common, so that it counts once.

Bayes' rule takes the networks' word and a label for independent, given the true class. They are not: both know where a
structure is. Counted twice, that makes structures grow; and where a label knows nothing, in a slice that somebody
forgot, there is nothing to take off.

A trained network tells how much there is. So both together are held to that: among the voxels that the networks call
class k, Bayes' rule shall find class t as often as the networks do, in the mean over the noisy cases. Within each such
set the labels decide which voxels they are. A factor for every pair (k, t) does it, fitted by turns (iterative
proportional fitting, Deming and Stephan 1940).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.bayes import log_probabilities, words
from nnunetv2_mlbseg.maths.binned import binned

MOST_VOXELS, MOST_NUMBERS = 2000, 4_000_000
"""Looked at in every case, of every class that the networks call voxels; and the numbers that are kept of all cases."""

LEAST_VOXELS = 20

ROUNDS = 100
"""At most, of the fit."""

SETTLED = 1e-3
"""Where no factor moves further on the scale of logarithms, the fit is done."""


class CommonKnowledge:
    """Collects voxels of cases, of every kind of labels by itself. Some of every class stand for all of a case.

    Args:
        cases: That are looked at.
        kinds: Of labels: those under audit, then the further ones.
        groups, classes: See :class:`~nnunetv2_mlbseg.audit.label_groups.LabelGroups`.
    """

    def __init__(self, cases: int, kinds: int, groups: int, classes: int):
        self.classes = classes
        self.most = max(LEAST_VOXELS, min(MOST_VOXELS, MOST_NUMBERS // (max(cases, 1) * classes**2)))
        self.generator = torch.Generator().manual_seed(0)
        self.seen: list[list[list[tuple[Tensor, Tensor]]]] = [[[] for _ in range(groups)] for _ in range(kinds)]

    @torch.no_grad()
    def add_(self, kind: int, networks: Tensor, given: Tensor, levels: Tensor, confusion: Tensor) -> None:
        """Look at a label of a case.

        Args:
            kind: Of the label.
            networks: (G, C, *S), probabilities.
            given: (G, *S) int64, negative = no label.
            levels: (G, *S) int64, how deep a voxel lies within the label.
            confusion: (G, C, C, D), how labels of its source err.
        """
        for kept, *one in zip(self.seen[kind], networks, given, levels, confusion, strict=True):
            kept.append(self._some(*one))

    def tables(self) -> list[Tensor]:
        """Of every kind the logarithm of the factor of class t where the networks call a voxel k: (G, C, C), [g, k, t].

        0 where no case has such a label.
        """
        return [torch.stack([self._table(kept) for kept in groups]) for groups in self.seen]

    def _table(self, kept: list[tuple[Tensor, Tensor]]) -> Tensor:
        return fitted(*map(torch.cat, zip(*kept, strict=True))) if kept else torch.zeros(self.classes, self.classes)

    def _some(self, networks: Tensor, given: Tensor, levels: Tensor, confusion: Tensor) -> tuple[Tensor, Tensor]:
        """The networks' and the label's words at voxels of every class that the networks call them, (N, C) each."""
        called = torch.where(given >= 0, networks.argmax(0), -1).flatten()
        chosen = []
        for k in range(self.classes):
            places = (called == k).nonzero().squeeze(1)
            if len(places) > self.most:
                places = places[torch.randint(len(places), (self.most,), generator=self.generator)]
            chosen.append(places)
        there = torch.cat(chosen)
        said = words(given.flatten()[there], levels.flatten()[there], confusion)
        return networks.flatten(1)[:, there].T, said.T


@torch.no_grad()
def fitted(networks: Tensor, said: Tensor) -> Tensor:
    """The factors by which Bayes' rule finds as much of every class as the networks do, (C, C), 0 for t = k; see above.

    Args:
        networks: (N, C), the networks' probabilities of some voxels.
        said: (N, C), what the label says for every class, the logarithm of its probability.
    """
    called, classes = networks.argmax(1), networks.shape[1]
    scores, table = log_probabilities(networks) + said, networks.new_zeros(classes, classes)
    wanted = _sums(networks, called)
    for _ in range(ROUNDS):
        found = _sums((scores + table[called]).softmax(1), called)
        step = ((wanted + 1) / (found + 1)).log()
        table = table + step
        if step.abs().max() < SETTLED:
            break
    return table - table.diagonal().unsqueeze(1)


def factors(networks: Tensor, table: Tensor) -> Tensor:
    """The logarithm of the factor of every class at every voxel: (C, *S) probabilities and (C, C) to (C, *S)."""
    return table[networks.argmax(0)].movedim(-1, 0)


def _sums(rows: Tensor, called: Tensor) -> Tensor:
    """(N, C) summed over the voxels of every class k: (C, C)."""
    return binned(rows.T.unsqueeze(0), called.unsqueeze(0), rows.shape[1])[0].T
