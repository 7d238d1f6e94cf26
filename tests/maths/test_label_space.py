"""Folded logits, labels and tables: every region as an image of two classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from maths_support import NoHostReads, VirtualStep, as_list, imperfect_labels, relative_error, small_network
from torch import Tensor
from torch.nn.functional import logsigmoid

from nnunetv2_mlbseg.maths.class_shares import ShareRecord, aligned, followed
from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.maths.labels import IGNORE, Mixture, resize_labels
from nnunetv2_mlbseg.maths.losses import mixture_dice_loss
from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_of_views
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import logits_with_tangents
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.views import draw_views
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives, label_weights
from nnunetv2_mlbseg.maths.weighting.testimony import evidence

THREE = LabelSpace(3)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def test_the_softmax_of_folded_logits_is_the_sigmoid() -> None:
    output = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    folded = THREE.logits(output)
    assert folded.shape == (6, 2, 4, 5)
    torch.testing.assert_close(folded.softmax(1)[:, 1].view(2, 3, 4, 5), output.sigmoid())
    assert torch.equal(THREE.output(folded), output)


def test_exclusive_classes_are_left_as_they_are() -> None:
    output, known = torch.randn(2, 3, 4, 4), torch.tensor([True, False])
    assert LabelSpace().logits(output) is output and LabelSpace().output(output) is output
    assert torch.equal(LabelSpace().of_images(known), known)


def test_targets_become_labels_inside_and_outside_and_the_last_channel_ignores() -> None:
    inside, further = torch.rand(2, 2, 3, 4, 4) > 0.5
    ignored = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    ignored[1, :, 0] = True
    target = torch.cat([inside, ignored, further, ~ignored], 1)
    found = THREE.labels([target, target[..., :1]], 7).view(2, 3, 4, 4)
    assert torch.equal(found[0], inside[0].long()) and (found[1, :, 0] == IGNORE).all()
    assert torch.equal(found[1, :, 1:], inside[1, :, 1:].long())
    assert (THREE.labels(target, 7, kind=1).view(2, 3, 4, 4)[0] == IGNORE).all()
    assert torch.equal(THREE.labels(inside, None), inside.flatten(0, 1).long())


def test_views_show_the_groups_of_an_image_alike() -> None:
    """Folded maps in views are what each region alone is in the views of its image."""
    views = draw_views(("zoom_in", "flip"), 2, 2, torch.Generator().manual_seed(0))
    maps = torch.rand(2, 3, 2, 8, 8).softmax(2)
    labels = torch.randint(-1, 2, (2, 3, 8, 8))
    shown, of_labels = views.apply(maps.flatten(0, 1)), views.apply_labels(labels.flatten(0, 1))
    ensemble = ensemble_of_views(shown, views)
    for region in range(3):
        alone = views.apply(maps[:, region])
        torch.testing.assert_close(shown.view(3, 2, 3, 2, 8, 8)[:, :, region].flatten(0, 1), alone)
        torch.testing.assert_close(ensemble.view(2, 3, 2, 8, 8)[:, region], ensemble_of_views(alone, views))
        own = views.apply_labels(labels[:, region])
        assert torch.equal(of_labels.view(3, 2, 3, 8, 8)[:, :, region].flatten(0, 1), own)


def _copies(maps: Tensor, groups: int = 3) -> Tensor:
    """Of every image so many groups, all alike."""
    return maps.repeat_interleave(groups, 0)


def test_regions_that_are_copies_have_the_tables_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    n, p = torch.randint(-1, 2, (2, 4, 9, 9), generator=generator)
    e = torch.rand(4, 2, 9, 9, generator=generator).softmax(1)
    raw = torch.randn(2, 4, 9, 9, generator=generator)
    labels = imperfect_labels(n, torch.tensor([False, True, False, False]), torch.tensor([1, -1, 0, 1]))
    folded = imperfect_labels(_copies(n), _copies(labels.generated), _copies(labels.case))
    folded = replace(folded, groups=3)
    one, three = DisputeRecord.empty(2, 2), DisputeRecord.empty(2, 2, groups=3)
    for _ in range(2):
        one = one.followed(*raw, labels, p, e, 0.5)
        three = three.followed(*map(_copies, raw), folded, _copies(p), _copies(e), 0.5)
    torch.testing.assert_close(three.gain, one.gain.repeat(3, 1, 1))
    torch.testing.assert_close(three.preference, one.preference.repeat(3, 1, 1))
    torch.testing.assert_close(three.confusion.counts, one.confusion.counts.repeat(3, 1, 1, 1))
    torch.testing.assert_close(three.confusion.cases, _copies(one.confusion.cases))
    against = p.clamp_min(0)
    found = evidence(three.confusion, folded, _copies(against))
    torch.testing.assert_close(found, _copies(evidence(one.confusion, labels, against)))


def test_every_region_has_the_shares_and_the_bias_that_it_has_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    clean, pseudo = torch.randint(-1, 2, (2, 2, 3, 50), generator=generator)
    pseudo[:, 1] = 0
    made, record = torch.tensor([True, False]), ShareRecord.empty(2, groups=3)
    for _ in range(3):
        record = followed(record, clean.flatten(0, 1), pseudo.flatten(0, 1), THREE.of_images(made))
    e = torch.rand(2, 3, 2, 50, generator=generator).softmax(2)
    moved = aligned(e.flatten(0, 1), THREE.of_images(made), record).view(e.shape)
    for region in range(3):
        alone = ShareRecord.empty(2)
        for _ in range(3):
            alone = followed(alone, clean[:, region], pseudo[:, region], made)
        torch.testing.assert_close(record.bias[region], alone.bias[0])
        torch.testing.assert_close(moved[:, region], aligned(e[:, region], made, alone))


def test_the_dice_is_the_mean_of_that_of_every_region() -> None:
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(2, 3, 2, 40, generator=generator).softmax(2)
    labels = torch.randint(-1, 2, (2, 3, 40), generator=generator)
    weights, counted = torch.rand(2, 3, 40, generator=generator), torch.tensor([True, True])
    mixture = Mixture.of([labels.flatten(0, 1)], [weights.flatten(0, 1)])
    found = mixture_dice_loss(p.flatten(0, 1), mixture, THREE.of_images(counted), groups=3)
    alone = [mixture_dice_loss(p[:, r], Mixture.of([labels[:, r]], [weights[:, r]]), counted) for r in range(3)]
    torch.testing.assert_close(found, torch.stack(alone).mean())


def test_a_region_that_is_not_shown_is_out_with_outside_and_inside() -> None:
    unshown = Unshown.of((1,), 3, regions=True)
    assert unshown is not None
    labels = torch.tensor([[[0, 1, -1]]]).repeat(2, 3, 1)
    assert unshown.among(labels.flatten(0, 1)).view(2, 3, 3).tolist() == [[[0, 0, 0], [1, 1, 0], [0, 0, 0]]] * 2
    assert not unshown.without(torch.ones(6, 2, 4)).view(2, 3, 2, 4)[:, 1].any()
    target = torch.arange(4.0).view(1, 4, 1)
    assert unshown.other_logits(target[:, :3]).flatten().tolist() == [0, 2]
    assert unshown.other_labels(target).flatten().tolist() == [0, 2, 3]
    assert unshown.other_labels([target[:, :3]])[0].flatten().tolist() == [0, 2]


def _literal(z: Tensor, labels: Tensor) -> Tensor:
    """-y log sigmoid(z) - (1 - y) log sigmoid(-z), 0 where ignored; all (B, R, *S)."""
    return -torch.where(labels >= 0, torch.where(labels == 1, logsigmoid(z), logsigmoid(-z)), 0.0)


def _clean_loss(outputs: list[Tensor], masks: list[Tensor]) -> Tensor:
    """Binary cross-entropy and the soft Dice of every region, halved from scale to scale."""
    loss = outputs[0].new_zeros(())
    for scale, (z, y) in enumerate(zip(outputs, masks, strict=True)):
        axes, p = tuple(range(2, z.ndim)), z.sigmoid()
        dice = (2 * (p * y).sum(axes) + 1e-5) / (p.sum(axes) + y.sum(axes) + 1e-5)
        loss = loss + 0.5**scale * (_literal(z, y).mean() - dice.mean())
    return loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "dims"), [("plain", 2), ("residual", 2), ("plain", 3), ("residual", 3)])
def test_weights_of_regions_equal_the_second_order_virtual_step(kind: str, dims: int, dtype: torch.dtype) -> None:
    """Raw weights of every region and pixel, some ignored, by both ways to the tangents."""
    network = small_network(kind, classes=3, deep_supervision=True, dims=dims, dtype=dtype)
    draw, size = torch.Generator().manual_seed(3), (8, 8, 12)[-dims:]
    images, clean = (torch.randn(2, 1, *size, generator=draw).to(dtype) for _ in range(2))
    n, y = (torch.randint(2, (2, 3, *size), generator=draw) for _ in range(2))
    n[torch.rand(n.shape, generator=draw) < 0.3] = IGNORE
    sizes = [z.shape[2:] for z in as_list(network(images))]
    given, masks = (
        [resize_labels(labels.flatten(0, 1), each).view(2, 3, *each) for each in sizes] for labels in (n, y)
    )
    step = VirtualStep(network)
    outputs = step.outputs(images, step.theta)
    maps = [torch.zeros_like(z, requires_grad=True) for z in outputs]
    loss = torch.stack([(w * _literal(z, k)).sum() for w, z, k in zip(maps, outputs, given, strict=True)]).sum()
    gradient = torch.autograd.grad(loss, step.theta, create_graph=True, allow_unused=True)
    theta = [p if g is None else p - 0.1 * g for p, g in zip(step.theta, gradient, strict=True)]
    expected = torch.autograd.grad(_clean_loss(step.outputs(clean, theta), masks), maps)

    objective = _clean_loss(as_list(network(clean)), masks)
    direction = torch.autograd.grad(objective, list(network.parameters()), allow_unused=True)
    for pair in (logit_tangents(network, images, direction), logits_with_tangents(network, images, direction)):
        for z, dz, labels, oracle in zip(*map(as_list, pair), given, expected, strict=True):
            derivatives = class_derivatives(THREE.logits(z), THREE.logits(dz))
            found = label_weights(derivatives, labels.flatten(0, 1)).view(labels.shape)
            assert relative_error(found, -oracle / 0.1) < TOLERANCE[dtype]


def test_nothing_waits_for_the_device() -> None:
    target, output = torch.rand(2, 4, 5, 5) > 0.5, torch.randn(2, 3, 5, 5)
    with NoHostReads() as watched:
        THREE.labels(target, 7)
        THREE.of_images(torch.tensor([True, False]))
        THREE.output(THREE.logits(output))
    assert watched.operations
