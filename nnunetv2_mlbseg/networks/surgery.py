"""Temporary surgery on a network: look through wrappers, swap parameters, hold running statistics still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel


def plain_network(network: nn.Module) -> nn.Module:
    """Return the module inside ``torch.compile`` and data-parallel wrappers; a bare module is returned as it is."""
    while True:
        compiled_from = getattr(network, "_orig_mod", None)
        if isinstance(compiled_from, nn.Module):
            network = compiled_from
        elif isinstance(network, (DataParallel, DistributedDataParallel)):
            network = network.module
        else:
            return network


def is_compiled(network: nn.Module) -> bool:
    """Whether ``torch.compile`` is among the wrappers of a network."""
    while isinstance(network, (DataParallel, DistributedDataParallel)):
        network = network.module
    return isinstance(getattr(network, "_orig_mod", None), nn.Module)


def mixes_images(network: nn.Module) -> bool:
    """Whether what a network says of an image depends on the others of its batch: by batch normalisation."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def draws_at_random(network: nn.Module) -> bool:
    """Whether a network says something else of the same image the next time: by dropout."""
    return any(isinstance(module, _DropoutNd) and module.training and module.p > 0 for module in network.modules())


@contextmanager
def parameters_replaced(network: nn.Module, replacements: Mapping[int, Tensor]) -> Iterator[None]:
    """Let ``network`` compute with other tensors in place of some of its parameters.

    nnU-Net's networks hold many modules under several names. Each module OBJECT is visited once, so a shared
    parameter is replaced everywhere it is used and put back everywhere, which a swap by name does not achieve.

    Args:
        network: a plain module (see `plain_network`).
        replacements: ``id(parameter)`` -> tensor of the parameter's shape. Other parameters stay.

    On leaving, also by an exception, every module holds its own parameter objects again.
    """
    slots = [
        (module._parameters, name, parameter)
        for module in network.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and id(parameter) in replacements
    ]
    try:
        for parameters, name, parameter in slots:
            # nn.Module refuses plain tensors in setattr; the dictionary is what its forward reads.
            parameters[name] = replacements[id(parameter)]  # type: ignore[assignment]
        yield
    finally:
        for parameters, name, parameter in slots:
            parameters[name] = parameter


@contextmanager
def tangent_mode(network: nn.Module) -> Iterator[None]:
    """Keep norm layers in train mode from updating (writing in place to) their running statistics.

    They still normalise by the statistics of the batch. Layers in eval mode go on using the stored ones.
    """
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    layers = [m for m in network.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    stored = [(layer, {name: layer._buffers[name] for name in buffers}) for layer in layers]
    try:
        for layer, _ in stored:
            layer.track_running_stats = False
            layer._buffers.update(dict.fromkeys(buffers))
        yield
    finally:
        for layer, values in stored:
            layer.track_running_stats = True
            layer._buffers.update(values)


@contextmanager
def norms_in_float32(network: nn.Module) -> Iterator[None]:
    """Let norm layers compute in float32 and hand out the type that they got: sums over an image need its digits."""
    layers = [module for module in network.modules() if isinstance(module, _NormBase)]

    def wide(layer: nn.Module) -> Callable[[Tensor], Tensor]:
        forward = layer.forward
        return lambda images: forward(images.float()).to(images.dtype)

    try:
        for layer in layers:
            layer.forward = wide(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


@contextmanager
def predicting(network: nn.Module) -> Iterator[nn.Module]:
    """A plain network as nnU-Net's inference wants it: one output, evaluation mode. On leaving it is as before."""
    decoder: Any = getattr(network, "decoder", None)
    scales, was_training = getattr(decoder, "deep_supervision", None), network.training
    if scales is not None:
        decoder.deep_supervision = False
    try:
        yield network.eval()
    finally:
        if scales is not None:
            decoder.deep_supervision = scales
        network.train(was_training)
