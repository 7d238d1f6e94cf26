"""How far a training is, while it runs: its epoch and stage, its log, its random draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.cases.datasets import open_dataset
from nnunetv2_mlbseg.progress.epoch import Epoch, EpochMeans, PartialEpoch
from nnunetv2_mlbseg.progress.epoch_log import EpochLog
from nnunetv2_mlbseg.progress.epoch_plot import plot
from nnunetv2_mlbseg.progress.run_state import RunState
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.stages import Stage
from nnunetv2_mlbseg.training.step_guard import Patience

Report = Callable[[str], None]


class Run:
    """The course of a training. nnU-Net counts the epochs; their number is handed in.

    Args:
        report: Takes lines for the log file.
    """

    def __init__(self, course: Course, report: Report):
        self.method, self.stages = course.method, course.stages
        self.settings, self.processes = course.settings, course.processes
        self.roles, self.report = course.cases.roles, report
        self.log, self.patience = EpochLog(course.method.logged()), Patience()
        self.epoch = Epoch(0)
        self.partial: PartialEpoch | None = None
        """Set in a checkpoint that SIGTERM asked for, and after reading one until its epoch is complete."""
        self.labels_from: str | None = None
        """The fingerprint of what generated, corrected or true labels came from."""
        self.bfloat16: bool | None = None
        """Whether passes on the CPU are in bfloat16; None before that is settled."""
        self.loaded: tuple[object, ...] | None = None
        """The loaders that there are, as :attr:`Stage.loaders` tells them apart."""
        self._pending: Mapping[str, Any] | None = None

    def begin(self, number: int, folder: str) -> Epoch:
        """Begin an epoch, or go on with the one that was stopped; random draws go on where they were.

        Args:
            folder: nnU-Net's preprocessed cases, whose slices make a pass.
        """
        self.epoch = Epoch(self.settings.iterations_per_epoch or self._one_pass(number, folder), self.partial)
        self.partial = None
        self._settle_random_state(number)
        return self.epoch

    def _one_pass(self, number: int, folder: str) -> int:
        """Iterations of a pass over the cases that pace the stage."""
        return self.stages.one_pass(self.stages.at(number), self.roles, lambda cases: open_dataset(folder, cases))

    def labels_in_use(self, number: int) -> bool:
        """Whether an epoch goes on with labels that earlier iterations have drawn."""
        return number > self.stages.loaders_began(number) or self.partial is not None

    def moment(self, number: int) -> Moment:
        """How far the stage is."""
        stage, iterations = self.stages.at(number), self.epoch.iterations
        began = (number - self.stages.began(number)) * iterations
        of_training = (number + self.epoch.done / iterations) / self.stages.epochs
        return Moment(began, began + self.epoch.done, stage.epochs * iterations, stage.name, of_training)

    def seed_of(self, number: int) -> tuple[int, ...] | None:
        """Numbers that differ between epochs and between processes, which must not draw the same cases."""
        if self.settings.seed is None:
            return None
        own = () if self.processes.is_first else (self.processes.rank,)
        return (self.settings.seed, number, *own)

    def _settle_random_state(self, number: int) -> None:
        """The first process goes on as its checkpoint says; the others begin every epoch from seeds of their own."""
        seeds = random_state.worker_seeds(self.seed_of(number), 1)
        if self.processes.is_first:
            if self._pending is not None:
                random_state.restore(self._pending)
        elif seeds is not None:
            random_state.seed_everything(seeds[0])
        self._pending = None

    def enter(self, number: int, learning: Learning) -> None:
        """Begin the steps of an epoch: all processes draw on alike, and the log says what begins."""
        learning.agree_on_draws()
        before, stage = self.epoch.before.iterations, self.stages.at(number)
        done = f", continuing after iteration {before}" if before else ""
        more = learning.method.epoch_line(self.moment(number)) if stage.by_method else stage.labels_line
        self.report(f"Stage: {stage.name}, {self.epoch.iterations} iterations{done}{more}")

    def summarize(self) -> EpochMeans:
        """Fetch the epoch's values from the device at once."""
        means = self.epoch.means(self.processes)
        if means.forgotten:
            self.report(
                f"The first {means.forgotten} iterations ran under another configuration; the epoch's values are means "
                f"over the other {means.steps}"
            )
        return means

    def record(self, number: int, means: EpochMeans) -> None:
        """Log an epoch, and judge it.

        Raises:
            TrainingStoppedError: too many of its steps were left out.
        """
        self.log.record(number, means.values)
        for line in self.log.lines(number):
            self.report(line)
        self.patience.judge(number, means.skipped, means.steps)

    def publish(self, folder: Path, trainer: str) -> None:
        """Write the curves as a picture and as JSON."""
        begins = self.stages.renamed
        plot(self.log, folder / "mlbseg_progress.png", begins)
        about = {"trainer": trainer, "warmup_epochs": min(begins, default=0), **self.method.about(self.settings)}
        self.log.write(folder / "mlbseg_log.json", about | {"config": self.settings.as_dict()})

    def state(self, stage: Stage, learning: Learning, own_network: bool) -> RunState:
        """For a checkpoint, with what ``learning`` remembers."""
        return RunState(
            config=self.settings.as_dict(),
            roles=self.roles.as_dict(),
            stage=stage.name,
            own_network=own_network,
            ema_step=learning.teacher.step,
            epoch_log=self.log.state(),
            generated_by=self.labels_from,
            random_state=(self.partial and self.partial.random_state) or random_state.capture(),
            partial_epoch=self.partial,
            generators=learning.passes.generators.states(),
            cpu_bfloat16=bool(self.bfloat16),
            heads=learning.heads.state_dict(),
            method=learning.method.state(),
        )

    def take(self, state: RunState) -> None:
        """Go on from a checkpoint, and say which settings are other ones now.

        The global random state waits until the epoch begins: building the loaders draws.
        """
        self.log = EpochLog(self.log.quantities, state.epoch_log)
        self.labels_from, self.partial, self._pending = state.generated_by, state.partial_epoch, state.random_state
        self.bfloat16 = state.cpu_bfloat16
        now, then = self.settings.as_dict(), state.config
        changed = {key: (value, then.get(key)) for key, value in now.items() if value != then.get(key)}
        if changed:
            self.report(f"Configuration changed since the checkpoint (now, then): {changed}")
