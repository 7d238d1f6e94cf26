"""All of a training that learns: student and teacher, a method and its heads, and how one iteration changes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.networks.fingerprints import weight_sums
from nnunetv2_mlbseg.networks.output_layers import clear_rows_, copy_rows_, output_layers
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.progress.run_state import RunState
from nnunetv2_mlbseg.runtime.random_state import Generators
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.descent import Descent, Gradient
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.stages import Stage
from nnunetv2_mlbseg.training.step_guard import StepGuard
from nnunetv2_mlbseg.training.support import check_sharing_supported
from nnunetv2_mlbseg.training.task import Task
from nnunetv2_mlbseg.training.teacher import Teacher
from nnunetv2_mlbseg.training.whole_batch_loss import cross_entropy_like, one_softmax_like

WARM_UP_CLIP = 12.0
"""The largest gradient norm in nnU-Net's own training step."""


class Learning:
    """What one iteration changes, and the order in which it does.

    Args:
        student: In training; may be compiled.
        heads: What the method has beside it.
        loss: nnU-Net's, over the whole batch.
        grad_scaler: For float16 autocast on CUDA, else None.
    """

    def __init__(
        self,
        course: Course,
        task: Task,
        *,
        student: nn.Module,
        heads: nn.ModuleDict,
        optimizer: torch.optim.Optimizer,
        grad_scaler: Any | None,
        loss: nn.Module,
        device: torch.device,
    ):
        settings, processes = course.settings, course.processes
        self.settings, self.student, self.heads, self.processes = settings, student, heads, processes
        plain = plain_network(student)
        check_sharing_supported(plain, processes)
        for module in (plain, heads):
            processes.copy_from_first_(module)
        self._output_layers: list[nn.Module] | None = None
        self.initial_sums = weight_sums(plain)
        """Of every parameter as it was initialised: what differs later was loaded."""
        self.teacher = Teacher(plain, settings.ema_decay)
        self.guard = StepGuard(optimizer, nn.ModuleList([plain, heads]), scaled=grad_scaler is not None)
        deep = isinstance(loss, DeepSupervisionWrapper)
        factors: Any = getattr(loss, "weight_factors", ())
        self.passes = Passes(
            student_network=student,
            teacher_network=self.teacher.network,
            descent=Descent([*plain.parameters(), *heads.parameters()], optimizer, grad_scaler, processes),
            losses={
                "dice_ce": one_softmax_like(loss, task.ignore_label, processes),
                "ce": cross_entropy_like(loss, task.ignore_label, processes, task.regions > 0),
            },
            scale_factors=[float(factor) for factor in factors if factor > 0] if deep else [1.0],
            deep_supervision=deep,
            device=device,
            generators=Generators(settings.seed, device),
            processes=processes,
            images=course.stages.imperfect_images if processes.count > 1 else None,
            unshown=Unshown.of(task.unshown, task.heads, device, regions=task.regions > 0),
            space=task.space,
        )
        self.method = course.method(settings, task, self.passes, heads)

    @property
    def for_inference(self) -> nn.Module:
        """The network that validates, and that nnU-Net's commands will find."""
        return self.named(self.settings.inference_network)

    def named(self, which: str) -> nn.Module:
        """The student or the teacher."""
        return self.teacher.network if which == "teacher" else self.student

    def iteration(
        self, stage: Stage, loaded: Mapping[str, Any], moment: Moment, nnunets: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """One iteration of a stage, then the teacher's update; returns what the log gets.

        Args:
            loaded: What the stage's loader made.
            nnunets: nnU-Net's own ``train_step``.
        """
        with self.guard.step():
            if stage.by_method:
                batch = Batch.of(loaded, self.passes.device)
                found = self.step(batch, moment)
                if self.passes.unshown is not None and stage.reads_clean_labels_alone:
                    self._begin_as_background(self.passes.unshown, batch.clean.images)
            elif self.processes.count > 1 or self.passes.unshown is not None or self.passes.bfloat16:
                batch = Batch.of(loaded, self.passes.device)
                found = self.supervised_step(batch, stage.quantity, of_clean=stage.reads_clean_labels_alone)
            else:
                loss = nnunets(loaded)["loss"]
                found = {"loss": loss, stage.quantity: loss}
        return found | self.finish_step()

    def step(self, batch: Batch, moment: Moment) -> dict[str, Any]:
        """The method's terms, and the optimiser's step down them."""
        terms = self.method.terms(self.method.mixed(batch), moment)
        self.passes.descent.step(self.processes.count * terms.loss, self.settings.gradient_clip, terms.begun)
        self.method.after_step()
        return terms.found()

    def supervised_step(self, batch: Batch, quantity: str, *, of_clean: bool = True) -> dict[str, Any]:
        """nnU-Net's ``train_step`` where its own will not do.

        Its own counts classes of which the clean images say nothing, and knows no bfloat16. And its own way to share a
        batch among processes, torch's data-parallel wrapper, fails on parameters without a gradient, which there are
        without deep supervision, and takes the mean over processes that may hold unequal numbers of pixels.

        Args:
            of_clean: Whether all labels are of clean cases; those of others teach every class.

        Returns:
            This process's share of the loss, for the log.
        """
        passes = self.passes
        passes.descent.optimizer.zero_grad(set_to_none=True)  # frees their memory for the forward pass
        loss = passes.supervised(passes.student(batch.clean.images), batch.clean.target, of_clean=of_clean)
        passes.descent.step(loss, WARM_UP_CLIP)
        if passes.unshown is not None and of_clean:
            self._begin_as_background(passes.unshown, batch.clean.images)
        share = loss.detach() / self.processes.count
        return {"loss": share, quantity: share}

    def _begin_as_background(self, unshown: Unshown, images: Tensor) -> None:
        """Keep classes that clean images do not show as probable as the background, from which they will split off.

        Their own logits would be anything after a warm-up that does not teach them, tens of nats away from the others,
        and take that long to learn (Cermelli et al., CVPR 2020, begin new classes likewise).
        """
        if self._output_layers is None:
            self._output_layers = output_layers(self.student, images)
        if self.passes.space.regions:  # outside has the logit 0
            clear_rows_(self._output_layers, unshown.classes)
        else:
            copy_rows_(self._output_layers, 0, unshown.classes)

    def finish_step(self) -> dict[str, Tensor]:
        """Move the teacher, unless the step was left out, and say whether it was; gradients go before the next step."""
        if not self.guard.left_out:
            self.teacher.follow_(self.student)
        skipped = self.guard.skipped() / self.processes.count
        self.passes.descent.optimizer.zero_grad(set_to_none=True)
        return {"skipped": skipped}

    def agree_on_draws(self) -> None:
        """Give the generators of every process the first one's states, which its checkpoint keeps for all.

        Where a batch is shared unevenly, processes may have drawn unequal amounts.
        """
        generators = self.passes.generators
        if self.processes.count > 1:
            generators.set_states(self.processes.gather(generators.states())[0])

    def clean_gradient(self, batch: Batch) -> Gradient:
        """The gradient of the clean batch's loss (Eq. 5), as the method takes it; with the gradient scaler's factor."""
        return self.passes.clean_gradient(batch.clean, self.method.weighing().clean_loss)[1]

    def take(self, found: Mapping[str, Any], state: RunState) -> None:
        """Networks, method and random generators as a checkpoint has them."""
        plain_network(self.student).load_state_dict(found["student_weights"])
        self.teacher.network.load_state_dict(found["teacher_weights"])
        self.teacher.step = state.ema_step
        self.heads.load_state_dict(state.heads)
        self.method.load_state(state.method)
        self.passes.generators.set_states(state.generators)
