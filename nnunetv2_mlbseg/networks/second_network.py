"""A second network of the same plan, initialised otherwise."""

from __future__ import annotations

import copy
from typing import Any, cast

from torch import nn

from nnunetv2_mlbseg.networks.surgery import plain_network


def initialised_anew(network: nn.Module) -> nn.Module:
    """A copy of a network on the CPU, in train mode, whose layers are initialised again as nnU-Net initialises them.

    It draws on from torch's present random state, on the CPU.

    Args:
        network: As it was built; wrappers (compile, data parallel) are left behind.
    """
    made: Any = copy.deepcopy(plain_network(network)).cpu().train().requires_grad_(True)
    for module in made.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    if hasattr(made, "initialize"):
        made.apply(made.initialize)
    return cast(nn.Module, made)
