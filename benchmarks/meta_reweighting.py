"""Time of the weight maps: one tangent pass against the second-order virtual step, beside a plain training step.

    python benchmarks/meta_reweighting.py --images 8 --size 96 --repeats 5

All on the CPU with one thread, float32, PlainConvUNet. Prints the smallest CPU time of each way and its ratio to the
plain step, and the relative difference of the two ways' weight maps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from maths_support import VirtualStep, clean_loss, relative_error

from nnunetv2_mlbseg.losses import weighted_cross_entropy
from nnunetv2_mlbseg.meta_reweighting import label_weights, logit_tangents, normalize_weights


def network() -> nn.Module:
    """A 2D U-Net with the options of nnU-Net's planner and 1.9 million parameters."""
    return PlainConvUNet(
        input_channels=1,
        n_stages=4,
        features_per_stage=(32, 64, 128, 256),
        conv_op=nn.Conv2d,
        kernel_sizes=3,
        strides=(1, 2, 2, 2),
        num_classes=2,
        n_conv_per_stage=2,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


class Step:
    """The three ways to take one step on the same data. Each returns the raw weight maps it used, if any."""

    def __init__(self, images: int, size: int) -> None:
        torch.manual_seed(0)
        self.network = network()
        self.parameters = list(self.network.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, 0.0)
        self.images, self.clean_images = torch.randn(2, images, 1, size, size)
        self.imperfect, self.pseudo, self.clean = torch.randint(2, (3, images, size, size))
        self.equal = torch.full(self.imperfect.shape, 1 / self.imperfect.numel())

    def plain(self) -> None:
        self._update([(self.imperfect, self.equal)])

    def tangent(self) -> list[Tensor]:
        loss = clean_loss(self.network(self.clean_images), [self.clean])
        direction = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        logits, tangents = logit_tangents(self.network, self.images, direction)
        raw = [label_weights(logits, tangents, labels) for labels in (self.imperfect, self.pseudo)]  # type: ignore[arg-type]
        return self._weighted(raw)

    def second_order(self) -> list[Tensor]:
        labels = [[self.imperfect], [self.pseudo]]
        step = VirtualStep(self.network)
        raw = [scales[0] for scales in step.weights(self.images, labels, self.clean_images, [self.clean])]
        return self._weighted(raw)

    def _weighted(self, raw: list[Tensor]) -> list[Tensor]:
        weights = normalize_weights(raw[0], raw[1], "sum")
        self._update(list(zip((self.imperfect, self.pseudo), weights, strict=True)))
        return raw

    def _update(self, terms: list[tuple[Tensor, Tensor]]) -> None:
        self.optimizer.zero_grad()
        logits = self.network(self.images)
        torch.stack([weighted_cross_entropy(logits, labels, w) for labels, w in terms]).sum().backward()
        self.optimizer.step()


def fastest(way: Callable[[], object], repeats: int) -> float:
    """Seconds of CPU time; the smallest, since other programs only ever add to it."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        way()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Parse the options, time the three ways, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, help="images in each of the two batches (default: 8)")
    parser.add_argument("--size", type=int, default=96, help="height and width in pixels (default: 96)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way (default: 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    step = Step(arguments.images, arguments.size)
    print(f"{sum(p.numel() for p in step.parameters) / 1e6:.2f} million parameters")
    pairs = zip(step.tangent(), step.second_order(), strict=True)
    print(f"relative difference of the weight maps: {max(relative_error(a, b) for a, b in pairs):.1e}")
    seconds = {way.__name__: fastest(way, arguments.repeats) for way in (step.plain, step.tangent, step.second_order)}
    for name, value in seconds.items():
        print(f"{name:>14} {value:7.2f} s  {value / seconds['plain']:5.2f} x plain")


if __name__ == "__main__":
    main()
