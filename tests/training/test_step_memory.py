"""The peak memory of a step on a GPU, beside that of nnU-Net's own; counted, since there is none."""

from __future__ import annotations

import pytest
import torch
from counted_steps import made_up, our_peak, products, stock_peak
from method_support import drawn_batch, mlbseg_step, take_guarded_step

from nnunetv2_mlbseg.training import tangent_pass

SIZES = ((32, 64, 128), 80, 10)
"""Features, pixels and images. Parameters take 4 to 6 % of the memory, as they do in nnU-Net's plans for 256 x 256."""
IN_3D = ((32, 64, 128), 64, 2, 3)
"""Two patches, as nnU-Net plans for most 3D data."""
MOST = 1.10


def test_bytes_are_counted_while_they_live():
    with made_up() as live:
        first = torch.zeros(1000)
        second = first.view(10, 100) + 1
        assert live.now == 8000
        del first
        assert live.now == 4000 and live.peak == 8000
        assert second.sum().shape == () and live.peak == 8000


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_a_step_takes_hardly_more_memory_than_nnunets_own(kind, weighting):
    """The teacher and the gradient of the clean batch are what it has to hold beside the activations."""
    assert our_peak(kind, *SIZES, weighting=weighting) <= MOST * stock_peak(kind, *SIZES)


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_a_step_of_the_warm_up_does_not_either(kind):
    assert our_peak(kind, *SIZES, stage="warm-up") <= MOST * stock_peak(kind, *SIZES)


@pytest.mark.parametrize(("weighting", "views"), [("tied", 1), ("meta", 1), ("tied", 4)])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_a_step_in_3d_takes_hardly_more_memory_either(kind, weighting, views):
    """A patch is shown as it is and in some views, one after the other."""
    ours = our_peak(kind, *IN_3D, weighting=weighting, views_per_step=views, images_at_once=1)
    assert ours <= MOST * stock_peak(kind, *IN_3D)


def test_five_patches_at_once_would_take_more():
    assert our_peak("residual", *IN_3D, views_per_step=None) > 1.8 * stock_peak("residual", *IN_3D)


@pytest.mark.parametrize(
    ("point", "settings", "units"),
    [
        (("plain", *SIZES), {}, 30 + 30 + 3 * 2 + 10 + 6),  # both batches, derivatives, teacher, strong views
        (("plain", *SIZES), {"strong_weight": 0}, 30 + 30 + 3 * 2 + 10),
        (("plain", *SIZES), {"stage": "warm-up"}, 30 + 2 + 6),  # images, then their strong views
        (("plain", *SIZES), {"strong_weight": 0, "weighting": "meta"}, 30 + 30 + 3 * 10 + 10),
        (("plain", *SIZES), {"strong_weight": 0, "weighting": "uniform"}, 30 + 30 + 10),
        (("residual", *IN_3D), {}, 6 + 6 + 3 * 1 + 2),
        (("residual", *IN_3D), {"images_at_once": 1}, 6 + 6 + 3 * 1 + 2),  # which of two knows its logits already
        (("residual", *IN_3D), {"images_at_once": 1, "weighting": "uniform"}, 6 + 6 + 1 + 2),
        (("plain", *IN_3D), {"images_at_once": 1, "views_per_step": None}, 6 + 15 + 3 * 1 + 3 + 5),
    ],
)
def test_a_step_multiplies_as_often_as_its_passes_say(point, settings, units):
    """In forward passes of one image; nnU-Net's step has three for each, or a little less: none for pixel values."""
    stock = 3 * point[3]
    assert products(*point, **settings) == pytest.approx(units / stock, rel=0.005)
    assert units <= 3.34 * stock or settings.get("views_per_step", 1) is None


def test_derivatives_of_all_images_at_once_would_take_more(monkeypatch):
    monkeypatch.setattr(tangent_pass, "TANGENT_PARTS", 1)
    assert our_peak("plain", *SIZES, weighting="meta") > 1.3 * stock_peak("plain", *SIZES)


@pytest.mark.parametrize("network", ["forward mode", "replayed"])
def test_no_gradient_lives_on_after_its_step(network):
    learning = mlbseg_step(network)
    take_guarded_step(learning, drawn_batch())
    assert all(parameter.grad is None for parameter in learning.student.parameters())
