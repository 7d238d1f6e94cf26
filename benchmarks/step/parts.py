"""The parts of a whole step, each runnable on its own from one fixed state, and nnU-Net's loading of its batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from scene import Scene

from nnunetv2_mlbseg.cases.loaders import PairedLoader
from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_of_views, pseudo_labels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import logits_with_tangents
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives
from nnunetv2_mlbseg.methods.mlbseg.memory import Memory
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.quantities import statistics
from nnunetv2_mlbseg.methods.mlbseg.terms import bootstrap_loss, consistency_terms
from nnunetv2_mlbseg.progress.values import epoch_means
from nnunetv2_mlbseg.training.batch import Batch


def parts(scene: Scene) -> dict[str, Callable[[], Any]]:
    """The parts by name, in the order of a step. The time between them is the step's time less their sum."""
    method, passes, batch = scene.learning.method, scene.learning.passes, Batch.of(scene.batch, scene.device)
    assert isinstance(method, MLBSeg) and batch.imperfect is not None
    weigh, imperfect, optimizer = method.weigh, batch.imperfect, passes.descent.optimizer
    weighed = weigh(batch, Memory(), 1.0)
    views, shown, labels, teacher = weighed.views, weighed.shown, weighed.labels, weighed.teacher
    mixtures = [each.mixture() for each in labels]
    direction = weigh._direction(weighed.clean_gradient, shown, teacher, views, batch.clean)
    unmoved = shown[: len(imperfect.images)]
    student = passes.with_tangents(shown, direction, class_derivatives, 1, len(unmoved))
    logits = passes.student(shown)
    probabilities = logits[0].detach().softmax(dim=1)
    ensemble = ensemble_of_views(probabilities, views)
    leaf = logits[0].detach().requires_grad_()
    values = [{"loss": torch.zeros((), device=scene.device)} for _ in range(3)]

    def training_pass() -> None:
        outputs = passes.student(shown)
        torch.autograd.grad(bootstrap_loss(outputs, mixtures, [1.0]), passes.descent.parameters, allow_unused=True)

    def pseudo() -> None:
        views.apply_labels(pseudo_labels(ensemble_of_views(probabilities, views)))

    def weights() -> None:
        record: Record = method.weighting.begin(ensemble.shape[1], method.task.noisy, scene.device)
        seen = weigh._seen(weigh._imperfect(imperfect, views, record), ensemble, views, student)
        method.weighting.weigh(seen, method.weighting.learned(seen, record))

    def consistency() -> None:
        terms = consistency_terms(leaf.softmax(dim=1), teacher, views, view_term=True)
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), leaf)

    def optimiser() -> None:
        for parameter, gradient in zip(passes.descent.parameters, weighed.clean_gradient, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(passes.descent.parameters, 1e-9)
        optimizer.step()

    return {
        "views": lambda: weigh._in_views(imperfect),
        "clean gradient": lambda: weigh.clean_gradient(batch.clean),
        "teacher": lambda: passes.teacher(shown, method.settings.teacher_noise),
        "tangents on their own": lambda: logit_tangents(scene.network, unmoved, direction),
        "forward with tangents": lambda: logits_with_tangents(scene.network, unmoved, direction),
        "pseudo labels": pseudo,
        "weights": weights,
        "weighted forward, backward": training_pass,
        "consistency": consistency,
        "optimiser": optimiser,
        "EMA": lambda: scene.learning.teacher.follow_(scene.network),
        "logging": lambda: (statistics(labels[0], len(views)), epoch_means(values)),
    }


def loaders(scene: Scene, folder: Path) -> tuple[nnUNetDataLoader, PairedLoader]:
    """nnU-Net's loading and augmentation of synthetic cases, for a stock batch and for our pair of batches."""
    rng = np.random.default_rng(0)
    size = scene.sizes.size * 5 // 4
    for number in range(3):
        data = rng.standard_normal((1, 12, size, size), dtype=np.float32)
        seg = (data > 1).astype(np.int16)
        voxels = np.argwhere(seg[0] == 1)[:200]
        properties = {"class_locations": {1: np.concatenate([np.zeros((len(voxels), 1), int), voxels], axis=1)}}
        nnUNetDatasetBlosc2.save_case(data, seg, properties, str(folder / f"case{number}"))
    patch = [scene.sizes.size] * 2
    transforms = nnUNetTrainer.get_training_transforms(
        patch, (-np.pi, np.pi), None, (0, 1), False, use_mask_for_norm=[False], foreground_labels=[1]
    )
    labels = LabelManager({"background": 0, "organ": 1}, None)

    def loader(images: int) -> nnUNetDataLoader:
        drawn = [int(side * 1.3) for side in patch]
        dataset = nnUNetDatasetBlosc2(str(folder))
        return nnUNetDataLoader(dataset, images, drawn, patch, labels, 0.33, transforms=transforms)

    stock = loader(scene.sizes.images)
    pair = PairedLoader(
        loader(scene.sizes.images), loader(scene.sizes.images // (scene.sizes.views + 1)), (), lambda case: -1
    )
    return stock, pair
