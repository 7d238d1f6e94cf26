"""A training step of every trainer beside nnU-Net's own, in one run: CPU time and memory.

    python benchmarks/step/methods.py
    python benchmarks/step/methods.py --dims 3 --images 2 --size 48

A step sees N clean images and as many imperfect ones as the trainer draws by default. Steps take turns, so that a busy
machine slows all of them; the smallest CPU time of some rounds counts, on one thread. Memory is the peak of all tensors
that a step makes or changes. What a method does between epochs is left out, and so are trainers whose steps are
nnU-Net's own, or whose network is another one. Of methods that begin with a pretraining and go on with nnU-Net's steps
the pretraining is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from clock import in_turns
from scene import Scene, Sizes, network

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from counted_steps import LiveBytes

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.card import card_of
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.stages import Stage

ROLES = FoldRoles(clean=("c0",), noisy=("n0",), unlabeled=("u0",), validation=())
MIDDLE = Moment(500, 500, 1000)
OTHER_NETWORK = "nnUNetTrainerMLBSegUNetPlusPlus"


def trainers_steps(scene: Scene, chosen: Sequence[str], bfloat16: bool) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Name, counted cost and step of nnU-Net and of every trainer, or of those ``chosen``."""
    yield "nnU-Net", "1", scene.in_bfloat16()["stock"] if bfloat16 else scene.stock
    for name in chosen or mlbseg_trainers.__all__:
        trainer: Any = getattr(mlbseg_trainers, name)
        fixed, defaults = trainer.variant, trainer.variant_defaults
        settings = resolve(trainer.method.Settings, {"seed": 1}, None, fixed, defaults, scene.sizes.dims)
        method = trainer.method_of(settings)
        stages = method.stages(settings, scene.sizes.images, ROLES)
        own = [stage for stage in stages if stage.by_method]
        if own and name != OTHER_NETWORK:
            learning = scene.learning_of(method, settings, stages, network(scene.sizes), ROLES)
            learning.passes.bfloat16 = bfloat16
            yield name, f"{card_of(trainer).cost:.1f}", step_of(scene, learning, own[-1])


def step_of(scene: Scene, learning: Learning, stage: Stage) -> Callable[[], Any]:
    """A step of a stage, always on the same images."""
    batch = scene.drawn("", stage.main.images)
    if stage.imperfect is not None:
        batch |= scene.drawn("imperfect_", stage.imperfect.images)
    return lambda: learning.iteration(stage, batch, MIDDLE, lambda _: {})


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainers", nargs="*", help="some of them; all by default")
    parser.add_argument("--images", type=int, default=10, help="clean images in a step")
    parser.add_argument("--size", type=int, default=96, help="height and width in pixels, and depth")
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2)
    parser.add_argument("--width", type=float, default=1.0, help="times 32 channels of the first stage")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true", help="passes in bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps, costs, mebibytes = {}, {}, {}
    scene = Scene(Sizes(images=options.images, size=options.size, width=options.width, deep=True, dims=options.dims))
    for name, cost, step in trainers_steps(scene, options.trainers, options.bfloat16):
        steps[name], costs[name] = step, cost
    seconds = in_turns(steps, options.rounds)
    for name, step in steps.items():
        with LiveBytes() as live:
            step()
        mebibytes[name] = live.peak / 2**20
    print(f"{'trainer':36}{'seconds':>10}{'x nnU-Net':>10}{'counted':>10}{'MiB':>8}")
    for name, value in seconds.items():
        print(f"{name:36}{value:10.3f}{value / seconds['nnU-Net']:10.2f}{costs[name]:>10}{mebibytes[name]:8.0f}")


if __name__ == "__main__":
    main()
