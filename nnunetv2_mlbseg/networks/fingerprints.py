"""Short summaries of a network's weights: is it the same network, which tensors were loaded from elsewhere."""

from __future__ import annotations

import hashlib

from torch import nn


def fingerprint(network: nn.Module) -> str:
    """SHA-256 over names and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def weight_sums(network: nn.Module) -> dict[str, float]:
    """Sum of absolute values per parameter: a number that changes when the tensor is loaded from elsewhere."""
    return {name: float(value.detach().cpu().double().abs().sum()) for name, value in network.named_parameters()}
