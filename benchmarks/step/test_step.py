"""pytest benchmarks/step measures a bootstrapping step beside nnU-Net's own and prints one table of ratios."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from parts import loaders, parts
from scene import Scene, Sizes
from table import IN_BFLOAT16

from nnunetv2_mlbseg.methods.mlbseg.memory import Memory
from nnunetv2_mlbseg.training.batch import Batch

LIBRARIES = {"TorchOpt": "torchopt", "higher": "higher"}
INSTALLED = [way for way, module in LIBRARIES.items() if find_spec(module)]  # the others are missing from the table
WAYS = ("stock", "core", "second order", *INSTALLED, "whole")
PARTS = (
    "views",
    "clean gradient",
    "teacher",
    "tangents on their own",
    "forward with tangents",
    "pseudo labels",
    "weights",
    "weighted forward, backward",
    "consistency",
    "optimiser",
    "EMA",
    "logging",
)
BASE = Sizes(images=5, size=64)
GROWTH = {
    "images (both batches)": [(n, dataclasses.replace(BASE, images=n)) for n in (5, 10, 20)],
    "pixels per image": [(n * n, dataclasses.replace(BASE, size=n)) for n in (32, 64, 128)],
    "classes": [(n, dataclasses.replace(BASE, classes=n)) for n in (2, 4, 8)],
    "views Q + 1, same images": [(n, dataclasses.replace(BASE, images=8, views=n - 1)) for n in (2, 4, 8)],
    "views Q + 1, one image": [(n, dataclasses.replace(BASE, images=n, views=n - 1)) for n in (2, 4, 8)],
    "parameters": [(n * n, dataclasses.replace(BASE, width=n)) for n in (0.5, 1, 2)],
}


@pytest.mark.parametrize("way", WAYS)
def test_whole_step(way, scene, fastest, found):
    """Seconds of one optimisation step, from the batch on the device to the updated network."""
    found.seconds[way] = fastest(scene.ways()[way])


@pytest.mark.parametrize("way", ["stock", "whole"])
def test_bfloat16(way, scene, fastest, found, request):
    """Seconds of a step of a training on the CPU in bfloat16."""
    if not request.config.option.bfloat16:
        pytest.skip("not asked for by --bfloat16")
    found.seconds[f"{way}{IN_BFLOAT16}"] = fastest(scene.in_bfloat16()[way])


@pytest.mark.parametrize("what", ["stock loading", "our loading"])
def test_loading(what, scene, fastest, found, tmp_path):
    """Seconds until a loader hands over its next batch, augmentation included, without worker processes."""
    loader = loaders(scene, tmp_path)[what == "our loading"]
    found.seconds[what] = fastest(lambda: next(loader))


@pytest.mark.parametrize("part", PARTS)
def test_part(part, scene, fastest, found):
    """Seconds of each part of our step on its own."""
    found.parts[part] = fastest(parts(scene)[part])


@pytest.mark.parametrize("way", WAYS)
def test_peak_memory(way, sizes, request, found):
    """MiB that a step needs at most, beyond what network and batches take; each way in a process of its own."""
    program = str(Path(__file__).with_name("peak_memory.py"))
    arguments = [way, str(sizes.images), str(sizes.size), request.config.option.device]
    done = subprocess.run([sys.executable, "-W", "ignore", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found.mebibytes[way] = float(done.stdout)


@pytest.mark.parametrize("way", ["stock", "whole"])
@pytest.mark.parametrize(("axis", "point"), [(axis, n) for axis, points in GROWTH.items() for n in range(len(points))])
def test_growth(axis, point, way, fastest, found, request):
    """Seconds of a step along one axis of its size, all others held, beside the stock step at the same size."""
    value, sizes = GROWTH[axis][point]
    scene = Scene(sizes, request.config.option.device)
    found.growth[axis].setdefault(value, {})[way] = fastest(scene.ways()[way])


def test_overhead(classes, sizes, request, in_turns, found):
    """Seconds of a step on a network as nnU-Net plans it for 128 pixels, and of the passes through networks in it."""
    option = request.config.option
    sizes = dataclasses.replace(sizes, classes=classes, stages=6, deep=option.preset == "default")
    scene = Scene(sizes, option.device, preset=option.preset)
    found.overhead[classes] = in_turns({"networks": scene.networks_alone, "whole": scene.whole})


def test_all_ways_find_the_same_weights(sizes):
    """Before any time is believed: the second-order ways and the tangents agree."""
    scene = Scene(dataclasses.replace(sizes, images=5, size=32))
    images, target = scene.core_batch["imperfect_data"], scene.core_batch["imperfect_target"][:, 0].long()
    pseudo = scene.network(images).argmax(dim=1)
    raw = scene.core.method.weigh(Batch.of(scene.core_batch, scene.device), Memory(), 1.0).labels[0]
    for way in (scene._weights_by_hand, *(getattr(scene, f"_weights_by_{LIBRARIES[way]}") for way in INSTALLED)):
        ours = torch.stack([raw.raw_imperfect, raw.raw_pseudo])
        theirs = torch.stack(way(images, target, pseudo))
        ours, theirs = ours / ours.norm(), theirs / theirs.norm()  # the clean gradient's length cancels in Eq. 8
        assert (ours - theirs).norm() < 1e-4
