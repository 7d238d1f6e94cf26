"""Each comparison method's own terms: identities that connect them, and values worked out by other means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comparison_support import COMPARED, SIZES, pair
from method_support import CPU, ROLES, parameters_of, take_step

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.mean_teacher import ema_update_
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment
from noise_synthesis.safe_io.errors import InputError

END = Moment(1000, 1000, 1000)
CALM: dict[str, Any] = {"teacher_noise": 0.0, "dropout": 0.0}
EVERYTHING = {"threshold_start": 100.0, "threshold_end": 100.0}


def apart(name: str, **settings: Any) -> Learning:
    """A method whose teacher is not its student."""
    learning = COMPARED[name].begin(**settings)
    with torch.no_grad():
        for parameter in learning.teacher.network.parameters():
            parameter.add_(0.05)
    return learning


def terms(learning: Learning, moment: Moment = END) -> dict[str, float]:
    return {name: float(value) for name, value in take_step(learning, pair(), moment).items()}


def predictions(learning: Learning, which: str = "imperfect") -> tuple[torch.Tensor, torch.Tensor]:
    """Of student and teacher, without noise and dropout."""
    images = getattr(Batch.of(pair(), CPU), which).images
    with torch.no_grad():
        outputs = [network(images)[0].softmax(1) for network in (learning.student, learning.teacher.network)]
    return outputs[0], outputs[1]


def test_terms_rise_with_the_ramp_to_their_weight():
    """exp(-5 (1 - t)^2) with t = now / (share of the stage)."""
    for share, now, expected in ((1.0, 0, 0.0067), (1.0, 500, 0.2865), (0.4, 200, 0.2865), (0.4, 400, 1), (0, 0, 1)):
        half = terms(COMPARED["EntropyMin"].begin(ramp_up=share), Moment(now, now, 1000))["entropy"]
        whole = terms(COMPARED["EntropyMin"].begin(ramp_up=share), END)["entropy"]
        assert half / whole == pytest.approx(expected, abs=2e-4)


def test_labels_made_in_a_step_have_nnunets_loss_at_all_scales():
    """Ignored where they are negative; the very loss of the clean batch for its own labels."""
    learning = COMPARED["EntropyMin"].begin()
    batch, method = Batch.of(pair(), CPU), learning.method
    outputs = learning.passes.student(batch.clean.images)
    labels = batch.clean.target[0][:, 0].long()
    assert method.labelled(outputs, labels).item() == pytest.approx(method.supervised(batch.clean, outputs).item())
    labels[:, 5:] = -1
    gradient = torch.autograd.grad(method.labelled(outputs, labels), outputs)
    for one, rows in zip(gradient, (5, 2), strict=True):
        assert one[:, :, :rows].all() and not one[:, :, rows + 1 :].any()


def test_entropy_is_of_imperfect_images_alone():
    learning = COMPARED["EntropyMin"].begin(entropy_weight=0.5)
    p, _ = predictions(learning)
    of_torch = torch.distributions.Categorical(probs=p.movedim(1, -1)).entropy().mean() / torch.tensor(2.0).log()
    assert terms(learning)["entropy"] == pytest.approx(0.5 * float(of_torch), rel=1e-5)


def test_equal_networks_without_noise_agree_and_others_are_a_mean_square_apart():
    assert terms(COMPARED["MeanTeacher"].begin(teacher_noise=0.0))["agreement"] < 1e-14
    learning = apart("MeanTeacher", teacher_noise=0.0, agreement_weight=0.3)
    expected = 0.3 * torch.nn.functional.mse_loss(*predictions(learning))
    assert terms(learning)["agreement"] == pytest.approx(float(expected), rel=1e-5)
    assert terms(COMPARED["MeanTeacher"].begin())["agreement"] > 0, "noise sets equal networks apart"


def test_a_constant_student_is_approached_by_powers_of_the_decay():
    """t_k - s = d^k (t_0 - s)."""
    learning = apart("MeanTeacher")
    student, first = parameters_of(learning.student), parameters_of(learning.teacher.network)
    for _ in range(5):
        ema_update_(learning.teacher.network, learning.student, 0.9)
    for s, t0, t in zip(student, first, learning.teacher.network.parameters(), strict=True):
        torch.testing.assert_close(t - s, 0.9**5 * (t0 - s), rtol=1e-4, atol=1e-6)


def test_uamt_that_trusts_every_pixel_is_a_mean_teacher():
    noisy = {"teacher_noise": 0.1}  # the passes that only judge draw from another generator
    expected = terms(apart("MeanTeacher", **noisy))
    found = terms(apart("UAMT", **noisy, dropout=0.0, **EVERYTHING))
    assert found["agreement"] == pytest.approx(expected["agreement"], rel=1e-5)
    assert found["supervised"] == expected["supervised"]


def test_uamt_counts_the_pixels_of_which_the_teacher_is_sure():
    learning = apart("UAMT", **CALM, uncertainty_passes=2, threshold_end=1.0)
    p, q = predictions(learning)
    sure = torch.distributions.Categorical(probs=q.movedim(1, -1)).entropy() < torch.tensor(2.0).log()
    literal = 0.2 * (p - q).square().mean(1)[sure].mean()
    assert terms(learning)["agreement"] == pytest.approx(float(literal), rel=1e-5)
    nothing = apart("UAMT", **CALM, threshold_start=0.0, threshold_end=0.0)
    assert terms(nothing)["agreement"] == 0


def test_the_uncertain_teacher_has_dropout_although_it_is_in_evaluation_mode():
    calm, dropping = apart("UAMT", teacher_noise=0.0, dropout=0.0), apart("UAMT", teacher_noise=0.0)
    images = torch.randn(2, 1, *SIZES[2], generator=torch.Generator().manual_seed(0))
    assert not dropping.teacher.network.training
    for learning, equal in ((calm, True), (dropping, False)):
        method: Any = learning.method
        assert torch.equal(method.teacher(images), method.teacher(images)) is equal
    found = [apart("UAMT", teacher_noise=0.0).method.uncertainty(images) for _ in range(2)]
    assert torch.equal(*found) and not torch.equal(found[0], calm.method.uncertainty(images))


def test_equal_networks_leave_lgermt_with_its_entropy():
    """p = q: nothing but the entropy of imperfect images is left."""
    found = terms(COMPARED["LGERMT"].begin(teacher_noise=0.0))
    assert max(found["agreement"], found["global"]) < 1e-14 and abs(found["local"]) < 1e-7
    expected = terms(COMPARED["EntropyMin"].begin(entropy_weight=0.02))["entropy"]
    assert found["entropy"] == pytest.approx(expected, rel=1e-5)


def test_lgermt_compares_all_images_and_one_window_can_be_the_patch():
    learning = apart("LGERMT", teacher_noise=0.0, windows=1, window_side=16)
    pairs = [predictions(learning, which) for which in ("clean", "imperfect")]
    p, q = (torch.cat(maps) for maps in zip(*pairs, strict=True))

    def likeness(maps):
        rows = maps.flatten(2).transpose(1, 2)
        return torch.nn.functional.cosine_similarity(rows[:, :, None], rows[:, None], dim=-1)

    found, of_torch = terms(learning), torch.nn.functional.mse_loss
    assert found["agreement"] == pytest.approx(0.2 * float(of_torch(p, q)), rel=1e-4)
    assert found["local"] == pytest.approx(0.02 * float(of_torch(likeness(p), likeness(q))), rel=1e-3)
    information = [-x * x.log() / torch.tensor(2.0).log() for x in (p, q)]
    assert found["global"] == pytest.approx(0.02 * float(of_torch(*information)), rel=1e-4)


def test_duwm_of_a_certain_teacher_is_a_mean_teacher_on_both_batches(monkeypatch):
    """U = 0: every pixel counts fully; then the mean over both batches."""
    from nnunetv2_mlbseg.methods import duwm

    weighted = terms(apart("DUWM", **CALM))
    monkeypatch.setattr(duwm, "entropy", lambda maps: torch.zeros_like(maps[:, 0]))
    learning = apart("DUWM", **CALM)
    pairs = [predictions(learning, which) for which in ("clean", "imperfect")]
    p, q = (torch.cat(maps) for maps in zip(*pairs, strict=True))
    found = terms(learning)
    expected = 0.2 * float(torch.nn.functional.mse_loss(p, q))
    assert found["agreement"] == pytest.approx(expected, rel=1e-4) and weighted["agreement"] < found["agreement"]
    assert 0 < weighted["features"] < found["features"]


def test_mixup_of_clean_images_needs_no_others_and_noisy_ones_join_the_blends():
    method, compared = COMPARED["MixUp"].method, COMPARED["MixUp"]
    (stage,) = method.stages(compared.settings(), 6, ROLES)
    assert stage.imperfect is None and stage.main.roles == ("clean",)
    (stage,) = method.stages(compared.settings(noisy_labels="face"), 6, ROLES)
    assert stage.imperfect.roles == ("noisy",) and stage.imperfect.blank == ()
    alone = terms(compared.begin())
    assert alone["supervised"] != 0 and 0 < alone["blends"] < 0.05
    assert terms(compared.begin(noisy_labels="face")).keys() == {"loss", "blends"}


def test_mixup_without_blends_is_the_loss_itself(monkeypatch):
    """A share of 1: nnU-Net's loss, which has minus the Dice in place of 1 - Dice."""
    from nnunetv2_mlbseg.methods import mixup

    monkeypatch.setattr(mixup, "beta", lambda passes, count, alpha, purpose: torch.ones(count))
    found = terms(COMPARED["MixUp"].begin(blend_weight=1.0))
    assert found["blends"] == pytest.approx(found["supervised"] + 1, rel=1e-5)


def test_a_fold_without_the_cases_that_a_method_learns_from_is_one_line():
    roles = FoldRoles(clean=("c0",), noisy=(), unlabeled=(), validation=("v0",))
    settings = COMPARED["UAMT"].settings()
    with pytest.raises(InputError, match="no noisy or unlabeled training case, expected at least one, which UAMT"):
        COMPARED["UAMT"].method.stages(settings, 6, roles)
