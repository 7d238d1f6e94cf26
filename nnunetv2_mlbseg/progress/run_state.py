"""All that a checkpoint holds beyond nnU-Net's own fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from nnunetv2_mlbseg.progress.epoch import PartialEpoch


@dataclass(frozen=True)
class RunState:
    """How far a training is, in plain types and tensors: what ``--c`` goes on from, beside the networks.

    Attributes:
        config: The settings.
        roles: Which case has which role.
        stage: The name of the stage.
        own_network: Whether the network is another one than that of the plans.
        ema_step: Updates of the mean teacher so far.
        epoch_log: Values by quantity and epoch.
        generated_by: Where the labels come from that take the place of preprocessed ones; None before there are any.
        random_state: The global random generators.
        partial_epoch: Of an epoch that was stopped between two iterations, else None.
        generators: The training's own random generators.
        cpu_bfloat16: Whether passes on the CPU are in bfloat16.
        heads: Parameters that a method has beside the network.
        method: What the method remembers, under names of its own.
    """

    config: dict[str, Any]
    roles: dict[str, Any]
    stage: str
    own_network: bool
    ema_step: int
    epoch_log: dict[str, list[Any]]
    generated_by: str | None
    random_state: dict[str, Any]
    partial_epoch: PartialEpoch | None
    generators: dict[str, Tensor]
    cpu_bfloat16: bool = False
    heads: dict[str, Tensor] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> dict[str, Any]:
        """One dictionary, with the method's own names beside the others; no heads or no bfloat16, no key."""
        own = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "method"}
        own["partial_epoch"] = None if self.partial_epoch is None else self.partial_epoch.state()
        for optional in ("heads", "cpu_bfloat16"):
            if not own[optional]:
                del own[optional]
        return {**own, **self.method}

    @classmethod
    def unpacked(cls, stored: Mapping[str, Any]) -> RunState:
        """Undo :meth:`packed`; what an earlier version did not store is None, false or empty."""
        names = {one.name for one in dataclasses.fields(cls)} - {"method"}
        own = {name: value for name, value in stored.items() if name in names}
        partial = own.get("partial_epoch")
        own["partial_epoch"] = None if partial is None else PartialEpoch.from_state(partial)
        return cls(**own, method={name: value for name, value in stored.items() if name not in names})
