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
from nnunetv2_mlbseg.maths.mean_teacher import ema_update_
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import logits_with_tangents
from nnunetv2_mlbseg.methods.mlbseg.terms import (
    bootstrap_loss,
    consistency_terms,
    ensemble_of_views,
    pseudo_labels_in_views,
    statistics,
)
from nnunetv2_mlbseg.progress.epoch_log import epoch_means


def parts(scene: Scene) -> dict[str, Callable[[], Any]]:
    """The parts by name, in the order of a step. The time between them is the step's time less their sum."""
    step, batch = scene.step, scene.batch
    weighed = step.weigh(batch)
    views, shown, labels = weighed.views, weighed.shown, weighed.labels
    direction = step._direction(weighed.clean_gradient, shown, weighed.teacher, views, batch)
    assert direction is not None, "the parts are those of a step with tangents"
    logits, tangents = (step._scales(found) for found in logit_tangents(scene.network, shown, direction))
    probabilities = logits[0].softmax(dim=1)
    ensemble = ensemble_of_views(probabilities, views)
    maps = (labels[0].imperfect, labels[0].pseudo)
    leaf = logits[0].detach().requires_grad_()
    values = [{"loss": torch.zeros((), device=scene.device)} for _ in range(3)]

    def training_pass() -> None:
        outputs = step._outputs(shown)
        torch.autograd.grad(bootstrap_loss(outputs, labels, [1.0]), step.descent.parameters, allow_unused=True)

    def consistency() -> None:
        terms = consistency_terms(leaf, weighed.teacher, views, view_term=True)
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), leaf)

    def optimiser() -> None:
        for parameter, gradient in zip(step.descent.parameters, weighed.clean_gradient, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(step.descent.parameters, 1e-9)
        scene.optimizer.step()

    return {
        "views": lambda: step._imperfect_in_views(batch),
        "clean gradient": lambda: step._clean_gradient(batch),
        "teacher": lambda: step._teacher_probabilities(shown),
        "tangents on their own": lambda: logit_tangents(scene.network, shown, direction),
        "forward with tangents": lambda: logits_with_tangents(scene.network, shown, direction),
        "pseudo labels": lambda: pseudo_labels_in_views(probabilities, views),
        "weights": lambda: step._weights(logits, tangents, maps, ensemble, views, batch),
        "weighted forward, backward": training_pass,
        "consistency": consistency,
        "optimiser": optimiser,
        "EMA": lambda: ema_update_(scene.teacher, scene.network, 0.999),
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
