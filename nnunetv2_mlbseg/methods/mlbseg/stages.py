"""How many imperfect images an iteration draws, in the method and in plain trainings that last equally long."""

from __future__ import annotations

from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.training.stages import Draw


def imperfect_images(settings: MLBSegSettings, plan_batch_size: int) -> Draw:
    """Noisy and unlabeled cases; in all their views they take the place of one batch of the plan."""
    shown = (settings.drawn_views or len(settings.views)) + 1
    images = settings.imperfect_batch_size or max(1, plan_batch_size // shown)
    derived = settings.imperfect_batch_size is None
    return Draw(("noisy", "unlabeled"), images, "imperfect_batch_size", derived)
