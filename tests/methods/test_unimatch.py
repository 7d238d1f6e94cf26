"""UniMatch and FixMatch: which labels count, and what strong views carry with them."""

from __future__ import annotations

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import CPU, take_step

from nnunetv2_mlbseg.maths import strong_view
from nnunetv2_mlbseg.methods import unimatch
from nnunetv2_mlbseg.methods.shared import strong_views
from nnunetv2_mlbseg.methods.shared.scales import dice_where
from nnunetv2_mlbseg.methods.shared.strong_views import StrongViews, SureLabels
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(500, 500, 1000)


@pytest.mark.parametrize("name", ["UniMatch", "FixMatch"])
def test_where_no_label_is_sure_only_the_clean_batch_counts(name: str) -> None:
    learning = COMPARED[name].begin(certainty=1.01)
    expected = learning.method.supervised(Batch.of(pair(), CPU).clean).item()
    found = take_step(learning, pair(), MOMENT)
    assert float(found["loss"]) == pytest.approx(expected, rel=1e-5) and float(found["strong"]) == 0


def test_without_boxes_and_changes_strong_views_are_the_images_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is then that of the network with its own labels, with a factor of 1, as the mean of both views."""
    monkeypatch.setattr(strong_view, "CHANCE_OF_JITTER", 0.0)
    monkeypatch.setattr(strong_view, "CHANCE_OF_BLUR", 0.0)
    monkeypatch.setattr(unimatch, "drop_channels", lambda features, share, uniform: features)
    learning = COMPARED["UniMatch"].begin(box_chance=0.0, certainty=0.6, ramp_up=0.0)
    outputs = [one.detach() for one in learning.passes.student(pair()["imperfect_data"])]
    sure, labels = outputs[0].softmax(dim=1).max(dim=1)
    expected = dice_where(learning.passes, outputs, labels, sure >= 0.6).item()
    found = take_step(learning, pair(), MOMENT)
    assert 0 < expected < 1
    assert float(found["strong"]) == pytest.approx(expected, rel=1e-4)
    assert float(found["features"]) == pytest.approx(expected, rel=1e-4)


def test_a_box_brings_label_and_certainty_of_its_own_image(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = COMPARED["UniMatch"].begin().passes
    monkeypatch.setattr(strong_views, "strong_view", lambda images, uniform: images)
    labels = torch.stack([torch.zeros(16, 16), torch.ones(16, 16)]).long()
    images, counted = labels.unsqueeze(1).float(), labels == 1
    shown, found = StrongViews(passes, box_chance=1.0)._shown(images, SureLabels(labels, counted))
    assert torch.equal(shown[:, 0].long(), found.labels) and torch.equal(found.counted, found.labels == 1)
    assert found.labels[0].any() and not found.labels[0].all() and not found.labels[1].all()


def test_fixmatch_has_one_strong_view_and_no_graph_of_the_weak_one() -> None:
    learning = COMPARED["FixMatch"].begin()
    seen: list[tuple[int, bool]] = []
    learning.student.register_forward_hook(lambda _, args, out: seen.append((len(args[0]), out[0].requires_grad)))
    take_step(learning, pair(), MOMENT)
    assert sorted(seen) == [(2, False), (2, True), (2, True)]


def test_weak_predictions_learn_from_dropped_channels_alone() -> None:
    """The label itself carries no gradient: without strong views all of it comes through the second decoding."""
    learning = COMPARED["UniMatch"].begin(strong_weight=0.0, certainty=0.0)
    weak, dropped = learning.method.weak(pair()["imperfect_data"])
    assert dropped is not None and not torch.equal(weak[0], dropped[0])
    labels = weak[0].detach().argmax(dim=1)
    dice_where(learning.passes, dropped, labels, torch.ones_like(labels, dtype=torch.bool)).backward()
    assert next(learning.student.encoder.parameters()).grad is not None
