"""Plain training with a loss that wrong labels pull less: the key ``noisy_loss`` of the baseline on all labels."""

from __future__ import annotations

import pytest
import torch
from maths_support import small_network
from method_support import CPU, ROLES, CrossEntropy, learning_of, take_guarded_step
from region_support import at_scales, learning_of_regions, nested_discs, region_target

from nnunetv2_mlbseg.maths.labels import resize_labels
from nnunetv2_mlbseg.maths.robust_losses import ROBUST
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment
from noise_synthesis.safe_io.errors import InputError


def begun(loss: str):
    settings = resolve(Plain.Settings, {"training_labels": "given", "noisy_loss": loss, "seed": 3, "initial_lr": 0.1})
    torch.manual_seed(0)
    return learning_of(Plain, settings, small_network(), CrossEntropy(), momentum=0.9)


def drawn(ignored: bool = True) -> dict[str, torch.Tensor]:
    image = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    target = (image > 0).short()
    if ignored:
        target[:, :, -2:] = 2
    return {"data": image, "target": target}


@pytest.mark.parametrize("loss", ROBUST)
def test_a_step_goes_down_the_loss_of_its_name(loss):
    learning, loaded = begun(loss), drawn()
    logits = learning.student(loaded["data"])
    logits = logits if isinstance(logits, torch.Tensor) else logits[0]
    labels = loaded["target"][:, 0].long()
    expected = ROBUST[loss](logits, torch.where(labels == 2, -1, labels), lambda value: value)
    values = [float(take_guarded_step(learning, loaded, Moment(0, 0, 9))["plain"]) for _ in range(12)]
    assert values[0] == pytest.approx(expected.item(), rel=1e-5) and values[-1] < values[0]
    learning.method.logged()


@pytest.mark.parametrize("loss", ["dice_ce", *ROBUST])
def test_a_robust_loss_begins_after_the_warm_up_with_the_same_loaders(loss):
    """From the start some of them take all pixels of a small structure for background, and keep to it."""
    settings = resolve(Plain.Settings, {"training_labels": "given", "noisy_loss": loss, "warmup_epochs": 3})
    before, after = Plain.stages(settings, 4, ROLES)
    assert (before.epochs, after.epochs) == (3, settings.epochs)
    assert not before.by_method and after.by_method == (loss != "dice_ce")
    assert before.loaders == after.loaders and before.name == after.name
    assert (before.paced_by.roles, after.paced_by.roles) == (("clean",), ("noisy", "unlabeled"))


@pytest.mark.parametrize("loss", ROBUST)
def test_ignored_pixels_take_no_part(loss):
    """What stands at them, in both labels, changes nothing; a batch of nothing else is 0."""
    nothing = {**drawn(), "target": torch.full((2, 1, 12, 12), 2, dtype=torch.int16)}
    learning = begun(loss)
    terms = learning.method.terms(Batch.of(nothing, CPU), Moment(0, 0, 9))
    assert terms.loss.item() == 0 and torch.isfinite(terms.loss)


@pytest.mark.parametrize("loss", ROBUST)
def test_of_regions_it_is_the_mean_of_what_it_is_for_two_classes_each(loss):
    """By slices of the network's own outputs: the logits (0, z) of every region."""
    network = small_network(classes=2, deep_supervision=True)
    learning = learning_of_regions(network, 2, training_labels="given", noisy_loss=loss)
    images, masks = nested_discs(3, torch.Generator().manual_seed(2))
    ignored = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(3)) < 0.2
    loaded = {"data": images, "target": at_scales(region_target(masks, ignored))}
    found = learning.method.terms(Batch.of(loaded, CPU), Moment(0, 0, 9)).losses["plain"]
    expected = 0
    for factor, output in zip((2 / 3, 1 / 3), network(images), strict=False):
        for region in range(2):
            two = torch.stack([torch.zeros_like(output[:, region]), output[:, region]], dim=1)
            labels = torch.where(ignored, -1, masks[:, region].long())
            expected += factor / 2 * ROBUST[loss](two, resize_labels(labels, output.shape[2:]), lambda value: value)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert any(parameter.grad.any() for parameter in network.parameters())


def test_it_is_refused_where_no_noisy_label_trains():
    with pytest.raises(InputError, match=r"noisy_loss is gce with training_labels bootstrapped, expected dice_ce"):
        resolve(Plain.Settings, {"noisy_loss": "gce"})
