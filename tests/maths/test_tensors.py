"""Precision of intermediate results; and that the guard against host reads, which all these tests use, does fire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32, softmax_, sums_of_products, without_autocast


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
def test_sums_of_products_are_over_pixels(channels: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    second = torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)
    expected = (first * second).sum(dim=tuple(range(2, first.ndim)))
    torch.testing.assert_close(sums_of_products(first, second), expected)


def test_softmax_takes_the_place_of_its_logits_also_of_large_ones() -> None:
    logits = 300 * torch.randn(2, 4, 5, 3, generator=torch.Generator().manual_seed(1))
    expected = logits.softmax(dim=1)
    found = softmax_(logits)
    assert found.data_ptr() == logits.data_ptr()
    torch.testing.assert_close(found, expected)


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
