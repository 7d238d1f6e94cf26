"""One bootstrapping iteration on nnU-Net's batches: what runs where, in which precision, and in which order.

The formulas are in the maths modules, their composition in :mod:`nnunetv2_mlbseg.methods.mlbseg.terms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.class_shares import ShareRecord, aligned, followed
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.losses import IGNORE
from nnunetv2_mlbseg.maths.mean_teacher import disturb
from nnunetv2_mlbseg.maths.pseudo_labels import pseudo_labels
from nnunetv2_mlbseg.maths.tangents.forward import displaced, logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import NotReplayable, logits_with_tangents
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.views import Views, draw_views
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels, is_flat
from nnunetv2_mlbseg.maths.weighting.strategies import NEEDS_TANGENTS, TIED
from nnunetv2_mlbseg.maths.weighting.tied import DisputeRecord
from nnunetv2_mlbseg.methods.mlbseg.terms import (
    WeightedLabels,
    as_labels,
    bootstrap_loss,
    consistency_terms,
    ensemble_of_views,
    labels_that_count,
    lessen_generated,
    mixture_dice,
    ramp_up,
    statistics,
    trouble,
    unit_direction,
    weigh_disputes,
    weigh_labels,
)
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.training import MLBSegConfig
from nnunetv2_mlbseg.training.descent import Descent, Gradient
from nnunetv2_mlbseg.training.whole_batch_loss import cross_entropy_like

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

ALONE = Processes()
WARM_UP_CLIP = 12.0  # the largest gradient norm in nnU-Net's own training step
Record = TypeVar("Record", DisputeRecord, ShareRecord)


@dataclass(frozen=True)
class WeighedBatch:
    """What a step knows of its batches before it learns from them.

    Attributes:
        shown: Imperfect images in all views, ``(V*B, channels, *S)``.
        logits: The student's at full resolution, ``(V*B, C, *S)``, without a graph.
        outputs: The student's at all scales with their graph, where the weights needed no pass without one.
        teacher: The teacher's probabilities ``(V*B, C, *S)``, where anything needs them.
        labels: Both labels of every pixel and their weights, one entry per scale.
        disputes: The record of disputes with this batch in it, where the weighting keeps one.
        clean_loss, clean_gradient: Of the clean batch; the gradient times the gradient scaler's factor if there is one.
        tangents: Derivatives of ``logits`` along the clean gradient, where the weights need them.
        shares: The record of class shares with this batch in it, where unlabeled images are aligned.
    """

    views: Views
    shown: Tensor
    logits: Tensor
    outputs: list[Tensor] | None
    teacher: Tensor | None
    labels: list[WeightedLabels]
    disputes: DisputeRecord | None
    clean_loss: Tensor
    clean_gradient: Gradient
    tangents: Tensor | None = None
    shares: ShareRecord | None = None


class BootstrapStep:
    """Eq. 3-13 on an imperfect and a clean batch, then one optimiser step. Values stay on the device.

    Args:
        student, teacher: The student may be compiled; tangents and gradients use the module inside.
        grad_scaler: For float16 autocast on CUDA, else None.
        clean_loss: Loss of Eq. 5 and of the supervised term, on the network's output and nnU-Net's target.
        scale_factors: Deep supervision's factors above 0, finest first; ``[1.0]`` without it.
        ignore_label: nnU-Net's ignore label, or None.
        imperfect_batch_size: Images of the whole imperfect batch; None: those at hand are all.
        processes: Which share of every batch this process holds.
        noisy_cases: The number of cases with labels of their own, which tied weights can tell apart.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        optimizer: torch.optim.Optimizer,
        grad_scaler: Any | None,
        clean_loss: Callable[[Any, Any], Tensor],
        scale_factors: Sequence[float],
        ignore_label: int | None,
        config: MLBSegConfig,
        device: torch.device,
        imperfect_batch_size: int | None = None,
        processes: Processes = ALONE,
        noisy_cases: int = 0,
    ):
        self.student, self.teacher = student, teacher
        self.clean_loss, self.scale_factors, self.ignore_label = clean_loss, scale_factors, ignore_label
        self.config, self.device = config, device
        self.imperfect_batch_size, self.processes = imperfect_batch_size, processes
        self.noisy_cases = noisy_cases if config.confusion_by_case else 0
        self.total: Total = processes.total if processes.count > 1 else unchanged
        self.descent = Descent(list(plain_network(student).parameters()), optimizer, grad_scaler, processes)
        # On the CPU the training pass is neither compiled nor in half precision, so the tangents can share it.
        self.replays = device.type == "cpu"
        self.disputes: DisputeRecord | None = None
        self.shares: ShareRecord | None = None
        self.begin_epoch(0)
        self.seed_generators(config.seed)

    @classmethod
    def of_trainer(cls, trainer: nnUNetTrainerMLBSeg) -> BootstrapStep:
        """The step for an initialised trainer; takes deep supervision's factors and the loss from nnU-Net's own."""
        loss, ignore_label, processes = trainer.loss, trainer.label_manager.ignore_label, trainer.processes
        factors = loss.weight_factors if isinstance(loss, DeepSupervisionWrapper) else (1.0,)
        return cls(
            student=trainer.network,
            teacher=trainer.teacher,
            optimizer=trainer.optimizer,
            grad_scaler=trainer.grad_scaler,
            clean_loss=(
                loss if trainer.config.clean_loss == "dice_ce" else cross_entropy_like(loss, ignore_label, processes)
            ),
            scale_factors=[float(factor) for factor in factors if factor > 0],
            ignore_label=ignore_label,
            config=trainer.config,
            device=trainer.device,
            imperfect_batch_size=trainer.batch_sizes["imperfect"] if processes.count > 1 else None,
            processes=processes,
            noisy_cases=len(trainer.roles.noisy),
        )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Run one iteration.

        Args:
            batch: ``data``, ``target`` of the clean batch, ``imperfect_data``, ``imperfect_target``; images
                ``(B, channels, *S)``, targets ``(B, 1, *S)`` or a list of them with deep supervision. Tied weights,
                aligned shares, a weight of generated labels other than 1 and a ``mixture_dice_weight`` want
                ``imperfect_generated`` as well, ``(B,)`` bool; tied weights ``imperfect_case``, ``(B,)`` int64, the
                number of the noisy case or -1.

        Returns:
            Loss terms and :func:`statistics` on the device, ``loss`` the sum of the
            terms; where processes share the batch, this one's shares, which add up to the values of the whole.
        """
        batch = {name: self._to_device(value) for name, value in batch.items()}
        config, weighed = self.config, self.weigh(batch)
        with self._autocast():
            outputs = weighed.outputs or self._outputs(weighed.shown)
            eq_9 = bootstrap_loss(outputs, weighed.labels, self.scale_factors)
            terms = {"bootstrap": config.bootstrap_weight * eq_9}
            if config.mixture_dice_weight > 0:
                generated = _generated(batch, weighed.views)
                dice = mixture_dice(outputs, weighed.labels, self.scale_factors, generated, self.total)
                terms["dice"] = config.mixture_dice_weight * dice
            terms |= self._consistency(outputs[0], weighed.teacher, weighed.views)
        loss = self.processes.count * _total(terms)
        self.descent.step(loss, config.gradient_clip, weighed.clean_gradient, config.supervised_weight)
        self.remember(weighed)
        terms["supervised"] = config.supervised_weight * weighed.clean_loss / self.processes.count
        terms = {name: term.detach() for name, term in terms.items()}
        found = {"loss": _total(terms), **terms, **statistics(weighed.labels[0], len(weighed.views), self.total)}
        return {**found, **self._trouble(weighed, batch["target"])}

    def weigh(self, batch: Mapping[str, Any]) -> WeighedBatch:
        """Views, pseudo labels and weights of a batch (Eq. 3-8, 10). Leaves both networks as they are."""
        config = self.config
        batch = {name: self._to_device(value) for name, value in batch.items()}
        views, shown, imperfect = self._imperfect_in_views(batch)
        clean_loss, clean_gradient = self._clean_gradient(batch)
        teacher = self._teacher_probabilities(shown)
        direction = self._direction(clean_gradient, shown, teacher, views, batch)
        outputs: list[Tensor] | None = None
        tangents: Sequence[Tensor | None]
        if direction is None:
            outputs = self._outputs(shown)  # without tangents one forward serves weighing and training
            logits, tangents = [output.detach() for output in outputs], [None] * len(outputs)
        else:
            outputs, logits, tangents = self._with_tangents(shown, direction)
        ensemble, shares = self._aligned(ensemble_of_views(self._labelling(logits[0], teacher), views), batch)
        pseudo = views.apply_labels(pseudo_labels(ensemble))
        both = labels_that_count(imperfect, pseudo, config.weighted_labels)
        labels, disputes = self._weights(logits, tangents, both, ensemble, views, batch)
        if self.generated_weight != 1:
            labels = lessen_generated(labels, _generated(batch, views), self.weight_of_generated())
        networks, clean = (logits[0], outputs, teacher), (clean_loss, clean_gradient)
        return WeighedBatch(views, shown, *networks, labels, disputes, *clean, tangents[0], shares)

    def remember(self, weighed: WeighedBatch) -> None:
        """Go on from the records of earlier batches that have this one in them; spoilt disputes are left out."""
        self.disputes = weighed.disputes and weighed.disputes.unless_spoilt(self.disputes)
        self.shares = weighed.shares

    def _aligned(self, ensemble: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, ShareRecord | None]:
        """The ensemble with unlabeled images held to the clean class shares, and the record with this batch in it."""
        if not self.config.align_shares:
            return ensemble, None
        record = self.shares or ShareRecord.empty(ensemble.shape[1], self.device)
        ensemble = aligned(ensemble, batch["imperfect_generated"], record)
        seen = torch.where(ensemble.sum(1) > 0, pseudo_labels(ensemble), IGNORE)
        clean = as_labels(batch["target"], self.ignore_label)
        return ensemble, followed(record, clean, seen, batch["imperfect_generated"], self.total)

    def weight_of_generated(self) -> Tensor:
        """The factor of images without a label of their own in Eq. 9, on the device: at least ``generated_weight``."""
        least = self.generated_weight
        if self.shares is None or not self.config.align_shares:
            return torch.full((), least, device=self.device)
        return self.shares.weight(least)

    def _weights(
        self,
        logits: Sequence[Tensor],
        tangents: Sequence[Tensor | None],
        both: tuple[Tensor, Tensor],
        ensemble: Tensor,
        views: Views,
        batch: Mapping[str, Any],
    ) -> tuple[list[WeightedLabels], DisputeRecord | None]:
        """Eq. 4-8 by the configured strategy, and the record of disputes with this batch in it, if it keeps one."""
        config = self.config
        if config.weighting != TIED:
            how = config.weight_normalization
            return weigh_labels(logits, tangents, *both, config.weighting, how, self.total), self.disputes
        record = self.disputes or DisputeRecord.empty(ensemble.shape[1], self.noisy_cases, self.device)
        return weigh_disputes(
            logits,
            tangents,
            self._imperfect_labels(both[0], views, batch),
            both[1],
            views.apply(ensemble),
            record,
            config.tied_decay,
            config.tied_strength,
            config.weight_normalization,
            self.total,
        )

    def _imperfect_labels(self, shown: Tensor, views: Views, batch: Mapping[str, Any]) -> ImperfectLabels:
        """The imperfect labels in every view; a pixel keeps the depth level that it has in the image."""
        labels = as_labels(batch["imperfect_target"], self.ignore_label)
        by_depth = self.config.confusion_by_depth
        levels = depth_levels(labels, is_flat(labels.shape[1:])) if by_depth else torch.zeros_like(labels)
        case = batch["imperfect_case"].repeat(len(views))
        return ImperfectLabels(shown, views.apply_labels(levels), _generated(batch, views), case)

    def _with_tangents(
        self, shown: Tensor, direction: Gradient
    ) -> tuple[list[Tensor] | None, list[Tensor], list[Tensor]]:
        """The student's outputs with their graph, if one pass gives both, its logits, and their tangents."""
        if self.replays:
            try:
                outputs, tangents = map(self._scales, logits_with_tangents(self.student, shown, direction))
                return outputs, [output.detach() for output in outputs], tangents
            except NotReplayable:
                self.replays = False
        logits, tangents = map(self._scales, logit_tangents(self.student, shown, direction))
        return None, logits, tangents

    def begin_epoch(self, iterations: int) -> None:
        """Set what rises with the length of the training, after so many iterations of bootstrapping."""
        config = self.config
        self.generated_weight = config.generated_weight * ramp_up(iterations, config.generated_ramp_up)

    def seed_generators(self, seed: int | None) -> None:
        """Begin the views and the teacher's noise anew; None takes the seed from the operating system."""
        self.view_generator = random_state.generator("cpu", seed, stream=1)
        self.noise_generator = random_state.generator(self.device, seed, stream=2)

    def warm_up(self, batch: Mapping[str, Any], loss: Callable[[Any, Any], Tensor]) -> Tensor:
        """nnU-Net's ``train_step`` on a clean batch that several processes share; returns this one's share of ``loss``.

        nnU-Net's own way for that, torch's data-parallel wrapper, fails on parameters without a gradient, which there
        are without deep supervision, and takes the mean over processes that may hold unequal numbers of pixels.
        """
        self.descent.optimizer.zero_grad(set_to_none=True)  # frees their memory for the forward pass
        with self._autocast():
            value = loss(self.student(self._to_device(batch["data"])), self._to_device(batch["target"]))
        self.descent.step(value, WARM_UP_CLIP)
        return value.detach() / self.processes.count

    def _trouble(self, weighed: WeighedBatch, target: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """:func:`~nnunetv2_mlbseg.methods.mlbseg.terms.trouble`; of several processes each counts for its part."""
        counted = self.total(trouble(weighed.labels[0], weighed.tangents, target, self.ignore_label))
        no_weight, overflow, no_foreground = counted[0] == 0, counted[1] > 0, counted[2] == 0
        flags = {"no_weight": no_weight, "weight_overflow": overflow, "no_foreground": no_foreground}
        return {name: flag.float() / self.processes.count for name, flag in flags.items()}

    def generator_states(self) -> dict[str, Tensor]:
        """State of the step's own random generators, for a checkpoint."""
        noise = f"noise on {self.device.type}"
        return {"views": self.view_generator.get_state(), noise: self.noise_generator.get_state()}

    def set_generator_states(self, states: Mapping[str, Tensor]) -> None:
        """Undo :meth:`generator_states`. The noise goes on afresh on another kind of device than it came from."""
        self.view_generator.set_state(states["views"].cpu())
        noise = states.get(f"noise on {self.device.type}")
        if noise is not None:
            self.noise_generator.set_state(noise.cpu())

    def records_state(self) -> dict[str, dict[str, Tensor] | None]:
        """What the step remembers of earlier batches, for a checkpoint; None where there is nothing yet."""
        return {
            "disputes": None if self.disputes is None else self.disputes.state(),
            "shares": None if self.shares is None else self.shares.state(),
        }

    def set_records_state(self, states: Mapping[str, Mapping[str, Tensor] | None]) -> None:
        """Undo :meth:`records_state`; a record that ``states`` lacks, or has in an earlier form, begins anew."""
        disputes = states.get("disputes")
        complete = disputes is not None and disputes.keys() == DisputeRecord.empty(1).state().keys()
        self.disputes = self._record(DisputeRecord.from_state, disputes if complete else None)
        self.shares = self._record(lambda state: ShareRecord(**state), states.get("shares"))

    def _record(self, of: Callable[[dict[str, Tensor]], Record], state: Mapping[str, Tensor] | None) -> Record | None:
        return None if state is None else of({name: value.to(self.device) for name, value in state.items()})

    def _imperfect_in_views(self, batch: Mapping[str, Any]) -> tuple[Views, Tensor, Tensor]:
        images, target = batch["imperfect_data"], batch["imperfect_target"]
        views = draw_views(
            self.config.shown_views,
            self.imperfect_batch_size or images.shape[0],
            images.ndim - 2,
            self.view_generator,
            zoom_in=self.config.zoom_in,
            zoom_out=self.config.zoom_out,
            device=self.device,
        )
        if self.imperfect_batch_size is not None:
            views = views.rows(self.processes.share(self.imperfect_batch_size))
        labels = as_labels(target, self.ignore_label)
        return views, views.apply(images), views.apply_labels(labels)

    def clean_gradient(self, batch: Mapping[str, Any]) -> Gradient:
        """The gradient of Eq. 5 on a clean batch; on a GPU times the gradient scaler's factor."""
        return self._clean_gradient({name: self._to_device(batch[name]) for name in ("data", "target")})[1]

    def _clean_gradient(self, batch: Mapping[str, Any]) -> tuple[Tensor, Gradient]:
        """Loss of the clean batch (Eq. 5) and its gradient, times the gradient scaler's factor if there is one."""
        with self._autocast():
            loss = self.clean_loss(self.student(batch["data"]), batch["target"])
        return loss.detach(), self.descent.gradient(loss)

    def _direction(
        self,
        clean_gradient: Gradient,
        shown: Tensor,
        teacher: Tensor | None,
        views: Views,
        batch: Mapping[str, Any],
    ) -> Gradient | None:
        """Where the tangents point: the clean gradient, at theta or after the virtual step of the consistency terms."""
        if self.config.weighting not in NEEDS_TANGENTS:
            return None
        if not self.config.virtual_consistency:
            return unit_direction(clean_gradient)
        with self._autocast():
            terms = self._consistency(self._outputs(shown)[0], teacher, views)
        if not terms:
            return unit_direction(clean_gradient)
        step = self.descent.unscaled(self.descent.gradient(self.processes.count * _total(terms)))
        with displaced(self.student, step, self.descent.learning_rate):
            return unit_direction(self._clean_gradient(batch)[1])

    def _outputs(self, shown: Tensor) -> list[Tensor]:
        """The student's logits with their graph, for training."""
        with self._autocast():
            return self._scales(self.student(shown))

    def _labelling(self, logits: Tensor, teacher: Tensor | None) -> Tensor:
        """The probabilities that pseudo labels come from."""
        if self.config.pseudo_label_network == "teacher" and teacher is not None:
            return teacher
        return at_least_float32(logits).softmax(dim=1)

    @torch.no_grad()
    def _teacher_probabilities(self, shown: Tensor) -> Tensor | None:
        """The teacher's answer to the disturbed views (Eq. 12); None where nothing needs it."""
        if self.config.teacher_weight == 0 and self.config.pseudo_label_network == "student":
            return None
        with self._autocast():
            output = self.teacher(self._disturbed(shown))
        return at_least_float32(self._scales(output)[0]).softmax(dim=1)

    def _disturbed(self, shown: Tensor) -> Tensor:
        whole = self.imperfect_batch_size
        if whole is None:
            return disturb(shown, self.config.teacher_noise, self.noise_generator)
        rows = self.processes.share(whole)
        return disturb(
            shown,
            self.config.teacher_noise,
            self.noise_generator,
            views=shown.shape[0] // (rows.stop - rows.start),
            batch_size=whole,
            rows=rows,
        )

    def _consistency(self, output: Tensor, teacher: Tensor | None, views: Views) -> dict[str, Tensor]:
        weights = {"views": self.config.consistency_weight, "teacher": self.config.teacher_weight}
        teacher = teacher if weights["teacher"] > 0 else None
        terms = consistency_terms(output, teacher, views, weights["views"] > 0, self.total)
        return {name: weights[name] * term for name, term in terms.items()}

    def _scales(self, output: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """The outputs that deep supervision counts, finest first."""
        return [output] if isinstance(output, Tensor) else list(output[: len(self.scale_factors)])

    def _autocast(self) -> AbstractContextManager[Any]:
        """As nnU-Net: float16 where that is fast, which is on CUDA only."""
        return torch.autocast("cuda") if self.device.type == "cuda" else nullcontext()

    def _to_device(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._to_device(item) for item in value]
        return value.to(self.device, non_blocking=True)


def _generated(batch: Mapping[str, Any], views: Views) -> Tensor:
    """Whose imperfect label a network made, for every image in every view: ``(V*B,)`` bool."""
    return batch["imperfect_generated"].repeat(len(views))


def _total(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([term.float() for term in terms.values()]).sum()
