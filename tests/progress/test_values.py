"""Numbers of an epoch's iterations: fetched from the device, and their means."""

from __future__ import annotations

import math

import torch

from nnunetv2_mlbseg.progress.values import as_array, epoch_means


def test_means_over_tensors_and_numbers():
    outputs = [{"a": torch.tensor(1.0), "b": 2.0}, {"a": torch.tensor(4.0), "b": 4.0}]
    assert epoch_means(outputs) == {"a": 2.5, "b": 3.0}


def test_values_by_view_keep_their_views_and_say_how_much_they_vary():
    outputs = [{"a": torch.tensor([1.0, 10.0])}, {"a": torch.tensor([3.0, 10.0])}]
    assert epoch_means(outputs) == {"a": [2.0, 10.0], "a_sd": [1.0, 0.0]}


def test_values_of_steps_that_were_left_out_are_left_out_and_nan_is_what_is_left_of_none():
    outputs = [{"a": 1.0, "b": math.nan}, {"a": math.inf, "b": math.nan}, {"a": 3.0, "b": math.nan}]
    found = epoch_means(outputs)
    assert found["a"] == 2 and math.isnan(found["b"])


class _OnMps(torch.Tensor):
    """Stands for a tensor on Apple's GPU: no double precision there, any number once it is on the host."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.double:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        found = super().__torch_function__(function, types, args, kwargs or {})
        return found.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else found


def test_values_of_a_device_without_double_precision_are_read():
    values = [torch.tensor([0.1, 2.0]).as_subclass(_OnMps), [3.0, 4.0]]
    found = as_array(values)
    assert found.dtype == "float64"
    assert found.tolist() == [torch.tensor([0.1, 2.0]).tolist(), [3.0, 4.0]]
