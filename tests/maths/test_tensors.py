"""Precision of intermediate results; and that the guard against host reads, which all these tests use, does fire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32, without_autocast


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_left_alone(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, dtype=dtype)
    assert at_least_float32(tensor) is tensor


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_and_keeps_its_gradient(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, dtype=dtype, requires_grad=True)
    wider = at_least_float32(tensor)
    assert wider.dtype == torch.float32
    wider.sum().backward()
    assert tensor.grad is not None and tensor.grad.dtype == dtype


@pytest.mark.parametrize(
    "read", [lambda t: t.sum().item(), lambda t: bool(t.sum() > 0), lambda t: t[t > 0], lambda t: torch.nonzero(t)]
)
def test_the_guard_against_host_reads_fires(read: Callable[[Tensor], object]) -> None:
    with pytest.raises(AssertionError, match=r"host|dynamic shape"), NoHostReads():
        read(torch.ones(3))


def test_autocast_is_off_inside_a_block() -> None:
    square = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (square @ square).dtype == torch.bfloat16
        with without_autocast("cpu"):
            assert (square @ square).dtype == torch.float32
        assert (square @ square).dtype == torch.bfloat16


def test_a_device_without_autocast_needs_nothing_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch 2.3 and 2.4 answer for MPS; every torch refuses the device "meta"."""

    def refuse(device_type: str, **options: object) -> None:
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")

    with pytest.raises(RuntimeError):
        torch.autocast("meta", enabled=False)
    with without_autocast("meta"):
        pass
    monkeypatch.setattr(torch, "autocast", refuse)
    with without_autocast("mps"):
        pass
