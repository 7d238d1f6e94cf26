"""The loss terms of MLB-Seg, by hand."""

from __future__ import annotations

import torch
from maths_support import seen
from torch import nn

from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.views import draw_views
from nnunetv2_mlbseg.maths.weighting.uniform import Uniform
from nnunetv2_mlbseg.methods.mlbseg.terms import bootstrap_loss, consistency_terms


def _views(names, batch=2, seed=0):
    return draw_views(names, batch, 2, torch.Generator().manual_seed(seed))


def test_weights_at_every_scale_are_normalised_on_their_own_and_sum_to_the_loss_by_hand():
    """Uniform weights: the loss is the sum over scales of factor times (mean CE imperfect + mean CE pseudo)."""
    logits = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    imperfect = torch.randint(0, 3, (2, 8, 8))
    imperfect[0, :4] = -1
    pseudo = torch.randint(0, 3, (2, 8, 8))
    weighted = Uniform("sum").weigh(seen(logits, None, imperfect, pseudo), NoRecord())
    loss = bootstrap_loss(logits, [labels.mixture() for labels in weighted], [0.75, 0.25])
    expected = 0.0
    for z, factor, step in ((logits[0], 0.75, 1), (logits[1], 0.25, 2)):
        offset = step // 2
        small_n, small_p = (labels[:, offset::step, offset::step] for labels in (imperfect, pseudo))
        expected += factor * nn.functional.cross_entropy(z, small_n, ignore_index=-1)
        expected += factor * nn.functional.cross_entropy(z, small_p)
    assert torch.allclose(loss, expected, atol=1e-6)


def test_consistency_terms_come_only_where_asked_for():
    views = _views(["flip"])
    output = torch.randn(4, 2, 8, 8)
    teacher = torch.rand(4, 2, 8, 8).softmax(1)
    assert set(consistency_terms(output.softmax(1), teacher, views, view_term=True)) == {"views", "teacher"}
    assert set(consistency_terms(output.softmax(1), None, views, view_term=True)) == {"views"}
    assert consistency_terms(output[:2].softmax(1), None, _views([]), view_term=True) == {}
