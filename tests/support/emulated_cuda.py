"""CUDA without a GPU: torch's own CUDA tensors, whose memory is the host's, and every operation computed by the CPU.

``emulated_cuda.cpp``, built by :func:`build` and loaded before torch, stands in for CUDA's runtime, so that tensors on
``cuda``, autocast, the gradient scaler, pinned memory and random generators are torch's real ones. In place of the
kernels, which it cannot run, :class:`EmulatedCuda` computes. What neither can show: speed, what cuDNN chooses, kernels
that lack a type, races between streams, compiled code, nccl.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sysconfig
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

SOURCE = Path(__file__).with_suffix(".cpp")
HALF = (torch.float16, torch.bfloat16)
ALLOCATIONS = ("empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "_unsafe_view", "lift_fresh")
"""What torch does with memory alone, as it does with every view."""
PRODUCTS = ("convolution", "convolution_backward", "mm", "bmm", "addmm", "baddbmm")
"""What GPUs accumulate in float32 and round to half precision in the end."""
SUMS = ("sum", "mean", "norm", "linalg_vector_norm", "_foreach_norm", "var", "var_mean", "std", "prod", "cumsum")
SUMS += ("index_add", "index_add_", "scatter_add", "scatter_add_", "logsumexp", "dot")
"""What overflows in half precision: 65,504 is its largest number."""
PACKAGES = ("nnunetv2_mlbseg/", "nnunetv2/", "torch/amp/", "torch/optim/", "torch/nn/utils/")
"""Where an operation is said to be: the innermost line in one of the first two, else in another."""


def missing() -> str | None:
    """Why CUDA cannot be emulated here; None: it can."""
    if not (torch.version.cuda or "").startswith("13."):
        return f"torch is built for CUDA {torch.version.cuda}, expected 13"
    if not shutil.which("g++"):
        return "there is no g++"
    if len(_includes()) < 2:
        return "CUDA's headers are not beside torch (nvidia-cuda-runtime, triton)"
    return None


def _includes() -> list[Path]:
    """Those of torch's CUDA wheels; triton has the ones that they lack."""
    site = Path(sysconfig.get_path("purelib"))
    folders = [site / "nvidia" / "cu13" / "include", site / "triton" / "backends" / "nvidia" / "include"]
    wanted = ["cuda_runtime_api.h", "crt/host_config.h"]
    return [folder for folder, header in zip(folders, wanted, strict=True) if (folder / header).is_file()]


def build(folder: Path) -> Path:
    """Compile the stand-in; the result is to be named in LD_PRELOAD."""
    library = folder / "emulated_cuda.so"
    includes = [f"-I{include}" for include in _includes()]
    linked = ["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["g++", *includes, *linked, str(SOURCE), "-o", str(library)], check=True)
    return library


class EmulatedCuda(TorchDispatchMode):
    """Computes on the CPU what is asked of tensors on ``cuda``, and takes note of what would be wrong on a GPU.

    Attributes:
        waits: Operations for which the host waits for the device.
        mixes: Operations on tensors of both, or with a generator of the other.
        half_sums: Sums, means and norms in half precision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.mixes: list[str] = []
        self.half_sums: list[str] = []
        self._twins: dict[torch.Generator, torch.Generator] = {}
        self._count_waits = ctypes.CDLL(None).emulated_cuda_waits
        self._seen_waits = self._count_waits()
        torch.backends.cudnn.enabled = False  # the CPU knows torch's own operations only

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.name().removeprefix("aten::").split(".")[0]
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        wanted = torch.device(kwargs.get("device") or "cpu")
        if wanted.type == "cpu" and not any(tensor.is_cuda for tensor in tensors):
            return func(*args, **kwargs)
        self._take_note_of_waits(f"before {name}")
        if func.is_view or name in ALLOCATIONS:
            return func(*args, **kwargs)
        if name == "copy_" and args[0].device != args[1].device:
            result = _copy_between(*args, **kwargs)
        elif name == "_to_copy" and kwargs.get("device") and wanted.type != args[0].device.type:
            result = func(_dense(args[0], kwargs.get("dtype")), **kwargs)
        elif name == "_local_scalar_dense":
            result = func(*args)
        else:
            self._look_at(func, name, args, tensors, kwargs.get("generator"))
            result = self._computed(func, name, args, kwargs)
        self._take_note_of_waits(name)
        return result

    def begin(self) -> None:
        """Forget what was seen so far."""
        for seen in (self.waits, self.mixes, self.half_sums):
            seen.clear()

    def _take_note_of_waits(self, what: str) -> None:
        """If torch has waited since the last look."""
        seen, self._seen_waits = self._seen_waits, self._count_waits()
        if self._seen_waits > seen:
            self.waits.append(_at(what))

    def _look_at(self, func: Any, name: str, args: Any, tensors: list[Tensor], generator: Any) -> None:
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            indices = args[1] if name == "index" else ()
            if name != "index" or any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
                self.waits.append(_at(name))
        if not all(tensor.is_cuda for tensor in tensors) or (generator is not None and generator.device.type == "cpu"):
            self.mixes.append(_at(name))
        if name in SUMS and any(tensor.dtype in HALF for tensor in tensors):
            self.half_sums.append(_at(name))

    def _computed(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """The operation on the CPU, in the memory of its arguments; what it makes is put on ``cuda``."""
        owners: dict[int, Tensor] = {}

        def on_host(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.is_cuda:
                return value
            view = _host(value)
            owners[id(view)] = value
            return view

        def on_device(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return owners[id(value)] if id(value) in owners else _device(value)

        args, kwargs = tree_map(on_host, (args, kwargs))
        if kwargs.get("device"):
            kwargs["device"] = torch.device("cpu")
        if kwargs.get("generator") is not None:
            kwargs["generator"] = self._twin(kwargs["generator"])
        return tree_map(on_device, _as_a_gpu(func, name, args, kwargs))

    def _twin(self, generator: torch.Generator) -> torch.Generator:
        """A generator of the CPU with the same seed, so that a training draws there what it draws here."""
        if generator not in self._twins:
            self._twins[generator] = torch.Generator().manual_seed(generator.initial_seed())
        return self._twins[generator]


def _as_a_gpu(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """What the CPU does otherwise in half precision: products, and softmax with its result in float32."""
    half = next((x.dtype for x in tree_leaves(args) if isinstance(x, Tensor) and x.dtype in HALF), None)
    if half is not None and name in PRODUCTS:
        whole = tree_map(lambda x: x.float() if isinstance(x, Tensor) else x, args)
        return tree_map(lambda x: x.to(half) if isinstance(x, Tensor) else x, func(*whole, **kwargs))
    if half is not None and name in ("_softmax", "_log_softmax"):
        values, axis, to_float = args
        return func(values.float(), axis, False).to(torch.float32 if to_float else half)
    if name in ("_softmax_backward_data", "_log_softmax_backward_data"):
        gradient, output, axis, made_from = args
        return func(gradient, output, axis, output.dtype).to(made_from)
    return func(*args, **kwargs)


def _host(tensor: Tensor) -> Tensor:
    """The CPU's tensor in the memory of one on ``cuda``."""
    storage = tensor.untyped_storage()
    if storage.nbytes() == 0:
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    memory = (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
    whole = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
    return torch.empty(0, dtype=tensor.dtype).set_(whole, tensor.storage_offset(), tensor.size(), tensor.stride())


def _device(tensor: Tensor) -> Tensor:
    """A copy on ``cuda``."""
    made = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cuda")
    _host(made).copy_(tensor)
    return made


def _dense(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """What is copied to the other device without a kernel: on ``cuda``, in its final type, without gaps."""
    return _device(_host(tensor).to(dtype or tensor.dtype).contiguous()) if tensor.is_cuda else tensor


def _copy_between(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """torch's own copy between host and device, and the rest of it on either side."""
    if source.is_cuda:
        return target.copy_(_dense(source.expand_as(target), target.dtype), non_blocking)
    dense = torch.empty(target.shape, dtype=target.dtype, device="cuda").copy_(source, non_blocking)
    _host(target).copy_(_host(dense))
    return target


def _at(what: str) -> str:
    """The operation and the line of code that asked for it."""
    lines = [frame for frame in reversed(traceback.extract_stack()) if frame.filename != __file__]
    for package in (PACKAGES[:2], PACKAGES[2:]):
        for line in lines:
            found = next((line.filename.find(name) for name in package if name in line.filename), None)
            if found is not None:
                return f"{what} at {line.filename[found:]}:{line.lineno}"
    return f"{what} in torch, a backward pass perhaps"
