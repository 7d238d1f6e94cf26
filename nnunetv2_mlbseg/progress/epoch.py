"""An epoch in progress: what its iterations returned, and where it goes on if the training is stopped in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnunetv2_mlbseg.progress.values import as_array, epoch_means
from nnunetv2_mlbseg.runtime.processes import Processes


@dataclass
class PartialEpoch:
    """An epoch that was stopped between two iterations.

    ``outputs``: what the iterations done so far returned, scalars and vectors by name; of shared batches the values
    of the whole. ``random_state``: where the epoch's validation began, if it had begun; None if training goes on.
    ``forgotten``: iterations whose outputs are left out, since those that followed them have others.
    """

    outputs: list[dict[str, Any]]
    random_state: dict[str, Any] | None = None
    forgotten: int = 0

    @property
    def iterations(self) -> int:
        """Those done so far."""
        return len(self.outputs) + self.forgotten

    def followed_by(self, outputs: Sequence[dict[str, Any]]) -> PartialEpoch:
        """The epoch after further iterations; under a changed configuration the outputs of before may not fit."""
        if self.outputs and outputs and _shapes(self.outputs[0]) != _shapes(outputs[0]):
            return PartialEpoch(list(outputs), forgotten=self.iterations)
        return PartialEpoch([*self.outputs, *outputs], forgotten=self.forgotten)

    def state(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        names = self.outputs[0] if self.outputs else {}
        columns = {name: as_array([output[name] for output in self.outputs]).tolist() for name in names}
        return {"iterations": self.iterations, "outputs": columns}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PartialEpoch:
        """Undo :meth:`state`."""
        columns = state["outputs"]
        rows = len(next(iter(columns.values()), []))
        outputs = [{name: columns[name][i] for name in columns} for i in range(rows)]
        return cls(outputs, forgotten=state["iterations"] - rows)


def _shapes(output: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(np.shape(value)) for name, value in output.items()}


class Epoch:
    """An epoch from its first iteration, or the one it goes on with, to its last.

    Args:
        iterations: Those of the whole epoch.
        before: What was done of it before the training was stopped, if it was.
    """

    def __init__(self, iterations: int, before: PartialEpoch | None = None):
        self.iterations = iterations
        self.before = before or PartialEpoch([])
        self.outputs: list[dict[str, Any]] = []
        """Of this process; those of before are of the whole batch."""
        self.validation_began: dict[str, Any] | None = None
        """The random state at the begin of the validation; None before it."""

    @property
    def left(self) -> int:
        """The iterations that were not done before."""
        return max(0, self.iterations - self.before.iterations)

    @property
    def done(self) -> int:
        """The iterations done so far, those of before included."""
        return self.before.iterations + len(self.outputs)

    def add_(self, found: dict[str, Any]) -> None:
        """Take note of what an iteration returned."""
        self.outputs.append(found)

    def partial(self) -> PartialEpoch:
        """What a checkpoint keeps of it."""
        return replace(self.before.followed_by(self.outputs), random_state=self.validation_began)

    def means(self, processes: Processes) -> EpochMeans:
        """Fetch everything from the device at once; of shared batches the values of the whole."""
        whole = self.before.followed_by(processes.add_up(self.outputs))
        return EpochMeans(epoch_means(whole.outputs), len(whole.outputs), whole.forgotten)


@dataclass(frozen=True)
class EpochMeans:
    """What an epoch comes to.

    Attributes:
        values: The mean of every quantity.
        steps: The iterations they are means over.
        forgotten: Iterations under another configuration, which are left out.
    """

    values: dict[str, Any]
    steps: int
    forgotten: int

    @property
    def skipped(self) -> int:
        """How many steps were left out because loss or gradient were not finite."""
        return round(self.values["skipped"] * self.steps)
