"""The pass of `logit_tangents` as one compiled graph, for GPUs: its element-wise operations are most of its time there.

Forward-mode differentiation through `torch.func.jvp` compiles as a whole, where duals that are put into a module's
place do not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from nnunetv2_mlbseg.maths.tangents.forward import Direction, Outputs, logit_tangents
from nnunetv2_mlbseg.maths.tensors import at_least_float32, without_autocast
from nnunetv2_mlbseg.networks.surgery import mixes_images, plain_network

Compiler = Callable[..., Any]
"""`torch.compile`, or something that takes the same."""


class CompiledTangents:
    """`logit_tangents` of one network, compiled when it is first called.

    A network with batch normalisation, and one that torch cannot compile so, has the pass that is not compiled; of the
    second a warning tells.
    """

    def __init__(self, network: nn.Module, compiler: Compiler):
        self._network = module = plain_network(network)

        def both(parameters: dict[str, Tensor], tangents: dict[str, Tensor], images: Tensor) -> tuple[Outputs, Outputs]:
            def outputs(replaced: dict[str, Tensor]) -> Outputs:
                found: Outputs = functional_call(module, replaced, (images,), tie_weights=False)
                return found

            logits, derivatives = jvp(outputs, (parameters,), (tangents,))[:2]
            return logits, derivatives

        self._compiled = None if mixes_images(module) else compiler(both, fullgraph=True)

    @property
    def compiles(self) -> bool:
        """Whether the pass is, or will be, a compiled one."""
        return self._compiled is not None

    def __call__(self, images: Tensor, direction: Direction, exact: bool = True) -> tuple[Outputs, Outputs]:
        """See `logit_tangents`; half precision is the caller's, norm layers included: compiled sums are in float32."""
        if self._compiled is not None:
            try:
                return self._both(images, direction, exact)
            except torch._dynamo.exc.TorchDynamoException as error:
                self._compiled = None
                reason = " ".join(str(error).strip().splitlines()[:2])
                warnings.warn(
                    f"the pass for derivatives is not compiled, which only makes it slower: {reason}", stacklevel=2
                )
        return logit_tangents(self._network, images, direction, exact)

    def _both(self, images: Tensor, direction: Direction, exact: bool) -> tuple[Outputs, Outputs]:
        assert self._compiled is not None, "there is something compiled"
        pairs = zip(self._network.parameters(), direction, strict=True)
        along = {id(p): torch.zeros_like(p) if v is None else v.detach().to(p.dtype) for p, v in pairs}
        places = dict(_places(self._network))
        parameters = {name: parameter.detach() for name, parameter in places.items()}
        tangents = {name: along[id(parameter)] for name, parameter in places.items()}
        images = images.to(
            at_least_float32(next(iter(parameters.values()))).dtype, copy=True
        )  # torch does not compile this of a view
        with torch.no_grad(), without_autocast(images.device.type) if exact else nullcontext():
            found: tuple[Outputs, Outputs] = self._compiled(parameters, tangents, images)
        return found


def _places(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Where parameters are, each place once: torch would not put back what it replaces under two names of a module."""
    for prefix, module in network.named_modules():  # each module once; nnU-Net's have several names
        yield from module.named_parameters(prefix, recurse=False, remove_duplicate=False)
