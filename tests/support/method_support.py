"""A method with all that learns beside it, put together as a training does it, on small networks and drawn batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from maths_support import small_network
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.weighed import WeighedBatch
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Method, Moment
from nnunetv2_mlbseg.training.run import Run
from nnunetv2_mlbseg.training.saving import Saving
from nnunetv2_mlbseg.training.stages import Draw, Stage, Stages
from nnunetv2_mlbseg.training.task import Task

CPU = torch.device("cpu")
ALONE = Processes()
TASK = Task(channels=1, classes=2, dims=2, noisy=1, unlabeled=1, ignore_label=2)
START = Moment(0, 0, 1000)
OFF_THE_STUDENT = 0.3
"""Added to every parameter of a teacher that must not be taken for the student."""


class TanhNetwork(nn.Module):
    """Two convolutions; their tangents cannot be found by replaying, because of tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(images)))


NETWORKS = {"forward mode": TanhNetwork, "replayed": small_network}
"""By the way in which the tangents are found on the CPU: tanh cannot be replayed, nnU-Net's networks can."""


class CrossEntropy(nn.Module):
    """On nnU-Net's target ``(B, 1, *S)``, at full resolution alone."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target[:, 0].long())


def pairs_of(imperfect_images: int) -> Stages:
    """A training of one stage, in which every iteration has a clean and an imperfect batch."""
    clean, imperfect = Draw(("clean",), 2, "clean_batch_size"), Draw(("noisy", "unlabeled"), imperfect_images, "key")
    return Stages([Stage("pairs", 1, clean, imperfect, by_method=True)])


ROLES = FoldRoles(clean=("c0", "c1"), noisy=("n0",), unlabeled=("u0",), validation=("v0",))


def course_of(method: type[Method], settings: Any, imperfect_images: int = 2, processes: Processes = ALONE) -> Course:
    """What such a training is going to do. Who trains is the loaders' concern, and there are none."""
    cases: Any = SimpleNamespace(roles=ROLES)
    return Course(settings, method, cases, pairs_of(imperfect_images), processes)


def saving_of(learning: Learning) -> Saving:
    """What writes and reads its checkpoints."""
    run = Run(course_of(type(learning.method), learning.settings), print)
    return Saving(run, learning, own_network=False, where="a dataset", report=print)


def learning_of(
    method: type[Method],
    settings: Any,
    student: nn.Module,
    loss: nn.Module,
    *,
    task: Task = TASK,
    momentum: float = 0.0,
    grad_scaler: Any = None,
    processes: Processes = ALONE,
    imperfect_images: int = 2,
    device: torch.device = CPU,
) -> Learning:
    """All of a training that learns. No loader, no file and no trainer."""
    heads = method.modules(settings, task).to(device)
    optimizer = torch.optim.SGD([*student.parameters(), *heads.parameters()], settings.initial_lr, momentum=momentum)
    return Learning(
        course_of(method, settings, imperfect_images, processes),
        task,
        student=student,
        heads=heads,
        optimizer=optimizer,
        grad_scaler=grad_scaler,
        loss=loss,
        device=device,
    )


def mlbseg_step(network: str = "forward mode", grad_scaler: Any = None, **overrides: Any) -> Learning:
    """MLB-Seg with plain SGD, and a teacher that is not the student."""
    values = {"seed": 3, "momentum": 0.9, "weight_decay": 0, "initial_lr": 0.1, **overrides}
    torch.manual_seed(0)
    settings = resolve(MLBSeg.Settings, values)
    learning = learning_of(MLBSeg, settings, NETWORKS[network](), CrossEntropy(), grad_scaler=grad_scaler)
    with torch.no_grad():
        for parameter in learning.teacher.network.parameters():
            parameter.add_(OFF_THE_STUDENT)
    return learning


def drawn_batch(seed: int = 1) -> dict[str, Tensor]:
    """As the loaders hand it over: two clean images, and both anew with a wrong label above and none at the right."""
    image = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    target = (image > 0).short()
    noisy = target.clone()
    noisy[:, :, :3] = 1 - noisy[:, :, :3]
    noisy[:, :, -1] = 2
    batch = {"data": image, "target": target, "imperfect_data": image * 0.9, "imperfect_target": noisy}
    return {**batch, "imperfect_generated": torch.tensor([False, True]), "imperfect_case": torch.tensor([0, -1])}


def take_step(learning: Learning, loaded: dict[str, Any], moment: Moment = START) -> dict[str, Tensor]:
    """One iteration of the method, without the teacher's update."""
    return learning.step(Batch.of(loaded, CPU), moment)


def take_guarded_step(learning: Learning, loaded: dict[str, Any], moment: Moment = START) -> dict[str, Tensor]:
    """One iteration as a trainer takes it, with the teacher's update."""
    with learning.guard.step():
        found = take_step(learning, loaded, moment)
    return found | learning.finish_step()


def weighed(learning: Learning, loaded: dict[str, Any], moment: Moment = START) -> WeighedBatch:
    """What MLB-Seg would learn from a batch."""
    method: Any = learning.method
    return method.weigh(Batch.of(loaded, CPU), method.memory, method.least_of_generated(moment))


def parameters_of(module: nn.Module) -> list[Tensor]:
    """A copy of them."""
    return [parameter.detach().clone() for parameter in module.parameters()]


def state_of(module: nn.Module) -> list[Tensor]:
    """A copy of all parameters and buffers."""
    return [value.clone() for value in module.state_dict().values()]


def same(before: list[Tensor], module: nn.Module) -> bool:
    """Whether parameters and buffers are still those."""
    return all(torch.equal(a, b) for a, b in zip(before, module.state_dict().values(), strict=True))
