"""The warm-up of MLB-Seg, and how many imperfect images an iteration draws, also in plain trainings of equal length."""

from __future__ import annotations

from dataclasses import replace

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.training.stages import Draw, Stage, warm_up


def imperfect_draw(settings: MLBSegSettings, plan_batch_size: int) -> Draw:
    """Noisy and unlabeled cases; in all their views they take the place of one batch of the plan."""
    shown = (settings.drawn_views or len(settings.views)) + 1
    images = settings.imperfect_batch_size or max(1, plan_batch_size // shown)
    derived = settings.imperfect_batch_size is None
    return Draw(("noisy", "unlabeled"), images, "imperfect_batch_size", derived)


def warm_ups(settings: MLBSegSettings, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
    """With the noisy labels as they are for a share of the warm-up, as nnU-Net trains; then with clean labels alone.

    Beside those stand unlabeled images, for strong views. Both have one name; the networks are kept as the last one
    leaves them. A pass counts clean slices in both, so that plain trainings last equally long.
    """
    whole = warm_up(settings, plan_batch_size)
    epochs = round(settings.warmup_given * settings.warmup_epochs) if roles.noisy else 0
    given = replace(whole, epochs=epochs, main=replace(whole.main, roles=("clean", "noisy")), paced_by=whole.main)
    clean = replace(whole, epochs=whole.epochs - epochs)
    if settings.strong_weight > 0 and roles.unlabeled:
        images = replace(imperfect_draw(settings, plan_batch_size), roles=("unlabeled",), blank=("unlabeled",))
        clean = replace(clean, imperfect=images, paced_by=whole.main, by_method=True)
    return (replace(given, keeps=None), clean) if clean.epochs else (given,)
