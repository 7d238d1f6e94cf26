"""Options of the step benchmark, its clock, and the table of ratios that it ends with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import clock
import table
from scene import Scene, Sizes

from nnunetv2_mlbseg.runtime.threads import use_large_pages


def pytest_addoption(parser: pytest.Parser) -> None:
    """The size of the step and how it is timed."""
    group = parser.getgroup("step benchmark")
    group.addoption("--images", type=int, default=10, help="images in each of the two batches, a multiple of 5")
    group.addoption("--size", type=int, default=96, help="height and width in pixels")
    group.addoption("--classes", default="2", help="numbers of classes for the overhead, as 2,35,117")
    group.addoption("--preset", default="default", help="settings for the overhead: default or paper")
    group.addoption("--rounds", type=int, default=3, help="runs of each way; the fastest counts")
    group.addoption("--device", default="cpu", help="cpu or cuda")
    group.addoption("--bfloat16", action="store_true", help="on the CPU: the steps of a training in bfloat16 as well")


def pytest_configure(config: pytest.Config) -> None:
    """One thread, so that CPU time is comparable; an empty table."""
    torch.set_num_threads(1)
    use_large_pages(torch.device(config.option.device))  # as a training
    config.stash[table.FOUND] = table.Found()


@pytest.fixture(scope="session")
def sizes(request: pytest.FixtureRequest) -> Sizes:
    """The size of the step, from the options."""
    return Sizes(images=request.config.option.images, size=request.config.option.size)


@pytest.fixture(scope="session")
def scene(request: pytest.FixtureRequest, sizes: Sizes) -> Scene:
    """Network, batches and all ways to take a step; made once for all benchmarks."""
    return Scene(sizes, request.config.option.device)


@pytest.fixture
def found(request: pytest.FixtureRequest) -> table.Found:
    """Where the benchmarks leave their numbers for the table."""
    return request.config.stash[table.FOUND]


@pytest.fixture
def fastest(request: pytest.FixtureRequest, benchmark: Any) -> Iterator[Callable[[Callable[[], Any]], float]]:
    """Seconds of the fastest of some runs: CPU time on the CPU, which other programs disturb least, else wall time."""
    options = request.config.option

    def on_device(way: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            way()
            torch.cuda.synchronize()

        return run

    def measure(way: Callable[[], Any]) -> float:
        timed = on_device(way) if options.device == "cuda" else way
        benchmark._timer = time.perf_counter if options.device == "cuda" else time.process_time
        benchmark.pedantic(timed, rounds=options.rounds, iterations=1, warmup_rounds=1)
        return benchmark.stats.stats.min

    yield measure


@pytest.fixture
def in_turns(request: pytest.FixtureRequest) -> Callable[[dict[str, Callable[[], Any]]], dict[str, float]]:
    """As ``fastest``, of several ways that take turns."""
    options = request.config.option
    return partial(clock.in_turns, rounds=options.rounds, device=options.device)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table, after all benchmarks."""
    for line in config.stash[table.FOUND].lines():
        terminalreporter.write_line(line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One benchmark of the overhead for each number of classes."""
    if "classes" in metafunc.fixturenames:
        metafunc.parametrize("classes", [int(number) for number in metafunc.config.option.classes.split(",")])
