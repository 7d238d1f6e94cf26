"""nnU-Net's loaders and augmentation for any set of cases, and pairs of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from batchgenerators.dataloading.data_loader import SlimDataLoaderBase
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_mlbseg.cases.label_kinds import Cover, for_kinds
from nnunetv2_mlbseg.cases.places import PlacedLoader, places
from nnunetv2_mlbseg.cases.worker_processes import Augmenter, augmenter
from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.processes import Processes

SMALLEST_COUNTED_BATCH = 3
"""Batches below this are drawn around foreground by chance, unless a count gives them the share of the plan's batch."""


@dataclass(frozen=True)
class LoaderFactory:
    """nnU-Net's loaders with the patch sizes, transforms and oversampling of one configuration."""

    initial_patch_size: Sequence[int]
    patch_size: Sequence[int]
    plan_batch_size: int
    label_manager: LabelManager
    oversample_foreground_percent: float
    probabilistic_oversampling: bool
    training_transforms: Any
    validation_transforms: Any
    pin_memory: bool
    processes: Processes

    @classmethod
    def of_trainer(cls, trainer: nnUNetTrainer, deterministic: bool) -> LoaderFactory:
        """What nnU-Net's own ``get_dataloaders`` would choose for this trainer.

        Args:
            deterministic: Keep the augmentation from depending on timings (see :func:`untimed`).
        """
        configuration, labels = trainer.configuration_manager, trainer.label_manager
        scales = trainer._get_deep_supervision_scales()
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        regions = labels.foreground_regions if labels.has_regions else None
        augmentation = trainer.get_training_transforms(
            configuration.patch_size,
            rotation,
            scales,
            mirror_axes,
            dummy_2d,
            use_mask_for_norm=configuration.use_mask_for_norm,
            foreground_labels=labels.foreground_labels,
            regions=regions,
            ignore_label=labels.ignore_label,
        )
        return cls(
            initial_patch_size=initial_patch_size,
            patch_size=configuration.patch_size,
            plan_batch_size=configuration.batch_size,
            label_manager=labels,
            oversample_foreground_percent=trainer.oversample_foreground_percent,
            probabilistic_oversampling=trainer.probabilistic_oversampling,
            training_transforms=untimed(augmentation) if deterministic else augmentation,
            validation_transforms=trainer.get_validation_transforms(
                scales, regions=regions, ignore_label=labels.ignore_label
            ),
            pin_memory=trainer.device.type == "cuda",
            processes=Processes.present(),
        )

    def training(self, dataset: nnUNetBaseDataset, batch_size: int, kinds: int = 1) -> nnUNetDataLoader:
        """Augmented patches, drawn larger and cropped after rotation and scaling; ``kinds``: of labels they have."""
        transforms = for_kinds(self.training_transforms, kinds)
        return self._loader(dataset, batch_size, self.initial_patch_size, transforms)

    def validation(self, dataset: nnUNetBaseDataset, batch_size: int) -> nnUNetDataLoader:
        """Patches as they are."""
        return self._loader(dataset, batch_size, self.patch_size, self.validation_transforms)

    def run(
        self,
        training: SlimDataLoaderBase,
        validation: SlimDataLoaderBase,
        processes: int,
        seed: tuple[int, ...] | None,
    ) -> tuple[Augmenter, Augmenter]:
        """Start both, in nnU-Net's proportion of worker processes, and wait for a first batch of each.

        Args:
            seed: Numbers that the workers' seeds derive from; None leaves those to the operating system.
        """
        validating = max(1, processes // 2) if processes else 0
        seeds = random_state.worker_seeds(seed, processes + validating)
        train = augmenter(training, processes, max(6, processes // 2), seeds and seeds[:processes], self.pin_memory)
        val = augmenter(validation, validating, max(3, processes // 4), seeds and seeds[processes:], self.pin_memory)
        next(train), next(val)
        return train, val

    def cover(
        self, imperfect: Collection[str], further: Mapping[str, Collection[str]], blank: Collection[str] = ()
    ) -> Cover:
        """Covers up the labels of ``blank`` cases, and further ones that imperfect cases lack.

        Args:
            further: By source, the cases that have a further label.
        """
        without = [blank, *(set(imperfect).difference(cases) for cases in further.values())]
        ignore, regions = self.label_manager.ignore_label, self.label_manager.has_regions
        space = LabelSpace(self.label_manager.num_segmentation_heads if regions else 0)
        return Cover(without, space.channels(ignore), ignore)

    def oversampling(self, batch_size: int) -> tuple[bool, float]:
        """How images of a batch are drawn around foreground: whether by chance, and how many of them.

        By count it is a third of nnU-Net's batch, rounded: one of two, none of one. So a small batch is drawn by chance
        with the share that the plan's batch has, and clean and imperfect images show foreground equally often.
        """
        percent = self.oversample_foreground_percent
        if self.probabilistic_oversampling:
            return True, percent
        own, of_plan = (oversampled_share(percent, size, slice(size)) for size in (batch_size, self.plan_batch_size))
        by_chance = batch_size < SMALLEST_COUNTED_BATCH and own != of_plan
        return by_chance, of_plan if by_chance else percent

    def _loader(
        self, dataset: nnUNetBaseDataset, batch_size: int, drawn_patch_size: Sequence[int], transforms: Any
    ) -> nnUNetDataLoader:
        by_chance, percent = self.oversampling(batch_size)
        part = self.processes.share(batch_size)
        loader = PlacedLoader(
            dataset,
            part.stop - part.start,
            drawn_patch_size,
            self.patch_size,
            self.label_manager,
            oversample_foreground_percent=percent if by_chance else oversampled_share(percent, batch_size, part),
            sampling_probabilities=None,
            pad_sides=None,
            transforms=transforms,
            probabilistic_oversampling=by_chance,
        )
        # With an ignore label nnU-Net centres patches at annotated voxels, however near the border, in place of drawing
        # them at random. Where every voxel is annotated that only fills patches with padding.
        loader.has_ignore = self.label_manager.has_ignore_label and has_ignored(dataset, self.label_manager)
        return loader


class PairedLoader(SlimDataLoaderBase):
    """One clean and one imperfect batch per call, so that all worker processes serve both.

    The clean batch has nnU-Net's keys ``data`` and ``target``; the imperfect one ``imperfect_data``,
    ``imperfect_target``, ``imperfect_generated``, which says for each image whether a network made its label, and
    ``imperfect_case``, the number of its case among the noisy ones, -1 for others. Both have the keys of
    :class:`~nnunetv2_mlbseg.cases.places.PlacedLoader`.

    Args:
        generated: The cases with generated labels.
        number: The number of a case: :meth:`FoldRoles.number`.
        cover: Covers up labels that are not there, or that nobody may read.
    """

    def __init__(
        self,
        clean: nnUNetDataLoader,
        imperfect: nnUNetDataLoader,
        generated: Collection[str],
        number: Callable[[str], int],
        cover: Cover | None = None,
    ):
        super().__init__(None, clean.batch_size, None)
        self.clean = clean
        self.imperfect = imperfect
        self.generated = frozenset(generated)
        self.number = number
        self.cover = cover or Cover()

    def generate_train_batch(self) -> dict[str, Any]:
        """Draw both batches."""
        clean, imperfect = next(self.clean), next(self.imperfect)
        keys = imperfect["keys"]
        return {
            "data": clean["data"],
            "target": clean["target"],
            "imperfect_data": imperfect["data"],
            "imperfect_target": self.cover.up(imperfect["target"], keys),
            "imperfect_generated": torch.tensor([case in self.generated for case in keys]),
            "imperfect_case": torch.tensor([self.number(case) for case in keys]),
            **places(clean),
            **places(imperfect, "imperfect_"),
        }


def mirror_axes(trainer: nnUNetTrainer) -> tuple[int, ...]:
    """The spatial axes along which nnU-Net augments by mirroring, and along which inference may mirror."""
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    return tuple(trainer.inference_allowed_mirroring_axes or ())


def has_ignored(dataset: nnUNetBaseDataset, labels: LabelManager) -> bool:
    """Whether any case leaves voxels without a label. Reads the labels until it finds one."""
    return any((dataset.load_case(case)[1][:] == labels.ignore_label).any() for case in dataset.identifiers)


def oversampled_share(percent: float, batch_size: int, part: slice) -> float:
    """Share of a process's ``part`` of a batch that is among the last images, which nnU-Net draws around foreground."""
    first = round(batch_size * (1 - percent))
    images = range(batch_size)[part]
    return sum(number >= first for number in images) / len(images)


def untimed(transform: Any) -> Any:
    """Switch off, in place, nnU-Net's habit of timing two blur algorithms and taking the faster.

    The two round differently, so that the result would depend on the load of the machine, seed or not.
    """
    if hasattr(transform, "benchmark"):
        transform.benchmark = False
    for inner in (*getattr(transform, "transforms", ()), *filter(None, [getattr(transform, "transform", None)])):
        untimed(inner)
    return transform
