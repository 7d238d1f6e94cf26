"""Checkpoints of a training: what of it goes into one, and how it goes on from one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.progress.run_state import RunState
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.run import Run
from nnunetv2_mlbseg.training.stages import Stage
from nnunetv2_mlbseg.training.step_guard import refuse_non_finite


@dataclass(frozen=True)
class Saving:
    """Writes and reads both networks and all the state that ``--c`` needs, beside nnU-Net's own fields.

    Attributes:
        own_network: Whether the network is another one than that of the plans.
        where: Dataset and fold, for messages.
        report: Takes lines for the log file.
    """

    run: Run
    learning: Learning
    own_network: bool
    where: str
    report: Callable[[str], None]

    def write(self, of_nnunet: Mapping[str, Any], stage: Stage, filename: str) -> None:
        """Write a checkpoint whole.

        Raises:
            TrainingStoppedError: a weight is NaN or infinite; the file of before stays.
        """
        learning = self.learning
        networks = {"student": plain_network(learning.student), "teacher": learning.teacher.network}
        refuse_non_finite(networks | ({"companions": learning.heads} if len(learning.heads) else {}))
        state = self.run.state(stage, learning, self.own_network)
        for_inference = learning.settings.inference_network
        checkpoint.write(checkpoint.packed(of_nnunet, networks, for_inference, state), filename)

    def read(self, found: Mapping[str, Any] | str, device: torch.device) -> Mapping[str, Any]:
        """A checkpoint of this training's trainer and cases.

        Raises:
            InputError: the file is missing, damaged or from another trainer; or the cases have other roles now.
        """
        read = checkpoint.read(found, device) if isinstance(found, str) else found
        roles = self.run.roles.as_dict()
        checkpoint.check_roles(roles, RunState.unpacked(read["mlbseg"]).roles, self.where)
        return read

    def take(self, found: Mapping[str, Any], epoch: int) -> None:
        """Go on exactly where a checkpoint was written; nnU-Net's own fields are taken already."""
        state = RunState.unpacked(found["mlbseg"])
        self.learning.take(found, state)
        stage = self.run.stages.at(epoch)
        self.report(f"Continuing in epoch {epoch}, stage {stage.name}, EMA step {state.ema_step}")
        self.run.take(state)
