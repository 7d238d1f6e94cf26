"""Several processes that train one network together (``-num_gpus N``), each on its share of every batch.

One rule makes N processes compute what one would on the whole batch: whatever divides by a number of pixels or by a
sum of weights divides by that of the whole batch (:meth:`Processes.total`). A process's loss is then its share of the
whole batch's loss; times N, its gradient averaged over the processes (:meth:`Processes.average`) is the whole
gradient.

Tensors of a step go through nnU-Net's own group of processes, in which torch ends a wait after 10 minutes (nccl).
Where one process may be far behind, before a training and between its stages, they wait in a group of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nnunetv2_mlbseg.runtime.errors import TrainingStoppedError
from noise_synthesis.safe_io.errors import InputError

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=7)
"""How long a process waits for one that is far behind.

Labels of a large dataset take hours, and few clusters let anything run for more than a week. A process that ends,
however it does, ends the wait of the others at once; only one that hangs is waited for as long as this.
"""


@cache
def _group_to_wait_in(world: dist.ProcessGroup) -> dist.ProcessGroup:
    """A group of the same processes, over gloo on the CPU; all of them have to ask for it at the same place."""
    made: Any = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)  # torch: or a number, for outsiders
    return made


@dataclass(frozen=True)
class Processes:
    """This process's place among ``count`` processes. With one process every method leaves its argument alone.

    Attributes:
        waiting: The group in which processes wait for one that is far behind.
    """

    rank: int = 0
    count: int = 1
    waiting: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)

    @classmethod
    def present(cls) -> Processes:
        """The processes that nnU-Net started. All of them have to ask before one is left behind."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size(), _group_to_wait_in(dist.group.WORLD))

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
        """What every process passed in, by rank. For small Python objects; waits for the slowest, however long.

        Raises:
            TrainingStoppedError: another process has ended.
        """
        if self.count == 1:
            return [value]
        found: list[T | None] = [None] * self.count
        with self._waiting():
            dist.all_gather_object(found, value, group=self.waiting)
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
        """Go on when every process has come here, however long that takes.

        Raises:
            TrainingStoppedError: another process has ended.
        """
        if self.count > 1:
            with self._waiting():
                dist.barrier(group=self.waiting)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run the block in the first process, and only then in the others: they find its files. All go on together.

        Raises:
            TrainingStoppedError: another process has ended.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()
        self.wait()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch's own, with places in its source
            raise TrainingStoppedError(
                f"process {self.rank + 1} of {self.count} cannot go on: another one has ended, or was not heard of for "
                f"{LONGEST_WAIT.days} days. See what it said; once that is mended, go on with --c, or start again if "
                f"there is no checkpoint yet"
            ) from error
