"""Labels are put in place once, by one process or several, and a resumed training finds its own or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import save_case
from thread_processes import Threads, in_two
from torch import nn

from nnunetv2_mlbseg.cases import label_generation, label_preparation
from nnunetv2_mlbseg.cases.label_correction import AS_THEY_ARE, Correction
from nnunetv2_mlbseg.cases.label_preparation import LabelPreparation, check_labels
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.networks.fingerprints import fingerprint
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures

ROLES = FoldRoles(clean=("c0",), noisy=("n0",), unlabeled=("u0", "u1", "u2"), validation=("v0",))
SHAPE = (1, 2, 8, 8)


class Predictor:
    """Finds an organ where the image is bright; stands for :class:`CasePredictor`."""

    label_manager = LabelManager({"background": 0, "organ": 1, "ignore": 2}, None)
    structures, space = Structures({"organ": (1,)}, ignore=2), LabelSpace()
    configuration = SimpleNamespace(patch_size=(8, 8), preprocessor_class=DefaultPreprocessor)

    def __init__(self, network: nn.Module, predicting: Callable[[str], None] = lambda case: None):
        self.network, self.predicting = network, predicting
        self.exported: list[str] = []

    def logits(self, dataset: Any, case: str) -> tuple[torch.Tensor, dict]:
        self.predicting(case)
        image = torch.from_numpy(np.array(dataset.load_case(case)[0][:]))
        return torch.cat([torch.zeros_like(image), image]), {}

    def export(self, logits: torch.Tensor, properties: dict, path: Path) -> None:
        self.exported.append(path.name)


@pytest.fixture(autouse=True)
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few voxels tell the bias, for speed."""
    monkeypatch.setattr(label_generation, "SAMPLED_VOXELS", 3 * 2000)


@pytest.fixture
def network() -> nn.Module:
    return nn.Linear(2, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Preprocessed cases: of the clean one a quarter is organ, of unlabeled ones an eighth is bright."""
    generator, made = np.random.default_rng(0), tmp_path / "preprocessed"
    made.mkdir()
    label = np.zeros(SHAPE, np.int16)
    label[..., :2] = 1
    for case in (*ROLES.training, *ROLES.validation):
        image = generator.normal(-1.15, 1, SHAPE).astype(np.float32)
        save_case(made, case, image, np.full(SHAPE, 2, np.int16) if case in ROLES.unlabeled else label)
    return made


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "generated_labels")


def _preparation(folder: Path, report: Callable[[str], Any] = lambda line: None, processes=None) -> LabelPreparation:
    return LabelPreparation(str(folder), ROLES, processes or Processes(), report)


def _first(folder: Path, store: LabelStore, predictor: Predictor, align: bool = True) -> str:
    return _preparation(folder).generated(store, predictor, known=None, begun=False, align=align)


def test_unlabeled_cases_get_labels_once_and_the_log_says_so(folder, store, network):
    said: list[str] = []
    predictor = Predictor(network)
    prepared = _preparation(folder, said.append).generated(store, predictor, known=None, begun=False, align=False)
    assert prepared == fingerprint(network) == store.source()
    assert store.complete() == set(ROLES.unlabeled) and store.bias() is None
    assert predictor.exported == ["u0", "u1", "u2"]
    assert said[0] == f"Generating labels of 3 unlabeled cases (Eq. 1) in {store.folder}"
    assert [line.split(",")[0] for line in said[1:]] == [f"generated label {n + 1} of 3: u{n}" for n in range(3)]


def test_aligned_labels_have_the_clean_share_and_a_source_of_their_own(folder, store, network):
    said: list[str] = []
    source = _preparation(folder, said.append).generated(store, Predictor(network), known=None, begun=False, align=True)
    assert source == fingerprint(network) + "-aligned"
    bias = store.bias()
    assert bias is not None and bias[0] == 0 and bias[1] > 0
    assert said[3] == f"Log-odds added for the class shares of the clean cases (align_shares): organ {bias[1]:+.2f}"
    assert np.mean([store.load(case)[0][:] for case in ROLES.unlabeled]) == pytest.approx(0.25, abs=0.02)


def test_a_training_that_has_used_the_labels_only_checks_them(folder, store, network):
    source = _first(folder, store, Predictor(network))
    other = Predictor(nn.Linear(2, 2), lambda case: pytest.fail("predicted anew"))
    said: list[str] = []
    found = _preparation(folder, said.append).generated(store, other, known=source, begun=True, align=True)
    assert found == source and said == []


@pytest.mark.parametrize(
    ("known", "cases", "words"),
    [
        ("another", ROLES.unlabeled, "they come from another warm-up, expected the generated labels this checkpoint"),
        (None, (*ROLES.unlabeled, "u8", "u9"), "2 cases are missing, expected the generated labels this checkpoint"),
    ],
)
def test_labels_that_are_missing_or_other_ones_are_refused(folder, store, network, known, cases, words):
    source = _first(folder, store, Predictor(network))
    preparation = LabelPreparation(str(folder), FoldRoles((), (), cases, ()), Processes(), print)
    with pytest.raises(InputError, match=words) as caught:
        preparation.generated(store, Predictor(network), known=known or source, begun=True, align=True)
    assert str(caught.value).startswith(f"{store.folder}: ") and "train again without --c" in str(caught.value)


def test_a_killed_run_goes_on_with_the_bias_it_had_found(folder, store, network):
    class KilledError(Exception):
        pass

    asked: list[str] = []

    def killed(case: str) -> None:
        asked.append(case)
        if asked == ["u0", "u1", "u2", "u0", "u1"]:  # three for the bias, then the labels one by one
            raise KilledError

    with pytest.raises(KilledError):
        _first(folder, store, Predictor(network, killed))
    assert store.complete() == {"u0"}
    bias, asked[:] = store.bias(), []
    source = _first(folder, store, Predictor(network, asked.append))
    assert asked == ["u1", "u2"] and store.bias() == bias
    assert store.complete() == set(ROLES.unlabeled) and store.source() == source


def test_labels_of_another_network_or_without_the_shares_are_made_anew(folder, store, network):
    first = _first(folder, store, Predictor(network))
    asked: list[str] = []
    assert _first(folder, store, Predictor(network, asked.append), align=False) != first
    assert asked == ["u0", "u1", "u2"] and store.bias() is None
    assert _first(folder, store, Predictor(nn.Linear(2, 2))) != first


def test_two_processes_share_the_cases_and_leave_what_one_would(folder, store, network, tmp_path):
    source = _first(folder, store, Predictor(network))
    shared, exported = tmp_path / "shared", {}

    def work(processes: Threads) -> str:
        predictor = Predictor(network if processes.is_first else nn.Linear(2, 2))
        own = LabelStore(shared, writer=processes.rank)
        found = _preparation(folder, processes=processes).generated(own, predictor, known=None, begun=False, align=True)
        exported[processes.rank] = predictor.exported
        return found

    assert in_two(work) == [source, source]
    assert exported == {0: ["u0", "u2"], 1: ["u1"]}
    both = LabelStore(shared)
    assert both.complete() == set(ROLES.unlabeled) and both.bias() == pytest.approx(store.bias())
    assert [path.name for path in shared.glob("manifest*")] == ["manifest.json"]
    for case in ROLES.unlabeled:
        assert np.array_equal(both.load(case)[0][:], store.load(case)[0][:])


class StandIn:
    """Stands for :class:`FurtherLabels`: marks its cases, and notes who prepared them when."""

    prepared: list[tuple[str, ...]]

    def __init__(self, cases: tuple[str, ...], *rest: Any):
        self.cases = cases

    of_dataset = classmethod(lambda cls, *arguments: cls(*arguments))

    def prepare(self, images: Any, target: LabelStore, report: Callable[[str], None]) -> str:
        assert list(images.identifiers) == list(self.cases)
        missing = sorted(set(self.cases) - target.complete())
        target.start("files")
        for case in missing:
            target.mark_complete(case)
        self.prepared.append(tuple(missing))
        return "files"


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was prepared at each call."""
    StandIn.prepared = []
    monkeypatch.setattr(label_preparation, "FurtherLabels", StandIn)
    return StandIn.prepared


def _true(folder: Path, store: LabelStore, processes=None, known: str | None = None, begun: bool = False):
    return _preparation(folder, processes=processes).true(store, None, None, {}, known=known, begun=begun)


def test_true_labels_of_all_imperfect_cases_are_prepared_before_the_first_epoch_and_checked_later(
    folder, tmp_path, prepared
):
    store = LabelStore(tmp_path / "true_labels", kind="true")
    assert _true(folder, store) == "files"
    assert prepared == [("n0", "u0", "u1", "u2")]
    assert _true(folder, store, known="files", begun=True) == "files" and len(prepared) == 1
    for known in ("others", None):
        with pytest.raises(InputError, match="they are other ones, expected the true labels this checkpoint"):
            _true(folder, store, known=known, begun=True)


def test_the_first_process_prepares_true_labels_and_the_other_finds_them(folder, tmp_path, prepared):
    def work(processes: Threads) -> str | None:
        return _true(folder, LabelStore(tmp_path / "true_labels", kind="true"), processes)

    assert in_two(work) == ["files", "files"]
    assert prepared == [ROLES.imperfect, ()]


def test_without_the_raw_dataset_nothing_is_known_of_such_labels_and_the_log_says_so(folder, tmp_path, monkeypatch):
    lines: list[str] = []
    preparation = LabelPreparation(str(folder), ROLES, Processes(), lines.append)
    plans: Any = SimpleNamespace(dataset_name="Dataset001_A")
    store = LabelStore(tmp_path / "former_labels", kind="former")
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert preparation.former(store, plans, SimpleNamespace(), {}) is None
    assert lines == ["nnUNet_raw is not set, so no former and further labels were looked for"]
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert list(preparation.former(store, plans, SimpleNamespace(), {"file_ending": ".nii.gz"})) == []
    assert len(lines) == 1 and not store.folder.exists(), "no case has one, which is the rule"


def test_labels_that_were_never_made_are_missing(tmp_path):
    with pytest.raises(InputError, match="1 cases are missing, expected the true labels"):
        check_labels(LabelStore(tmp_path / "true_labels", kind="true"), ["n0"], None)


INVERTED = Correction("turned over", lambda logits, labels: torch.where(labels < 2, 1 - labels, labels))


def _corrected(folder, store, network, how, known=None, begun=False, said=None, predicting=lambda case: None):
    preparation = _preparation(folder, print if said is None else said.append)
    predictor = Predictor(network, predicting)
    return preparation.corrected(store, predictor, lambda: how, known=known, begun=begun)


def test_noisy_labels_are_corrected_once_and_clean_ones_never(folder, tmp_path, network):
    store, said = LabelStore(tmp_path / "corrected_labels", kind="corrected"), []
    source = _corrected(folder, store, network, INVERTED, said=said)
    assert source == f"{fingerprint(network)} turned over" == store.source() and store.complete() == {"n0"}
    label, locations = store.load("n0")
    assert label[:].mean() == 0.75 and len(locations[1]) == 0.75 * 2 * 8 * 8
    assert said[-1] == "corrected label 1 of 1: n0, 100.00% of the voxels changed"
    begun = _corrected(folder, store, network, None, known=source, begun=True)  # nobody asks how any more
    assert begun == source


def test_the_next_correction_takes_the_place_of_the_last_one_and_starts_from_the_dataset(folder, tmp_path, network):
    store = LabelStore(tmp_path / "corrected_labels", kind="corrected")
    first = _corrected(folder, store, network, INVERTED)
    again = Correction("turned over again", INVERTED.corrected)
    second = _corrected(folder, store, network, again, known=first)
    assert second != first and store.load("n0")[0][:].mean() == 0.75
    with pytest.raises(InputError, match="they come from another network, expected the corrected labels this"):
        _corrected(folder, store, network, again, known=first, begun=True)
    assert _corrected(folder, store, network, None, known=second) == AS_THEY_ARE
    assert store.complete() == set() and _corrected(folder, store, network, None, AS_THEY_ARE, True) == AS_THEY_ARE


def test_a_killed_correction_goes_on_after_the_last_complete_case(folder, tmp_path, network):
    store, asked = LabelStore(tmp_path / "corrected_labels", kind="corrected"), []
    _corrected(folder, store, network, INVERTED)
    _corrected(folder, store, network, INVERTED, predicting=asked.append)
    assert asked == []
