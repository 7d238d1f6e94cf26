"""Dice of corrupted cases, measured where the case's shapes are kept: one process owns a case for the whole search."""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from noise_synthesis.calibration.dice import class_dice
from noise_synthesis.recipes.base import Parameters, Prepared, Recipe, margin_mm, prepare
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import LabelVolume, TightCrop, classes_in, tight_crop

# Depth maps kept per process. Beyond this they are computed again at each step: slower, never larger.
CACHE_BYTES = 400_000_000

Loader = Callable[[], LabelVolume]
Source = LabelVolume | Loader


@dataclass(frozen=True)
class CaseFacts:
    """What a search has to know of a case: its foreground classes, ascending, and its diagonal in mm."""

    classes: list[int]
    extent_mm: float


def load(case: str, source: Source) -> LabelVolume:
    """Return a case's label, loaded now if ``source`` is a function; an ``InputError`` gets the case's name."""
    if isinstance(source, LabelVolume):
        return source
    try:
        return source()
    except InputError as error:
        raise error if case in str(error) else InputError(f"case {case}: {error}") from None


class CaseMeter:
    """Holds the compressed crops of some cases and measures the Dice of their corrupted labels.

    Memory: one whole volume at a time while loading, then compressed crops and at most ``CACHE_BYTES`` of depth maps.
    """

    def __init__(self, recipe: Recipe, per_slice: bool, ignore_label: int | None) -> None:
        self._recipe = recipe
        self._per_slice = per_slice
        self._ignore_label = ignore_label
        self._crops: dict[str, TightCrop] = {}
        self._prepared: OrderedDict[tuple[str, float], Prepared] = OrderedDict()

    def add(self, case: str, source: Source) -> CaseFacts:
        """Load a case and keep its crop."""
        volume = load(case, source)
        crop = tight_crop(volume)
        if crop is None:
            return CaseFacts([], 0.0)
        self._crops[case] = crop
        return CaseFacts(classes_in(crop.padded(0, True)[0], self._ignore_label), crop.extent_mm)

    def dice(self, case: str, parameters: Parameters, strength_mm: float) -> dict[int, float]:
        """Return the Dice per class of the case corrupted at a strength, ignored voxels left out."""
        prepared = self._prepare(case, strength_mm)
        corrupted = self._recipe.corrupt(prepared, parameters, strength_mm, self._ignore_label)
        valid = prepared.label != (-1 if self._ignore_label is None else self._ignore_label)
        return class_dice(corrupted, prepared.label, list(prepared.depths), valid)

    def _prepare(self, case: str, strength_mm: float) -> Prepared:
        key = (case, margin_mm(self._recipe, strength_mm))
        if key not in self._prepared:
            self._prepared[key] = prepare(
                self._crops[case], self._recipe, strength_mm, self._per_slice, self._ignore_label
            )
            while len(self._prepared) > 1 and sum(kept.size_bytes for kept in self._prepared.values()) > CACHE_BYTES:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]


class Meters:
    """Meters in ``processes`` processes; every case belongs to one of them. A context manager.

    One process means this one, and no other is started. Results do not depend on the number.
    """

    def __init__(self, processes: int, recipe: Recipe, per_slice: bool, ignore_label: int | None) -> None:
        arguments = (recipe, per_slice, ignore_label)
        self._owner: dict[str, int] = {}
        self._local = CaseMeter(*arguments)
        context = multiprocessing.get_context("spawn")
        self._workers = [
            ProcessPoolExecutor(1, mp_context=context, initializer=_start_meter, initargs=arguments)
            for _ in range(processes if processes > 1 else 0)
        ]

    def __enter__(self) -> Meters:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.shutdown(wait=True, cancel_futures=True)

    def add(self, sources: Mapping[str, Source], tick: Callable[[str], None]) -> dict[str, CaseFacts]:
        """Load all cases; ``tick`` is called with each case once it is there."""
        if self._workers:
            self._owner = {case: index % len(self._workers) for index, case in enumerate(sources)}
        return self._run("add", [(case, source) for case, source in sources.items()], tick)

    def dice(
        self, cases: Iterable[str], parameters: Mapping[str, Parameters], strength_mm: float
    ) -> dict[str, dict[int, float]]:
        """Return the Dice per class of every case at a strength, in the order of ``cases``."""
        return self._run("dice", [(case, parameters[case], strength_mm) for case in cases])

    def _run(self, method: str, calls: list[tuple], tick: Callable[[str], None] = lambda case: None) -> dict[str, Any]:
        results: dict[str, Any] = {}
        if not self._workers:
            for call in calls:
                results[call[0]] = getattr(self._local, method)(*call)
                tick(call[0])
            return results
        futures = {call[0]: self._submit(method, call) for call in calls}
        for case, future in futures.items():
            results[case] = _result(case, future)
            tick(case)
        return results

    def _submit(self, method: str, call: tuple) -> Future:
        return self._workers[self._owner[call[0]]].submit(_call_meter, method, call)


def _result(case: str, future: Future) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise InputError(
            f"case {case}: the process working on it was killed, most often for lack of memory: use fewer processes"
        ) from None


_meter: CaseMeter | None = None


def _start_meter(recipe: Recipe, per_slice: bool, ignore_label: int | None) -> None:
    global _meter
    _meter = CaseMeter(recipe, per_slice, ignore_label)


def _call_meter(method: str, call: tuple) -> Any:
    return getattr(_meter, method)(*call)
