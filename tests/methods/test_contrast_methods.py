"""Contrastive pretraining and self-paced contrast: stages, which parts learn when, values by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import CPU, ROLES, parameters_of, take_step

from nnunetv2_mlbseg.methods import contrastive, self_paced
from nnunetv2_mlbseg.methods.image_vectors import Seen
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment

EARLY, LATE = Moment(100, 100, 1000), Moment(600, 600, 1000)
BY_PLACE = torch.eye(2).repeat(2, 1)
"""Vectors of two views of two images: views alike, images orthogonal."""
IMAGES = Seen(torch.zeros(2, 1, 4, 4), torch.tensor([0.1, 0.9]), torch.tensor([5, 7]))


def pretraining_batch():
    """As a loader of all images hands it over: no pair."""
    return {name: value for name, value in pair().items() if not name.startswith("imperfect")}


@pytest.mark.parametrize("name", ["Contrastive", "SelfPaced"])
def test_pretraining_takes_the_place_of_the_warm_up_and_reads_no_label(name):
    compared = COMPARED[name]
    first, second = compared.method.stages(compared.settings(warmup_epochs=3, epochs=5), 6, ROLES)
    assert (first.name, first.epochs, second.epochs) == ("pretraining", 3, 5)
    assert first.by_method and first.imperfect is None
    assert first.main.roles == ("clean", "noisy", "unlabeled") and first.main.blank == ("noisy", "unlabeled")
    assert second.main.roles == ("clean",)
    assert second.by_method is (name == "SelfPaced") and (second.imperfect is None) is (name == "Contrastive")


@pytest.mark.parametrize("name", ["Contrastive", "SelfPaced"])
def test_labels_play_no_part_in_the_pretraining(name):
    found = []
    for value in (0, 1):
        learning, batch = COMPARED[name].begin(), pretraining_batch()
        for target in batch["target"]:
            target.fill_(value)
        values = take_step(learning, batch, EARLY)
        assert values.keys() == {"loss", "contrast"}
        found.append((values, parameters_of(learning.student)))
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("moment", [EARLY, LATE])
def test_encoder_and_decoder_learn_one_after_the_other(moment):
    learning = COMPARED["Contrastive"].begin()
    take_step(learning, pretraining_batch(), moment)
    parts = {"encoder": learning.student.encoder, "decoder": learning.student.decoder.stages, **learning.heads}
    learns = {
        name: any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
        for name, part in parts.items()
    }
    early = moment is EARLY
    assert learns == {"encoder": early, "images": early, "decoder": not early, "regions": not early}


def of_images(monkeypatch, module, name, vectors=BY_PLACE, seen=IMAGES, *args, **settings):
    """The contrast of given vectors."""
    monkeypatch.setattr(module, "vectors", lambda *_: (vectors, []))
    return COMPARED[name].begin(**settings).method.of_images(seen, *args)


def test_contrast_of_two_slices_of_other_parts_by_hand(monkeypatch):
    """Each view: its partner with e, two of another part with e^0."""
    loss = of_images(monkeypatch, contrastive, "Contrastive", temperature=1.0)
    assert loss.item() == pytest.approx(math.log(1 + 2 / math.e))


def test_slices_of_one_part_are_partners_if_their_scans_differ(monkeypatch):
    """Where all are of one part, there is nobody to be told from, and nothing to learn."""
    same_part = Seen(IMAGES.images, torch.tensor([0.1, 0.2]), IMAGES.scan)
    assert of_images(monkeypatch, contrastive, "Contrastive", seen=same_part).item() == pytest.approx(0, abs=1e-6)
    third = Seen(torch.zeros(3, 1, 4, 4), torch.tensor([0.1, 0.2, 0.9]), torch.tensor([5, 7, 7]))
    apart = torch.eye(3).repeat(2, 1)
    with_partner = of_images(monkeypatch, contrastive, "Contrastive", apart, third, temperature=1.0)
    view, other, alone = math.log(1 + 2 / math.e), math.log(3), math.log(1 + 4 / math.e)
    # four anchors: one view (against 2 of another part) and both of the other slice; two: one view, against 4
    assert with_partner.item() == pytest.approx((4 * (view + 2 * other) / 3 + 2 * alone) / 6)


def test_self_paced_contrast_is_the_sum_over_three_marks(monkeypatch):
    """Part, scan and slice: here each pairs the views of an image, ln(1 + 2 / e) = 0.5514 each."""
    loss, _ = of_images(monkeypatch, self_paced, "SelfPaced", BY_PLACE, IMAGES, 1.0, temperature=1.0, pace="none")
    assert loss.item() == pytest.approx(3 * 0.5514, abs=1e-3)
    soft, _ = of_images(monkeypatch, self_paced, "SelfPaced", BY_PLACE, IMAGES, 1.0, temperature=1.0)
    assert soft.item() == pytest.approx(3 * 0.5514 * (1 - 0.5514), abs=1e-3)
    shut, _ = of_images(monkeypatch, self_paced, "SelfPaced", BY_PLACE, IMAGES, 0.5, temperature=1.0)
    assert shut.item() == 0


def test_the_gate_opens_over_both_stages():
    """200 of 1000 epochs are the pretraining: half of it is a tenth, and half of the rest six tenths, of the whole."""
    gate = COMPARED["SelfPaced"].begin(first_gate=1.0, last_gate=11.0).method.gate
    for share in (0.0, 0.1, 0.2, 0.6):
        assert gate(Moment(0, 0, 10, of_training=share)) == pytest.approx(1 + 10 * math.sqrt(share))


def test_images_of_a_loader_that_does_not_say_where_they_are_from():
    images = torch.zeros(3, 1, 4, 4)
    seen = Seen.of(SimpleNamespace(images=images, position=None, scan=None))
    marks = seen.marks(4)
    assert marks["part"].tolist() == [-1] * 6 and marks["scan"].tolist() == marks["image"].tolist() == [0, 1, 2] * 2
    assert len(Seen.all_of(Batch.of(pair(), CPU)).images) == 4
