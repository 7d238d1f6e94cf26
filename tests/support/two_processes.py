"""Started as a program: several processes over gloo on the CPU, as nnU-Net starts them over nccl on GPUs.

python two_processes.py steps COUNT FOLDER          three bootstrapping steps on a shared batch
python two_processes.py train COUNT [ARGUMENTS ...] nnUNetv2_train's own function for one process
python two_processes.py waits COUNT FOLDER          one is behind for longer than torch waits in a step
python two_processes.py dies COUNT FOLDER           the first one is killed while the others wait for it
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from maths_support import small_network
from method_support import learning_of, take_guarded_step
from nnunetv2.run import run_training
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from region_support import dice_and_bce
from torch import Tensor

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.weighed import WeighedBatch
from nnunetv2_mlbseg.methods.mlbseg.weighing import Weighing
from nnunetv2_mlbseg.runtime.errors import TrainingStoppedError
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.task import Task
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch

IGNORE_LABEL = 3
FACTORS = (2 / 3, 1 / 3, 0.0)
BASE: dict[str, Any] = {"seed": 5, "initial_lr": 0.05, "momentum": 0.9, "ema_decay": 0.9, "weighting": "meta"}
BASE |= {"strong_weight": 0}  # every process has strong views of its own
# Every normalisation, both losses of the clean batch, both Dice, labels by student and teacher, the virtual step, a
# class that no clean image shows (where one has it, the pixel is ignored), regions that overlap.
SETTINGS: dict[str, dict[str, Any]] = {
    "sum": {"weight_normalization": "sum", "clean_loss": "ce", "pseudo_label_network": "student"},
    "joint": {"weight_normalization": "joint", "virtual_consistency": True},
    "accepted": {"weight_normalization": "accepted", "clean_loss": "ce"},
    "tied": {"weighting": "tied", "weight_normalization": "joint"},
    "uniform": {"weighting": "uniform", "clean_loss": "ce"},
    "image_dice": {"weight_normalization": "sum", "batch_dice": False},
    "regions": {"weighting": "tied", "weight_normalization": "joint", "align_shares": True, "regions": True},
    "region_ce": {"weight_normalization": "sum", "clean_loss": "ce", "regions": True, "batch_dice": False},
    "not_shown": {"weighting": "tied", "weight_normalization": "joint", "unshown": (1,)},
}


def whole_batch(seed: int) -> dict[str, Any]:
    """Five clean and three imperfect images in double precision; the annotated pixels lie in few of them."""
    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, Any] = {}
    for name, count in (("", 5), ("imperfect_", 3)):
        images = torch.randn(count, 1, 16, 16, generator=generator, dtype=torch.float64)
        target = torch.randint(3, (count, 1, 16, 16), generator=generator).to(torch.int16)
        target[-1, :, 3:] = IGNORE_LABEL
        batch |= {f"{name}data": images, f"{name}target": [target[:, :, ::f, ::f] for f in (1, 2, 4)]}
    batch["imperfect_generated"] = torch.tensor([False, True, False])
    batch["imperfect_case"] = torch.tensor([1, -1, 0])
    return batch


def of_regions(batch: dict[str, Any]) -> dict[str, Any]:
    """The same with three regions, of the values 1 and 2, 2, 0 and 1."""

    def converted(target: Tensor) -> Tensor:
        masks = [torch.isin(target, torch.tensor(own, dtype=target.dtype)) for own in ((1, 2), (2,), (0, 1))]
        return torch.cat([*masks, target == IGNORE_LABEL], dim=1)

    targets = {name: [converted(scale) for scale in batch[name]] for name in ("target", "imperfect_target")}
    return batch | targets


def part(batch: dict[str, Any], processes: Processes) -> dict[str, Any]:
    """What one process's loader would hand it."""

    def cut(value: Any) -> Any:
        return [cut(v) for v in value] if isinstance(value, list) else value[processes.share(len(value))]

    return {name: cut(value) for name, value in batch.items()}


def make_learning(settings: dict[str, Any], processes: Processes) -> Learning:
    """All that learns, with nnU-Net's own loss in one process, and with the shared one in several."""
    overrides = {**BASE, **settings}
    batch_dice, unshown = overrides.pop("batch_dice", True), overrides.pop("unshown", ())
    regions = overrides.pop("regions", False)
    student = small_network(classes=3, deep_supervision=True, dtype=torch.float64)
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
    stock = DC_and_CE_loss(dice, {}, ignore_label=IGNORE_LABEL, dice_class=MemoryEfficientSoftDiceLoss)
    loss: Any = DeepSupervisionWrapper(dice_and_bce(True, batch_dice) if regions else stock, FACTORS)
    if processes.count > 1:
        loss = over_whole_batch(loss, IGNORE_LABEL, processes)
    chosen = resolve(MLBSeg.Settings, overrides)
    counts = {"noisy": 2, "unlabeled": 1}
    of_labels = {"classes": 2, "regions": 3} if regions else {"classes": 3}
    task = Task(channels=1, dims=2, **counts, **of_labels, ignore_label=IGNORE_LABEL, unshown=unshown)
    parts = {"task": task, "momentum": chosen.momentum, "processes": processes, "imperfect_images": 3}
    learning = learning_of(MLBSeg, chosen, student, loss, **parts)
    learning.teacher.step = 1  # the first update would make the teacher the student
    return learning


class Recorded:
    """Weighs batches as MLB-Seg does, and keeps the weights of every batch and scale."""

    def __init__(self, weigh: Weighing):
        self.weigh = weigh
        self.weights: list[list[tuple[Tensor, ...]]] = []

    def __call__(self, *arguments: Any) -> WeighedBatch:
        found = self.weigh(*arguments)
        self.weights.append([(w.weight_imperfect, w.weight_pseudo) for w in found.labels])
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.weigh, name)


def run_steps(settings: dict[str, Any], processes: Processes) -> dict[str, Any]:
    """Three steps: the weights of every step and scale, the values of every step, student and teacher after them."""
    learning = make_learning(settings, processes)
    method: Any = learning.method
    method.weigh = Recorded(method.weigh)
    values: list[dict[str, Any]] = []
    for number in range(3):
        batch = of_regions(whole_batch(number)) if settings.get("regions") else whole_batch(number)
        values += processes.add_up([take_guarded_step(learning, part(batch, processes))])
    return {
        "weights": method.weigh.weights,
        "values": values,
        "student": learning.student.state_dict(),
        "teacher": learning.teacher.network.state_dict(),
    }


def joined(shares: list[dict[str, Any]]) -> list[list[tuple[Tensor, ...]]]:
    """The weights of all processes as one batch, view-major as one process has them."""
    views = len(resolve(MLBSeg.Settings).all_views)
    steps = []
    for scales in zip(*(share["weights"] for share in shares), strict=True):
        pairs = [
            tuple(
                torch.cat([share.unflatten(0, (views, -1)) for share in maps], dim=1).flatten(0, 1)
                for maps in zip(*ranks, strict=True)
            )
            for ranks in zip(*scales, strict=True)
        ]
        steps.append(pairs)
    return steps


STEP_TIMEOUT = timedelta(seconds=2)
"""In place of the 10 minutes that torch waits in a step, where waits are tried."""


def _enter(rank: int, count: int, timeout: timedelta | None = None) -> None:
    os.environ.setdefault("MASTER_ADDR", "localhost")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=count, timeout=timeout)


def _fall_behind() -> None:
    time.sleep(2.5 * STEP_TIMEOUT.total_seconds())


def _waits(rank: int, count: int, folder: str) -> None:
    _enter(rank, count, STEP_TIMEOUT)
    processes, files = Processes.present(), Path(folder)
    with processes.first_alone():
        if processes.is_first:
            _fall_behind()
            (files / "of the first").touch()
        found = {"files": [path.name for path in files.iterdir()]}
    if rank == 1:
        _fall_behind()
    found["gathered"] = processes.gather(rank)
    found["total"] = processes.total(torch.tensor(rank + 1.0)).item()  # a step goes on as before
    if processes.is_first:
        _fall_behind()
    try:
        processes.total(torch.ones(()))
        found["in a step"] = "waited"
    except RuntimeError:
        found["in a step"] = "gave up"
    torch.save(found, files / f"{rank}.pt")


def _dies(rank: int, count: int, folder: str) -> None:
    _enter(rank, count, STEP_TIMEOUT)
    processes = Processes.present()
    try:
        with processes.first_alone():
            assert processes.is_first
            _fall_behind()
            (Path(folder) / "killed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
    except TrainingStoppedError as error:
        (Path(folder) / f"{rank}.txt").write_text(f"{time.time()} {error}")
        raise


def _steps(rank: int, count: int, folder: str) -> None:
    _enter(rank, count)
    processes = Processes.present()
    found = {name: run_steps(settings, processes) for name, settings in SETTINGS.items()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def _train(rank: int, count: int, dataset: str, configuration: str, fold: str, trainer: str, *options: str) -> None:
    run_training.setup_ddp = _enter
    torch.cuda.set_device = lambda device: None
    resume, validate = "--c" in options, "--val" in options
    plain = (False, resume, validate, None, False, False)
    run_training.run_ddp(rank, dataset, configuration, int(fold), trainer, "nnUNetPlans", *plain, count)


def main() -> None:
    """Start the processes and wait for them."""
    what, count, *arguments = sys.argv[1:]
    os.environ["MASTER_PORT"] = str(run_training.find_free_network_port())
    worker = {"steps": _steps, "train": _train, "waits": _waits, "dies": _dies}[what]
    started = mp.spawn(worker, args=tuple(itertools.chain([int(count)], arguments)), nprocs=int(count), join=False)
    if what == "dies":
        for process in started.processes:  # torch's own join would end the others
            process.join(60)
    while not started.join():
        pass


if __name__ == "__main__":
    main()
