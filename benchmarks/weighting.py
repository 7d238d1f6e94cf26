"""What a way to weigh labels brings, in a minute or two per training: the package's step on slices held in memory.

    python benchmarks/weighting.py nnUNet_raw/Dataset501_LA --rows clean given uniform meta tied true --seeds 0 1 2

The dataset is one that ``mlbseg convert`` made, small (say ``--size 48x48``), with one image channel, two classes
and ``labelsTr_true``. A plain loop replaces nnU-Net's trainer: whole slices, its augmentation in a cheaper form, an
undeepened U-Net, nnU-Net's loss, optimiser and learning rate decay. It is meant for choosing among ideas before they go
into a study; its numbers are not comparable to nnU-Net's. All trainings of a seed start from one warm-up on the clean
cases. Prints, and appends to --out, a JSON line per training: 3D Dice over the validation cases of fold 0.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.class_shares import fitted_bias
from nnunetv2_mlbseg.maths.mean_teacher import ema_decay_at, ema_update_, make_teacher
from nnunetv2_mlbseg.methods.mlbseg.method import BootstrapStep
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.settings.overrides import resolve

PLAIN = {"clean": "given", "given": "given", "true": "true"}  # rows without bootstrapping, and the labels they read
CPU = torch.device("cpu")


class Case:
    """A scan as slices: image ``(Z, 1, Y, X)`` in standard deviations, given and true label of the same shape."""

    def __init__(self, dataset: Path, name: str):
        image = self._read(dataset / "imagesTr" / f"{name}_0000.nii.gz")
        self.image = (image - image.mean()) / image.std().clamp_min(1e-8)
        self.given = self._read(dataset / "labelsTr" / f"{name}.nii.gz")
        hidden = dataset / "labelsTr_true" / f"{name}.nii.gz"
        self.true = self._read(hidden) if hidden.is_file() else self.given

    @staticmethod
    def _read(path: Path) -> Tensor:
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
        return torch.from_numpy(array).unsqueeze(1)


class Slices:
    """Batches of augmented slices; a third of each shows foreground, as in nnU-Net."""

    def __init__(self, images: list[Tensor], labels: list[Tensor], generated: list[bool], size: int, seed: int):
        self.images, self.labels, self.size = torch.cat(images), torch.cat(labels), size
        self.generated = torch.cat([torch.full((len(x),), made) for x, made in zip(images, generated, strict=True)])
        self.case = torch.cat([torch.full((len(x),), number) for number, x in enumerate(images)])
        self.foreground = (self.labels.flatten(1).amax(1) > 0).nonzero().flatten()
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images and labels (B, 1, Y, X), whose label a network made, and the number of their case, (B,) each."""
        some, forced = self.size - round(self.size / 3), round(self.size / 3)
        anywhere = torch.randint(len(self.images), (some,), generator=self.generator)
        within = torch.randint(len(self.foreground), (forced,), generator=self.generator)
        drawn = torch.cat([anywhere, self.foreground[within]])
        return *augment(self.images[drawn], self.labels[drawn], self.generator), self.generated[drawn], self.case[drawn]


def augment(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotation, scaling, mirroring, noise, brightness, contrast and gamma, as often and as strong as nnU-Net's."""
    count = len(images)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    def sometimes(chance: float, value: Tensor, otherwise: float) -> Tensor:
        return torch.where(torch.rand(count, 1, 1, 1, generator=generator) < chance, value, otherwise)

    angle = sometimes(0.2, between(-math.pi, math.pi), 0.0).view(-1)
    scale = sometimes(0.2, between(0.7, 1.4), 1.0).view(-1)
    mirror = 1 - 2 * torch.randint(2, (count, 2), generator=generator)
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros(count)
    rows = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    rows[:, :, :2] *= mirror.unsqueeze(1)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    labels = F.grid_sample(labels, grid, mode="nearest", align_corners=False)
    images = F.grid_sample(images, grid, align_corners=False)
    noise = torch.randn(images.shape, generator=generator)
    images = images + noise * sometimes(0.1, between(0, 0.1), 0.0).sqrt()
    images = images * sometimes(0.15, between(0.75, 1.25), 1.0)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * sometimes(0.15, between(0.75, 1.25), 1.0) + mean
    low = images.amin((1, 2, 3), keepdim=True)
    extent = images.amax((1, 2, 3), keepdim=True) - low + 1e-6
    return ((images - low) / extent).clamp_min(0) ** sometimes(0.3, between(0.7, 1.5), 1.0) * extent + low, labels


def autocast(bfloat16: bool) -> AbstractContextManager[Any]:
    """bfloat16 on the CPU, or nothing."""
    return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)


class Step(BootstrapStep):
    """The package's step; with ``bfloat16`` the networks run in that type, which some CPUs do faster."""

    bfloat16 = False

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.bfloat16)


def network(features: list[int], seed: int) -> nn.Module:
    """A plain U-Net with one stage per entry of ``features``, for one image channel and two classes."""
    torch.manual_seed(seed)
    depth = len(features)
    normal = {"norm_op": nn.InstanceNorm2d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
    active = {"nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}, "conv_bias": True}
    strides, twice = [1] + [2] * (depth - 1), [2] * (depth - 1)
    return PlainConvUNet(1, depth, features, nn.Conv2d, 3, strides, 2, 2, twice, **normal, **active)


def nnunet_loss() -> nn.Module:
    """nnU-Net's Dice and cross-entropy loss."""
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    return DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)


class Training:
    """A network, its teacher and optimiser; knows how to take plain and bootstrapping steps and how to score."""

    def __init__(self, options: argparse.Namespace, seed: int):
        self.options, self.seed, self.iteration = options, seed, 0
        self.network = network(options.features, seed)
        self.teacher = make_teacher(self.network)
        rate = {"lr": options.lr, "momentum": 0.99, "nesterov": True, "weight_decay": 3e-5}
        self.optimizer = torch.optim.SGD(self.network.parameters(), **rate)
        self.loss = nnunet_loss()

    def run(self, take: Callable[[], None], iterations: int) -> None:
        total = self.options.warmup + self.options.iterations
        for _ in range(iterations):
            for group in self.optimizer.param_groups:
                group["lr"] = self.options.lr * (1 - self.iteration / total) ** self.options.lr_decay_exponent
            take()
            ema_update_(self.teacher, self.network, ema_decay_at(self.iteration, self.options.ema))
            self.iteration += 1

    def plain(self, slices: Slices) -> None:
        images, labels, *_ = slices()
        self.optimizer.zero_grad()
        with autocast(self.options.bfloat16):
            loss = self.loss(self.network(images).float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()

    def step(self, config: dict[str, Any], cases: int) -> Step:
        config = {"seed": self.seed, "warmup_epochs": 1, "epochs": 1, "ema_decay": self.options.ema, **config}
        networks = (self.network, self.teacher, self.optimizer)
        made = Step(*networks, None, self.loss, [1.0], None, resolve(MLBSegSettings, config), CPU, noisy_cases=cases)
        made.bfloat16 = self.options.bfloat16
        made.replays = not self.options.bfloat16  # the tangents stay in float32
        return made

    @torch.no_grad()
    def dice(self, which: nn.Module, cases: list[Case]) -> float:
        scores = []
        for case in cases:
            found, true = predict(which, case.image) > 0, case.true > 0
            scores.append(float(2 * (found & true).sum() / (found.sum() + true.sum()).clamp_min(1)))
        return round(sum(scores) / len(scores), 4)


@torch.no_grad()
def predicted_logits(which: nn.Module, images: Tensor) -> Tensor:
    """``(Z, C, Y, X)``; leaves the network in training mode."""
    which.eval()
    logits: Tensor = which(images)
    which.train()
    return logits


def predict(which: nn.Module, images: Tensor) -> Tensor:
    """The most probable class of every pixel, ``(Z, 1, Y, X)`` float32."""
    return predicted_logits(which, images).argmax(1, keepdim=True).float()


class Lab:
    """The cases of a dataset by role, and the trainings on them."""

    def __init__(self, dataset: Path, options: argparse.Namespace):
        def listed(name: str) -> list[str]:
            path = dataset / "supervision" / f"{name}.json"
            return json.loads(path.read_text()) if path.is_file() else []

        fold = json.loads((dataset / "splits_final.json").read_text())[0]
        self.name, self.options = dataset.name, options
        self.cases = {name: Case(dataset, name) for name in [*fold["train"], *fold["val"]]}
        self.clean, self.unlabeled = (
            [n for n in listed(role) if n in fold["train"]] for role in ("clean", "unlabeled")
        )
        self.imperfect = [name for name in fold["train"] if name not in self.clean]
        self.held_out = [self.cases[name] for name in fold["val"]]
        self.warm: dict[int, Training] = {}

    def slices(self, names: list[str], labels: str, size: int, seed: int) -> Slices:
        cases = [self.cases[name] for name in names]
        return Slices([c.image for c in cases], [getattr(c, labels) for c in cases], [False] * len(cases), size, seed)

    def warmed_up(self, seed: int) -> tuple[Training, Slices]:
        """The training after the warm-up, and slices of the clean cases to go on with."""
        clean = self.slices(self.clean, "given", self.options.batch, seed)
        if seed not in self.warm:
            self.warm[seed] = Training(self.options, seed)
            self.warm[seed].run(lambda: self.warm[seed].plain(clean), self.options.warmup)
        clean.generator.manual_seed(seed + 10_000)
        return copy.deepcopy(self.warm[seed]), clean

    def generated(self, teacher: nn.Module, align: bool) -> dict[str, Tensor]:
        """What the teacher labels the unlabeled cases with (Eq. 1), with the clean cases' share if asked to."""
        logits = {name: predicted_logits(teacher, self.cases[name].image) for name in self.unlabeled}
        if align and logits:
            share = torch.stack([self.cases[name].given.mean() for name in self.clean]).mean()
            pixels = torch.cat([found.movedim(1, -1).flatten(0, -2) for found in logits.values()])
            bias = fitted_bias(pixels, torch.stack([1 - share, share])).view(1, 2, 1, 1)
            logits = {name: found + bias for name, found in logits.items()}
        return {name: found.argmax(1, keepdim=True).float() for name, found in logits.items()}

    def imperfect_slices(self, teacher: nn.Module, seed: int, align: bool) -> Slices:
        """The imperfect cases, the unlabeled ones with generated labels."""
        cases, made = [self.cases[n] for n in self.imperfect], [n in self.unlabeled for n in self.imperfect]
        generated = self.generated(teacher, align)
        labels = [generated[n] if g else self.cases[n].given for n, g in zip(self.imperfect, made, strict=True)]
        return Slices([c.image for c in cases], labels, made, self.options.imperfect_batch, seed + 1_000)

    def train(self, row: str, seed: int, config: dict[str, Any]) -> Training:
        options = self.options
        if row in ("given", "true"):
            labelled = [n for n in self.imperfect if row == "true" or n not in self.unlabeled]
            training, slices = Training(options, seed), self.slices(self.clean + labelled, row, options.batch, seed)
            training.run(lambda: training.plain(slices), options.warmup + options.iterations)
            return training
        training, clean = self.warmed_up(seed)
        if row == "clean":
            training.run(lambda: training.plain(clean), options.iterations)
            return training
        step = training.step({"weighting": row, **config}, cases=len(self.imperfect))
        imperfect = self.imperfect_slices(training.teacher, seed, step.config.align_shares)

        def bootstrap() -> None:
            step.begin_epoch(training.iteration - options.warmup)
            (data, target, *_), (images, labels, made, case) = clean(), imperfect()
            batch = {"data": data, "target": target, "imperfect_data": images, "imperfect_target": labels}
            step({**batch, "imperfect_generated": made, "imperfect_case": torch.where(made, -1, case)})

        training.run(bootstrap, options.iterations)
        return training


def main() -> None:
    """Read the options, train every row, print and append its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, help="raw dataset folders")
    rows = [*PLAIN, "uniform", "meta", "tied"]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--config", type=json.loads, default={}, help="configuration of the method, a JSON object")
    parser.add_argument("--features", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--warmup", type=int, default=600, help="iterations")
    parser.add_argument("--iterations", type=int, default=900, help="iterations after the warm-up")
    parser.add_argument("--batch", type=int, default=8, help="clean images")
    parser.add_argument("--imperfect-batch", type=int, default=3, help="imperfect images, each in all views")
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--lr-decay-exponent", type=float, default=0.9, help="0: a constant learning rate")
    parser.add_argument("--ema", type=float, default=0.99)
    parser.add_argument("--bfloat16", action="store_true", help="networks in bfloat16")
    parser.add_argument("--out", type=Path, help="a file to append the lines to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for dataset in options.datasets:
        lab = Lab(dataset, options)
        for seed in options.seeds:
            for row in options.rows:
                began = time.monotonic()
                training = lab.train(row, seed, options.config)
                found: dict[str, Any] = {"dataset": lab.name, "row": row, "seed": seed, "config": options.config}
                found["student"] = training.dice(training.network, lab.held_out)
                found["teacher"] = training.dice(training.teacher, lab.held_out)
                found["seconds"] = round(time.monotonic() - began)
                print(json.dumps(found), flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
