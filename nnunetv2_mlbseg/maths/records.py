"""What formulas remember of earlier batches: tables of numbers, and what is done with tables of every kind.

A new record is made of an old one, never changed. A record may hold other records; its state is flat all the same, so
that no two tables may have one name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

R = TypeVar("R", bound="Record")


@dataclass(frozen=True)
class Record:
    """Base of all records: every field of a subclass is a tensor or another record."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all tables, those of inner records included."""
        return tuple(name for field, kind in cls._kinds() for name in (kind.names() if kind else (field,)))

    @classmethod
    def from_state(cls: type[R], state: Mapping[str, Tensor]) -> R:
        """Undo :meth:`state`.

        Raises:
            ValueError: ``state`` has other names than :meth:`names`, and :meth:`of_former` knows no such version.
        """
        found = cls.of_former(state)
        if found.keys() != set(cls.names()):
            raise ValueError(f"a {cls.__name__} of {', '.join(sorted(state))}; expected {', '.join(cls.names())}")
        return cls._made_of(found)

    @classmethod
    def of_former(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tables as this version has them, from a state that an earlier one may have stored with fewer or others."""
        found = dict(state)
        for _, kind in cls._kinds():
            found = kind.of_former(found) if kind else found
        return found

    def state(self) -> dict[str, Tensor]:
        """All tables by name, for a checkpoint."""
        found: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            found |= value.state() if isinstance(value, Record) else {field.name: value}
        return found

    def to(self: R, device: torch.device | str) -> R:
        """The same record on a device."""
        return self._made_of({name: table.to(device) for name, table in self.state().items()})

    def unless_spoilt(self: R, before: R | None) -> R:
        """This record, or the one of before (an empty one for None) if a NaN or infinite value got into this one.

        Decided on the device, without a wait for it. Whole numbers, which say what a table is about, stay.
        """
        now = self.state()
        if not now:
            return self
        then = {name: torch.zeros_like(table) for name, table in now.items()} if before is None else before.state()
        # The sum of a table tells: tables can be large, and this makes no second one.
        good = torch.isfinite(torch.stack([table.sum() for table in now.values()])).all()
        return self._made_of({name: _kept(good, table, then[name]) for name, table in now.items()})

    @classmethod
    def _made_of(cls: type[R], state: Mapping[str, Tensor]) -> R:
        """Of a state that may have the tables of other records as well."""
        return cls(**{field: kind._made_of(state) if kind else state[field] for field, kind in cls._kinds()})

    @classmethod
    def _kinds(cls) -> Iterator[tuple[str, type[Record] | None]]:
        """Every field's name with the kind of record that it holds; None for a tensor."""
        hints: dict[str, Any] = get_type_hints(cls)
        for field in fields(cls):
            kind = hints[field.name]
            yield field.name, kind if issubclass(kind, Record) else None


@dataclass(frozen=True)
class NoRecord(Record):
    """What a formula has that remembers nothing."""


def _kept(good: Tensor, table: Tensor, before: Tensor) -> Tensor:
    return torch.where(good, table, before) if table.is_floating_point() else table
