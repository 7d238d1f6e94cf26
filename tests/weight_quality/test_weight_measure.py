"""True labels follow the imperfect ones into every view before anything is judged."""

from __future__ import annotations

import torch

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.maths.views import draw_views
from nnunetv2_mlbseg.weight_quality import measure
from nnunetv2_mlbseg.weight_quality.weighed_batches import Weighed


def test_truth_follows_the_labels_into_every_view(monkeypatch):
    """Labels that are right in the image are right in all views of it; beyond the image nothing is judged."""
    views = draw_views(("flip", "zoom_in", "zoom_out"), 2, 2, torch.Generator().manual_seed(0))
    truth = torch.randint(0, 3, (2, 12, 12))
    labels = views.apply_labels(truth)
    maps = torch.rand(labels.shape)
    weighted = WeightedLabels(labels, labels, maps, maps, maps, maps)
    weighed = Weighed(views, torch.empty(0), torch.randn(labels.shape[0], 3, 12, 12), weighted)

    def judged(true_labels):
        monkeypatch.setattr(measure, "weighed_batches", lambda *_: iter([(weighed, true_labels)]))
        found, exhibits = measure.judged_batches(None, "noisy", 1, 0, (0, 0), print)
        assert exhibits == [] and [len(batches) for batches in found.values()] == [1, 1]
        return {label: batches[0] for label, batches in found.items()}

    for quality in judged(truth).values():
        assert not quality.wrong.any() and quality.wrong.size == int((labels >= 0).sum()) < labels.numel()
    assert judged((truth + 1) % 3)["pseudo"].wrong.all()
