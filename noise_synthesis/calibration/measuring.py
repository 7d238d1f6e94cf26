"""Dice of corrupted cases, measured where the case's shapes are kept: one process owns a case for the whole search."""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from noise_synthesis.calibration.dice import Overlap, class_overlaps
from noise_synthesis.recipes.base import Parameters, Recipe
from noise_synthesis.recipes.shapes import Box, Memory, Strengths, class_boxes, extent_mm, prepare
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import LabelVolume, TightCrop, tight_crop

# Padded labels and depth maps kept per process. Beyond this they are computed again at each step: slower, never larger.
CACHE_BYTES = 400_000_000

Loader = Callable[[], LabelVolume]
Source = LabelVolume | Loader


@dataclass(frozen=True)
class CaseFacts:
    """What a search has to know of a case: the diagonal in mm of all of it, and of each foreground class, ascending."""

    extent_mm: float
    class_extents_mm: dict[int, float]

    @property
    def classes(self) -> list[int]:
        """The foreground classes, ascending."""
        return list(self.class_extents_mm)


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

    Memory: one whole volume at a time while loading, then compressed crops, at most ``CACHE_BYTES`` of what is kept
    from step to step, and the depth maps of the case at hand.
    """

    def __init__(self, recipe: Recipe, per_slice: bool, ignore_label: int | None) -> None:
        self._recipe = recipe
        self._per_slice = per_slice
        self._ignore_label = ignore_label
        self._crops: dict[str, TightCrop] = {}
        self._kept: OrderedDict[tuple[str, Hashable], Any] = OrderedDict()
        self._kept_bytes = 0

    def add(self, case: str, source: Source) -> CaseFacts:
        """Load a case and keep its crop."""
        volume = load(case, source)
        crop = tight_crop(volume)
        if crop is None:
            return CaseFacts(0.0, {})
        self._crops[case] = crop
        boxes: dict[int, Box] = self._memory(case)("boxes", lambda: class_boxes(crop, self._ignore_label))
        return CaseFacts(crop.extent_mm, {value: extent_mm(box, crop.spacing_mm) for value, box in boxes.items()})

    def overlaps(self, case: str, parameters: Parameters, strengths_mm: Strengths) -> dict[int, Overlap]:
        """Return the overlap of each class of the case, corrupted at these strengths, ignored voxels left out."""
        reach_of = self._recipe.reach_of(strengths_mm)
        prepared = prepare(
            self._crops[case],
            reach_of,
            self._per_slice,
            self._ignore_label,
            self._recipe.swaps,
            self._memory(case),
        )
        claims = self._recipe.claims(prepared, parameters, strengths_mm)
        return class_overlaps(self._recipe.merge(prepared, claims, self._ignore_label), claims, prepared)

    def _memory(self, case: str) -> Memory:
        """Remember what is made for a case, and forget what has not been asked for longest."""

        def recall(key: Hashable, make: Callable[[], Any]) -> Any:
            if (case, key) not in self._kept:
                made = self._kept[case, key] = make()
                self._kept_bytes += _size(made)
                while self._kept_bytes > CACHE_BYTES and len(self._kept) > 1:
                    self._kept_bytes -= _size(self._kept.popitem(last=False)[1])
            self._kept.move_to_end((case, key))
            return self._kept[case, key]

        return recall


def _size(made: Any) -> int:
    """Memory taken by a padded label with its frame, or by a shape."""
    return made[0].nbytes if isinstance(made, tuple) else getattr(made, "nbytes", 0)


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

    def overlaps(
        self, cases: Iterable[str], parameters: Mapping[str, Parameters], strengths_mm: Strengths
    ) -> dict[str, dict[int, Overlap]]:
        """Return the overlap of each class of every case at strengths for all classes, in the order of ``cases``."""
        return self._run("overlaps", [(case, parameters[case], strengths_mm) for case in cases])

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
