"""Eq. 1: what is generated, with which class shares, and who of several processes generates it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_mlbseg.cases.label_generation import (
    SAMPLED_CASES,
    SAMPLED_VOXELS,
    divide,
    fit_bias,
    generate,
    mean_shares,
)
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.structures import Structures


class Dataset:
    """Preprocessed cases in memory, as nnU-Net's dataset classes show them."""

    def __init__(self, labels: dict[str, np.ndarray]):
        self.labels, self.identifiers = labels, list(labels)

    def load_case(self, case: str) -> tuple[None, np.ndarray, None, dict]:
        return None, self.labels[case][None], None, {}


def test_shares_are_means_over_cases_where_outside_is_background_and_ignored_voxels_do_not_count() -> None:
    small = np.array([[-1, 0, 1, 1, 3, 3]])
    large = np.zeros((1, 1000), int)
    large[0, :100] = 2
    cases, classes = Dataset({"a": small, "b": large}), Structures({"organ": (1,), "lesion": (2,)}, ignore=3)
    assert mean_shares(cases, classes)[0].tolist() == pytest.approx([(0.5 + 0.9) / 2, 0.25, 0.05])
    regions = Structures({"whole": (1, 2), "core": (2,)}, order=(1, 2), ignore=3)
    np.testing.assert_allclose(mean_shares(cases, regions), [[0.7, 0.3], [0.95, 0.05]])


class Predictor:
    """Logits of two classes from the evidence for an organ; stands for :class:`CasePredictor`."""

    label_manager = SimpleNamespace(
        all_labels=[0, 1],
        foreground_labels=[1],
        has_regions=False,
        has_ignore_label=False,
        convert_logits_to_segmentation=lambda logits: logits.argmax(0),
    )
    configuration = SimpleNamespace(patch_size=(40, 50), preprocessor_class=DefaultPreprocessor)

    structures, space = Structures({"organ": (1,)}), LabelSpace()

    def __init__(self, evidence: dict[str, np.ndarray]):
        self.evidence = evidence
        self.predicted: list[str] = []
        self.exported: dict[Path, torch.Tensor] = {}

    def logits(self, dataset: Any, case: str) -> tuple[torch.Tensor, dict]:
        self.predicted.append(case)
        return torch.from_numpy(np.stack([np.zeros_like(self.evidence[case]), self.evidence[case]])), {}

    def export(self, logits: torch.Tensor, properties: dict, path: Path) -> None:
        self.exported[path] = logits


@pytest.mark.parametrize(("count", "read"), [(3, 3), (SAMPLED_CASES + 25, 15)])
def test_generated_labels_get_the_shares_of_the_clean_cases(count: int, read: int, tmp_path) -> None:
    """A network that sees half of an organ of 10 %; of many cases only some are read for the bias."""
    generator = np.random.default_rng(0)
    predictor = Predictor(
        {f"case{n:02}": generator.normal(size=(1, 40, 50)).astype(np.float32) - 1.645 for n in range(count)}
    )
    organ = np.zeros((1, 40, 50), int)
    organ[0, :4] = 1
    unlabeled = Dataset({case: np.zeros((1, 40, 50), int) for case in predictor.evidence})
    said: list[str] = []
    bias = fit_bias(predictor, Dataset({"clean": organ}), unlabeled, Processes(), said.append)
    assert len(predictor.predicted) == read
    assert said == [
        f"Predicting {read} unlabeled cases for the class shares of the clean ones (align_shares)",
        f"Fitting the shares of 2 classes to {SAMPLED_VOXELS // read * read} of their voxels",
    ]
    assert bias[0] == 0 and bias[1] == pytest.approx(1.645 - 1.282, abs=0.05)

    labels = LabelStore(tmp_path / "generated")
    labels.start("network")
    labels.keep_bias(bias)
    generate(predictor, unlabeled, unlabeled.identifiers, labels, lambda _: None)
    shares = [(labels.load(case)[0][:] == 1).mean() for case in predictor.evidence]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.01)
    labels.start("network")
    assert labels.bias() == bias
    labels.start("another")
    assert labels.bias() is None


class RegionPredictor(Predictor):
    """Logits of two regions from the evidence for each."""

    label_manager = LabelManager({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, [1, 2])
    structures, space = Structures({"whole": (1, 2), "core": (2,)}, (1, 2), 3), LabelSpace(2)

    def logits(self, dataset: Any, case: str) -> tuple[torch.Tensor, dict]:
        return torch.from_numpy(self.evidence[case]), {}


def test_every_region_gets_the_share_of_the_clean_cases_and_is_painted_in_its_order(tmp_path) -> None:
    """Of whole and core, 10 and 4 %, the network sees half and twice as much."""
    generator = np.random.default_rng(0)
    evidence = generator.normal(size=(2, 1, 40, 50)).astype(np.float32) - np.array([1.645, 1.405], np.float32).reshape(
        2, 1, 1, 1
    )
    predictor, clean = RegionPredictor({"u0": evidence}), np.zeros((1, 40, 50), int)
    clean[0, :4, :30], clean[0, :4, 30:] = 1, 2
    bias = fit_bias(predictor, Dataset({"c0": clean}), Dataset({"u0": clean}), Processes(), lambda _: None)
    assert bias == pytest.approx([1.645 - 1.282, 1.405 - 1.751], abs=0.15)
    labels = LabelStore(tmp_path / "generated")
    labels.start("network")
    labels.keep_bias(bias)
    generate(predictor, Dataset({"u0": clean}), ["u0"], labels, lambda _: None)
    seg, locations = labels.load("u0")
    inside = evidence + np.array(bias, np.float32).reshape(2, 1, 1, 1) > 0
    assert np.array_equal(seg[0], np.where(inside[1], 2, inside[0].astype(int)))
    assert set(locations) == {(1, 2), 2, (-1, 0, 1, 2)} and len(locations[2]) == inside[1].sum()


def test_a_generated_label_is_stored_exported_and_reported_with_the_places_of_its_organ(tmp_path) -> None:
    evidence = np.full((1, 4, 5), -1.0, np.float32)
    evidence[0, 1, 2] = 1
    predictor = Predictor({"done": evidence, "new": evidence})
    labels, said = LabelStore(tmp_path / "generated"), []
    labels.start("network")
    labels.mark_complete("done")
    generate(predictor, Dataset({}), ["done", "new"], labels, said.append)
    assert predictor.predicted == ["new"] and labels.complete() == {"done", "new"}
    seg, locations = labels.load("new")
    assert np.array_equal(seg[:], evidence[None] > 0) and locations[1].tolist() == [[0, 0, 1, 2]]
    assert list(predictor.exported) == [labels.folder / "new"]
    assert said == ["generated label 2 of 2: new, foreground 5.00% of the voxels"]


def test_the_cases_left_are_divided_among_the_processes_whoever_had_the_others():
    """The first of two processes had finished its cases, every second one, when the training was killed."""
    cases, done = list("abcdefg"), set("aceg")
    parts = [divide(cases, done, Processes(rank, 2)) for rank in range(2)]
    assert parts == [["a", "e", "b", "f"], ["c", "g", "d"]]
    assert divide(cases, set(), Processes()) == cases
