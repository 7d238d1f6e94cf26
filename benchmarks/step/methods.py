"""A training step of every trainer beside nnU-Net's own, in one run: CPU time and memory.

    python benchmarks/step/methods.py

A step sees N clean images and as many imperfect ones as the trainer draws by default. Steps take turns, so that a busy
machine slows all of them; the smallest CPU time of some rounds counts, on one thread. Memory is the peak of all tensors
that a step makes or changes. What a method does between epochs is left out, and so are trainers whose steps are
nnU-Net's own, or whose network is another one. Of methods that begin with a pretraining and go on with nnU-Net's steps
the pretraining is measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from counted_steps import LiveBytes
from scene import Scene, Sizes, network

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.card import card_of
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.stages import Stage, Stages
from nnunetv2_mlbseg.training.task import Task

ROLES = FoldRoles(clean=("c0",), noisy=("n0",), unlabeled=("u0",), validation=())
MIDDLE = Moment(500, 500, 1000)
OTHER_NETWORK = "nnUNetTrainerMLBSegUNetPlusPlus"


class Steps:
    """Networks, batches and steps of one size."""

    def __init__(self, images: int, size: int, bfloat16: bool):
        self.sizes = Sizes(images=images, size=size, deep=True)
        self.scene, self.bfloat16 = Scene(self.sizes), bfloat16

    def all(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Name, counted cost and step of every trainer, nnU-Net's own first."""
        yield "nnU-Net", "1", self._stock()
        for name in mlbseg_trainers.__all__:
            trainer: Any = getattr(mlbseg_trainers, name)
            settings = resolve(trainer.method.Settings, {"seed": 1}, None, trainer.variant, trainer.variant_defaults)
            method = trainer.method_of(settings)
            stages = method.stages(settings, self.sizes.images, ROLES)
            own = [stage for stage in stages if stage.by_method]
            if own and name != OTHER_NETWORK:
                yield name, f"{card_of(trainer).cost:.1f}", self._step(settings, method, stages, own[-1])

    def _stock(self) -> Callable[[], Any]:
        student = network(self.sizes)
        trainer = SimpleNamespace(device=torch.device("cpu"), network=student, loss=self.scene.loss, grad_scaler=None)
        trainer.optimizer = torch.optim.SGD(student.parameters(), 1e-3, momentum=0.99, nesterov=True)
        if not self.bfloat16:
            return lambda: nnUNetTrainer.train_step(trainer, self.scene.batch)
        return self.scene.in_bfloat16()["stock"]

    def _step(self, settings: Any, method: Any, stages: tuple[Stage, ...], stage: Stage) -> Callable[[], Any]:
        student = network(self.sizes)
        task = Task(1, self.sizes.classes, 2, noisy=64, unlabeled=64, ignore_label=None, network=student)
        heads = method.modules(settings, task)
        parameters = [*student.parameters(), *heads.parameters()]
        cases: Any = SimpleNamespace(roles=ROLES)
        learning = Learning(
            Course(settings, method, cases, Stages(stages), Processes()),
            task,
            student=student,
            heads=heads,
            optimizer=torch.optim.SGD(parameters, 1e-3, momentum=0.99, nesterov=True),
            grad_scaler=None,
            loss=self.scene.loss,
            device=torch.device("cpu"),
        )
        learning.passes.bfloat16 = self.bfloat16
        batch = self.scene.drawn("", stage.main.images)
        if stage.imperfect is not None:
            batch |= self.scene.drawn("imperfect_", stage.imperfect.images)
        return lambda: learning.iteration(stage, batch, MIDDLE, lambda _: {})


def seconds_in_turns(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The smallest CPU time of every step; the first round, which makes what steps keep, does not count."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            found[name].append(time.process_time() - start)
    return {name: min(seconds[1:]) for name, seconds in found.items()}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainers", nargs="*", help="some of them; all by default")
    parser.add_argument("--images", type=int, default=10, help="clean images in a step")
    parser.add_argument("--size", type=int, default=96, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true", help="passes in bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps, costs, mebibytes = {}, {}, {}
    for name, cost, step in Steps(options.images, options.size, options.bfloat16).all():
        if not options.trainers or name in ("nnU-Net", *options.trainers):
            steps[name], costs[name] = step, cost
    seconds = seconds_in_turns(steps, options.rounds)
    for name, step in steps.items():
        with LiveBytes() as live:
            step()
        mebibytes[name] = live.peak / 2**20
    print(f"{'trainer':36}{'seconds':>10}{'x nnU-Net':>10}{'counted':>10}{'MiB':>8}")
    for name, value in seconds.items():
        print(f"{name:36}{value:10.3f}{value / seconds['nnU-Net']:10.2f}{costs[name]:>10}{mebibytes[name]:8.0f}")


if __name__ == "__main__":
    main()
