"""Several processes that train one network together (``-num_gpus N``), each on its share of every batch.

One rule makes N processes compute what one would on the whole batch: whatever divides by a number of pixels or by a
sum of weights divides by that of the whole batch (:meth:`Processes.total`). A process's loss is then its share of the
whole batch's loss; times N, its gradient averaged over the processes (:meth:`Processes.average`) is the whole
gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from noise_synthesis.safe_io.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process's place among ``count`` processes. With one process every method leaves its argument alone."""

    rank: int = 0
    count: int = 1

    @classmethod
    def present(cls) -> Processes:
        """The processes that nnU-Net started."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files that all share."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This process's part of ``total`` things: as equal as possible, the larger parts first."""
        size, larger = divmod(total, self.count)
        start = self.rank * size + min(self.rank, larger)
        return slice(start, start + size + (self.rank < larger))

    def part(self, things: Sequence[T]) -> Sequence[T]:
        """Every ``count``-th of some things, so that neighbours of equal size are spread."""
        return things[self.rank :: self.count]

    def check_batch(self, total: int, key: str) -> None:
        """Refuse a batch that leaves a process without an image; ``key`` is where its size is set.

        Raises:
            InputError: fewer images than processes.
        """
        if total < self.count:
            raise InputError(
                f"{key}: {total} images cannot be divided among {self.count} processes; set it to {self.count} or "
                f"more, or use -num_gpus {total}"
            )

    def total(self, value: Tensor) -> Tensor:
        """The sum of ``value`` over the processes, the same on each. No gradient flows."""
        if self.count == 1:
            return value
        value = value.detach().clone()
        dist.all_reduce(value)
        return value

    def average(self, gradient: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The mean over the processes of tensors of one type, in one exchange. None stays None."""
        if self.count == 1:
            return list(gradient)
        present = [tensor for tensor in gradient if tensor is not None]
        flat = torch.cat([tensor.flatten() for tensor in present])
        dist.all_reduce(flat)
        means = iter(flat.div_(self.count).split([tensor.numel() for tensor in present]))
        return [None if tensor is None else next(means).view_as(tensor) for tensor in gradient]

    def average_gradients_(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace the gradient of every parameter by its mean over the processes."""
        if self.count > 1:
            for parameter, mean in zip(parameters, self.average([p.grad for p in parameters]), strict=True):
                parameter.grad = mean

    def copy_from_first_(self, network: nn.Module) -> None:
        """Give the network of every process the first one's parameters and buffers."""
        if self.count > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)

    def gather(self, value: T) -> list[T]:
        """What every process passed in, by rank. For small Python objects."""
        if self.count == 1:
            return [value]
        found: list[T | None] = [None] * self.count
        dist.all_gather_object(found, value)
        return found  # type: ignore[return-value]

    def gather_lines(self, lines: list[str]) -> list[str]:
        """The lines of all processes, one list after the other."""
        return [line for found in self.gather(lines) for line in found]

    def add_up(self, outputs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """The sum over the processes of every tensor in the outputs of an epoch's steps, in one exchange per name."""
        if self.count == 1 or not outputs:
            return outputs
        totals = {name: self.total(torch.stack([output[name] for output in outputs])) for name in outputs[0]}
        return [{name: values[number] for name, values in totals.items()} for number in range(len(outputs))]

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            dist.barrier()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run the block in the first process, and only then in the others: they find its files."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()
