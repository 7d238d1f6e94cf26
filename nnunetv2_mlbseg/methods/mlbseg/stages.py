"""The warm-up of MLB-Seg, and how many imperfect images an iteration draws, also in plain trainings of equal length."""

from __future__ import annotations

from dataclasses import replace

from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.training.stages import Draw, Stage, warm_up


def imperfect_images(settings: MLBSegSettings, plan_batch_size: int) -> Draw:
    """Noisy and unlabeled cases; in all their views, a strong one included, they take the place of a plan's batch."""
    shown = (settings.drawn_views or len(settings.views)) + 2
    images = settings.imperfect_batch_size or max(1, plan_batch_size // shown)
    derived = settings.imperfect_batch_size is None
    return Draw(("noisy", "unlabeled"), images, "imperfect_batch_size", derived)


def warm_up_with_views(settings: MLBSegSettings, plan_batch_size: int) -> Stage:
    """On the clean cases alone, as nnU-Net trains; with ``strong_weight`` beside images whose labels nobody may read.

    A pass counts clean slices in both, so that plain trainings last equally long.
    """
    plain = warm_up(settings, plan_batch_size)
    if settings.strong_weight == 0:
        return plain
    images = imperfect_images(settings, plan_batch_size)
    return replace(plain, imperfect=replace(images, blank=images.roles), paced_by=plain.main, by_method=True)
