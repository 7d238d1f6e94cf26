"""Shared by the tests of the maths: small real networks, the second-order oracle, two processes, no host reads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnunetv2_mlbseg.maths.labels import IGNORE, ImperfectLabels, resize_labels
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.tensors import Total
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives, label_weights
from nnunetv2_mlbseg.maths.weighting.seen import Seen

Result = TypeVar("Result")
HALVES = (slice(0, 1), slice(1, 2))
"""The images of a batch of two, one for each of two processes."""

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


def small_network(
    kind: str = "plain",
    *,
    classes: int = 2,
    deep_supervision: bool = False,
    norm: str = "instance",
    dims: int = 2,
    flat: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> nn.Module:
    """A U-Net of three stages, built with the options nnU-Net's planner writes, in train mode.

    ``flat``: as planned for stacks of slices far apart, the finest stage within slices.
    """
    torch.manual_seed(seed)
    architecture, blocks = {
        "plain": (PlainConvUNet, {"n_conv_per_stage": 2}),
        "residual": (ResidualEncoderUNet, {"n_blocks_per_stage": (1, 2, 2)}),
    }[kind]
    network = architecture(
        input_channels=1,
        n_stages=3,
        features_per_stage=(4, 6, 8),
        conv_op=_CONVOLUTIONS[dims],
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3)) if flat else 3,
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)) if flat else (1, 2, 2),
        num_classes=classes,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=_NORMS[norm, dims],
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
        **blocks,
    )
    with torch.no_grad():
        for parameter in network.parameters():  # affine parameters away from 1 and 0, so that they take part
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.to(dtype)


def as_list(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def literal_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax of the label's class, one class after the other; 0 where the label is negative."""
    log_sum = logits.exp().sum(dim=1).log()
    loss = torch.zeros_like(log_sum)
    for label in range(logits.shape[1]):
        loss = loss + (labels == label) * (log_sum - logits[:, label])
    return loss


def clean_loss(outputs: Tensor | Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
    """Mean cross-entropy of each output, halved from scale to scale."""
    terms = [literal_cross_entropy(z, y).mean() for z, y in zip(as_list(outputs), labels, strict=True)]
    return sum((0.5**scale * term for scale, term in enumerate(terms)), torch.zeros_like(terms[0]))


class VirtualStep:
    """Eq. 4-6 to the letter: step, look at the clean loss afterwards, differentiate through both.

    Works on a copy of the network whose parameters are removed and set as plain attributes, so that any tensor, also
    one with a history, can stand in for a parameter. The copy is never put back together.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network)
        self.theta = [p.detach().clone().requires_grad_() for p in self.network.parameters()]
        numbers = {id(p): number for number, p in enumerate(self.network.parameters())}
        self.slots = [
            (module, name, numbers[id(p)])
            for module in self.network.modules()
            for name, p in module._parameters.items()
            if p is not None  # a convolution without bias
        ]
        for module, name, _ in self.slots:
            del module._parameters[name]

    def outputs(self, images: Tensor, theta: Sequence[Tensor]) -> list[Tensor]:
        for module, name, number in self.slots:
            module.__dict__[name] = theta[number]
        return as_list(self.network(images))

    def weights(
        self,
        images: Tensor,
        label_sets: Sequence[Sequence[Tensor]],
        clean_images: Tensor,
        clean_labels: Sequence[Tensor],
        alpha: float = 0.1,
    ) -> list[list[Tensor]]:
        """-dL_clean(theta_hat)/dw at w = 0, over alpha (beta = 1), for each set of labels and each output."""
        outputs = self.outputs(images, self.theta)
        maps = [[torch.zeros_like(z[:, 0], requires_grad=True) for z in outputs] for _ in label_sets]
        loss = torch.zeros_like(outputs[0].sum())
        for w_scales, y_scales in zip(maps, label_sets, strict=True):
            for z, w, y in zip(outputs, w_scales, y_scales, strict=True):
                loss = loss + (w * literal_cross_entropy(z, y)).sum()
        gradient = torch.autograd.grad(loss, self.theta, create_graph=True, allow_unused=True)
        theta_hat = [p if g is None else p - alpha * g for p, g in zip(self.theta, gradient, strict=True)]
        after = clean_loss(self.outputs(clean_images, theta_hat), clean_labels)
        flat = torch.autograd.grad(after, [w for scales in maps for w in scales])
        values = iter(flat)
        return [[-next(values) / alpha for _ in scales] for scales in maps]


class Problem:
    """A network with an imperfect batch (two label sets, some pixels ignored) and a clean batch."""

    def __init__(self, network: nn.Module, classes: int, size: tuple[int, ...]) -> None:
        dtype = next(network.parameters()).dtype
        draw = torch.Generator().manual_seed(3)
        self.network = network
        self.images, self.clean_images = (torch.randn(2, 1, *size, generator=draw).to(dtype) for _ in range(2))
        imperfect, pseudo, clean = (torch.randint(classes, (2, *size), generator=draw) for _ in range(3))
        imperfect[torch.rand(imperfect.shape, generator=draw) < 0.3] = IGNORE
        with torch.no_grad():
            self.sizes = [z.shape[2:] for z in as_list(network(self.images))]
        self.imperfect, self.pseudo, self.clean = (
            [resize_labels(labels, size) for size in self.sizes] for labels in (imperfect, pseudo, clean)
        )

    def direction(self) -> list[Tensor | None]:
        loss = clean_loss(self.network(self.clean_images), self.clean)
        return list(torch.autograd.grad(loss, list(self.network.parameters()), allow_unused=True))

    def by_tangents(self) -> list[list[Tensor]]:
        logits, tangents = (as_list(o) for o in logit_tangents(self.network, self.images, self.direction()))
        return [
            [label_weights(class_derivatives(z, dz), y) for z, dz, y in zip(logits, tangents, labels, strict=True)]
            for labels in (self.imperfect, self.pseudo)
        ]

    def by_virtual_step(self) -> list[list[Tensor]]:
        label_sets = [self.imperfect, self.pseudo]
        return VirtualStep(self.network).weights(self.images, label_sets, self.clean_images, self.clean)


class Elements(TorchDispatchMode):
    """Counts the elements of all tensors that operations make inside: what formulas touch, whatever the machine."""

    made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.made += sum(leaf.numel() for leaf in tree_leaves(found) if isinstance(leaf, Tensor))
        return found


class NoHostReads(TorchDispatchMode):
    """Fails on every operation that, on a GPU, would make the host wait for a value or a data-dependent shape.

    ``operations`` counts what it has seen.
    """

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operations += 1
        name = func.name().removeprefix("aten::").split(".")[0]
        assert name not in self.FORBIDDEN, f"{name} reads a value on the host"
        if name == "index":
            assert not any(i is not None and i.dtype == torch.bool for i in args[1]), "boolean index: dynamic shape"
        return func(*args, **(kwargs or {}))


def relative_error(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).norm() / expected.norm()).item()


def imperfect_labels(classes: Tensor, generated: Tensor, case: Tensor | None = None) -> ImperfectLabels:
    """Labels (B, *S) with the depth levels that they give themselves, without ``case`` from no case in particular."""
    case = torch.full_like(generated, -1, dtype=torch.int64) if case is None else case
    return ImperfectLabels(classes, depth_levels(classes), generated, case)


def confusion_record(counts: Tensor, cases: Tensor | None = None) -> ConfusionRecord:
    """A record of these counts (G, C, C, D), and of those of cases (N*G, C, C, D)."""
    empty = ConfusionRecord.empty(counts.shape[1], groups=len(counts))
    return replace(empty, counts=counts, cases=empty.cases if cases is None else cases)


def labels_of_images(labels: ImperfectLabels, part: slice) -> ImperfectLabels:
    """Of some of the images of a batch."""
    return ImperfectLabels(labels.classes[part], labels.levels[part], labels.generated[part], labels.case[part])


def seen(
    logits: Sequence[Tensor], tangents: Sequence[Tensor] | None, imperfect: ImperfectLabels | Tensor, pseudo: Tensor
) -> Seen:
    """A batch as a training shows it to a weighting; class indices alone are of given labels from no case."""
    if isinstance(imperfect, Tensor):
        imperfect = imperfect_labels(imperfect, torch.zeros(len(imperfect), dtype=torch.bool))
    sizes = tuple(tuple(z.shape[2:]) for z in logits)
    derivatives = None if tangents is None else tuple(map(class_derivatives, logits, tangents))
    return Seen(imperfect, pseudo, logits[0].softmax(1), sizes, derivatives)


def seen_of_images(whole: Seen, part: slice) -> Seen:
    """Of some of the images of a batch."""
    derivatives = None if whole.derivatives is None else tuple(each[part] for each in whole.derivatives)
    labels = labels_of_images(whole.imperfect, part)
    return Seen(labels, whole.pseudo[part], whole.ensemble[part], whole.sizes, derivatives)


def in_two_processes(of_half: Callable[[slice, Total], Result]) -> list[Result]:
    """What each of two processes finds that hold half a batch.

    One sum over both after the other becomes known: what the halves hand out for the next may depend on those before.
    """
    sums: list[Tensor] = []
    while True:
        found, handed = [], []
        for half in HALVES:
            values: list[Tensor] = []

            def total(value: Tensor, values: list[Tensor] = values) -> Tensor:
                values.append(value)
                return sums[len(values) - 1] if len(values) <= len(sums) else value

            found.append(of_half(half, total))
            handed.append(values)
        if len(sums) == len(handed[0]):
            return found
        sums.append(handed[0][len(sums)] + handed[1][len(sums)])
