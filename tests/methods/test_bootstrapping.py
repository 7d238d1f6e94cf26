"""The composition of a bootstrapping step: labels in views, weights per scale, gradient flow."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads, seen, small_network
from torch import nn

from nnunetv2_mlbseg.maths.mean_teacher import make_teacher
from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.views import draw_views
from nnunetv2_mlbseg.maths.weighting.meta import Meta
from nnunetv2_mlbseg.maths.weighting.uniform import Uniform
from nnunetv2_mlbseg.methods.mlbseg.method import BootstrapStep
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.terms import bootstrap_loss, consistency_terms, statistics
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.whole_batch_loss import AnnotatedCrossEntropy


def _views(names, batch=2, seed=0):
    return draw_views(names, batch, 2, torch.Generator().manual_seed(seed))


def _meta(logits, tangents, imperfect, pseudo):
    return Meta("sum").weigh(seen([logits], [tangents], imperfect, pseudo), NoRecord())[0]


def test_weights_at_every_scale_are_normalised_on_their_own_and_sum_to_the_loss_by_hand():
    """Uniform weights: the loss is the sum over scales of factor times (mean CE imperfect + mean CE pseudo)."""
    logits = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    imperfect = torch.randint(0, 3, (2, 8, 8))
    imperfect[0, :4] = -1
    pseudo = torch.randint(0, 3, (2, 8, 8))
    weighted = Uniform("sum").weigh(seen(logits, None, imperfect, pseudo), NoRecord())
    loss = bootstrap_loss(logits, weighted, [0.75, 0.25])
    expected = 0.0
    for z, factor, step in ((logits[0], 0.75, 1), (logits[1], 0.25, 2)):
        offset = step // 2
        small_n, small_p = (labels[:, offset::step, offset::step] for labels in (imperfect, pseudo))
        expected += factor * nn.functional.cross_entropy(z, small_n, ignore_index=-1)
        expected += factor * nn.functional.cross_entropy(z, small_p)
    assert torch.allclose(loss, expected, atol=1e-6)


def test_consistency_terms_come_only_where_asked_for():
    views = _views(["flip"])
    output = torch.randn(4, 2, 8, 8)
    teacher = torch.rand(4, 2, 8, 8).softmax(1)
    assert set(consistency_terms(output, teacher, views, view_term=True)) == {"views", "teacher"}
    assert set(consistency_terms(output, None, views, view_term=True)) == {"views"}
    assert consistency_terms(output[:2], None, _views([]), view_term=True) == {}


def test_statistics_of_one_view_by_hand():
    tangents = torch.tensor([[[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]]]])
    weighted = _meta(torch.zeros(1, 2, 1, 4), tangents, torch.tensor([[[0, 1, 1, -1]]]), torch.tensor([[[1, 1, 1, 1]]]))
    # softmax is 1/2: raw weight of class 0 is 1/2 - 1 = -1/2, of class 1 is 1/2 - 0 = 1/2
    found = {name: round(value.item(), 6) for name, value in statistics(weighted).items()}
    assert found["weight_imperfect"] == round(1 / 3, 6) and found["weight_pseudo"] == 0.5
    assert found["share_imperfect"] == round(2 / 3, 6) and found["share_pseudo"] == 1.0
    assert found["agreement"] == round(2 / 3, 6)
    assert found["weight_imperfect_by_view"] == found["weight_imperfect"] and found["sum_pseudo_by_view"] == 1


def test_statistics_by_view_by_hand():
    """Two views of one image with two pixels: raw weights +-1/2 or 0 as above, in view 1 four times as large."""
    tangents = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]], [[[4.0, 4.0]], [[0.0, 0.0]]]])
    imperfect = torch.tensor([[[1, 0]], [[1, 1]]])
    pseudo = torch.tensor([[[0, 0]], [[1, -1]]])
    weighted = _meta(torch.zeros(2, 2, 1, 2), tangents, imperfect, pseudo)
    found = {name: value.tolist() for name, value in statistics(weighted, 2).items()}
    assert found["weight_imperfect_by_view"] == [0.25, 2.0] and found["weight_pseudo_by_view"] == [0.0, 2.0]
    assert found["sum_imperfect_by_view"] == pytest.approx([1 / 9, 8 / 9])
    assert found["sum_pseudo_by_view"] == pytest.approx([0, 1])


def test_a_step_reads_nothing_from_the_device_for_its_statistics():
    weighted = _meta(torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3), *torch.randint(0, 2, (2, 4, 3, 3)))
    with NoHostReads() as watched:
        statistics(weighted, 2)
    assert watched.operations


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


TERMS = ("bootstrap", "mixture_dice", "consistency", "teacher", "supervised")
NETWORKS = {"forward mode": _Net, "replayed": small_network}
"""By the way in which the tangents are found on the CPU: tanh cannot be replayed, nnU-Net's networks can."""


def _step(network="forward mode", grad_scaler=None, **overrides):
    torch.manual_seed(0)
    student = NETWORKS[network]()
    teacher = make_teacher(student)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3)
    config = resolve(MLBSegSettings, {"seed": 3, "momentum": 0.9, "weight_decay": 0, "initial_lr": 0.1, **overrides})
    optimizer = torch.optim.SGD(student.parameters(), config.initial_lr)
    step = BootstrapStep(
        student,
        teacher,
        optimizer,
        grad_scaler,
        lambda z, t: nn.functional.cross_entropy(z, t[:, 0].long()),
        [1.0],
        2,
        config,
        torch.device("cpu"),
        noisy_cases=1,
    )
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 1, 12, 12, generator=generator)
    target = (image > 0).short()
    noisy = target.clone()
    noisy[:, :, :3] = 1 - noisy[:, :, :3]
    noisy[:, :, -1] = 2
    batch = {"data": image, "target": target, "imperfect_data": image * 0.9, "imperfect_target": noisy}
    batch["imperfect_generated"] = torch.tensor([False, True])
    batch["imperfect_case"] = torch.tensor([0, -1])
    return step, batch


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
@pytest.mark.parametrize("labeller", ["student", "teacher"])
@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_moves_the_student_only_and_all_values_are_finite(network, weighting, labeller, virtual):
    overrides = {"pseudo_label_network": labeller, "virtual_consistency": virtual}
    step, batch = _step(network, weighting=weighting, **overrides)
    before = [p.detach().clone() for p in step.student.parameters()]
    teacher = [p.detach().clone() for p in step.teacher.parameters()]
    found = step(batch)
    assert all(torch.isfinite(value).all() for value in found.values())
    assert {"loss", "bootstrap", "views", "teacher", "supervised", "agreement"} <= found.keys()
    assert step.replays == (network == "replayed" or weighting == "uniform"), "which tangents these were"
    pairs = [(a, b) for a, b in zip(before, step.student.parameters(), strict=True) if b.grad is not None]
    kernels = [not torch.equal(a, b) for a, b in pairs if b.ndim > 1]  # instance norm takes the effect of most biases
    assert len(kernels) > 1 and all(kernels)
    assert all(torch.equal(a, b) for a, b in zip(teacher, step.teacher.parameters(), strict=True))
    assert all(p.grad is None for p in step.teacher.parameters())


@pytest.mark.parametrize("weighting", ["tied", "meta"])
@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_gradient_scaler_changes_nothing_in_float32(network, weighting, virtual):
    """The factor is a power of two, so that scaling and unscaling are exact; the weights' direction has a unit norm."""
    found = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        step, batch = _step(network, grad_scaler=scaler, weighting=weighting, virtual_consistency=virtual)
        values = step(batch)
        found.append((values, [p.detach().clone() for p in step.student.parameters()]))
    (plain, moved), (scaled, moved_scaled) = found
    for name in plain:
        torch.testing.assert_close(scaled[name], plain[name], rtol=1e-5, atol=1e-7)
    for a, b in zip(moved, moved_scaled, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_each_term_alone_moves_the_student_and_weight_zero_removes_it(network, term):
    off = {f"{name}_weight": 0 for name in TERMS}
    alone, batch = _step(network, **{**off, f"{term}_weight": 1})
    before = [p.detach().clone() for p in alone.student.parameters()]
    alone(batch)
    assert any(not torch.equal(a, b) for a, b in zip(before, alone.student.parameters(), strict=True))
    none, batch = _step(network, **off)
    before = [p.detach().clone() for p in none.student.parameters()]
    none(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, none.student.parameters(), strict=True))


@pytest.mark.parametrize("weighting", ["tied", "uniform"])
def test_a_lower_weight_of_generated_labels_scales_their_images_and_no_others(weighting):
    values = {}
    for factor in (1.0, 0.25, 0.0):
        for generated in ([False, False], [True, True], [False, True]):
            step, batch = _step(weighting=weighting, generated_weight=factor, generated_ramp_up=0)
            batch["imperfect_generated"] = torch.tensor(generated)
            labels = step.weigh(batch).labels[0]
            image = torch.tensor(generated).repeat(len(labels.imperfect) // 2)
            values[factor, tuple(generated)] = (sum(weights for _, weights in labels.pairs()), image)
    for generated in ((False, False), (True, True), (False, True)):
        (full, image), (quarter, _), (none, _) = (values[factor, generated] for factor in (1.0, 0.25, 0.0))
        assert full.sum() == pytest.approx(1)
        assert torch.equal(quarter[~image], full[~image]) and torch.equal(none[~image], full[~image])
        assert torch.allclose(quarter[image], full[image] / 4) and not none[image].any()


def test_generated_labels_begin_near_zero_and_reach_their_weight():
    step, batch = _step(generated_weight=0.25, generated_ramp_up=100)
    batch["imperfect_generated"] = torch.tensor([True, True])
    sums = {}
    for iterations in (0, 50, 100, 1000):
        step.begin_epoch(iterations)
        sums[iterations] = float(sum(weights.sum() for _, weights in step.weigh(batch).labels[0].pairs()))
    expected = {0: 0.25 * math.exp(-5), 50: 0.25 * math.exp(-1.25), 100: 0.25, 1000: 0.25}
    assert sums == pytest.approx(expected)
    fresh, _ = _step(generated_weight=0.25, generated_ramp_up=100)
    assert fresh.generated_weight == pytest.approx(0.25 * math.exp(-5))


def test_the_supervised_term_alone_is_one_plain_sgd_step_on_the_clean_batch():
    step, batch = _step(bootstrap_weight=0, mixture_dice_weight=0, consistency_weight=0, teacher_weight=0)
    reference = _Net()
    reference.load_state_dict(step.student.state_dict())
    nn.functional.cross_entropy(reference(batch["data"]), batch["target"][:, 0].long()).backward()
    expected = [p.detach() - 0.1 * p.grad for p in reference.parameters()]
    step(batch)
    for found, wanted in zip(step.student.parameters(), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-7)


@pytest.mark.parametrize("network", NETWORKS)
def test_equal_seeds_give_equal_steps_and_saved_generators_continue_them(network):
    first, batch = _step(network)
    second, _ = _step(network)
    assert float(first(batch)["loss"]) == float(second(batch)["loss"])
    states = first.generator_states()
    ahead = draw_views(("zoom_in",), 2, 2, first.view_generator).matrices
    first.set_generator_states(states)
    assert torch.equal(draw_views(("zoom_in",), 2, 2, first.view_generator).matrices, ahead)


def test_cross_entropy_without_an_annotated_pixel_is_zero_with_zero_gradient():
    loss = AnnotatedCrossEntropy(ignore_label=2)
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 1, 4, 4), 2))
    value.backward()
    assert float(value) == 0 and (logits.grad == 0).all()
    target = torch.randint(0, 3, (2, 1, 4, 4))
    expected = nn.functional.cross_entropy(logits, target[:, 0], ignore_index=2)
    assert torch.allclose(loss(logits, target), expected)


def test_the_noise_generator_of_another_device_is_left_behind():
    step, batch = _step()
    states = step.generator_states()
    foreign = {"views": states["views"], "noise on cuda": torch.zeros(16, dtype=torch.uint8)}
    step.set_generator_states(foreign)
    assert torch.isfinite(step(batch)["loss"])


@pytest.mark.parametrize(("weighting", "forwards"), [("tied", 3), ("meta", 3), ("uniform", 2)])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_student_runs_once_per_purpose(network, weighting, forwards):
    """Clean batch, tangents where the strategy needs them, training; the teacher once."""
    step, batch = _step(network, weighting=weighting)
    calls = {"student": 0, "teacher": 0}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    step.student.register_forward_hook(count("student"))
    step.teacher.register_forward_hook(count("teacher"))
    step(batch)
    assert calls == {"student": forwards, "teacher": 1}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("record", "grows"), [("disputes", ("counts", "extent")), ("shares", ("clean", "pseudo"))])
def test_what_a_step_remembers_grows_and_survives_a_checkpoint(network, record, grows):
    step, batch = _step(network, weighting="tied", align_shares=True)
    assert step.records_state() == {"disputes": None, "shares": None}
    step(batch)
    first = step.records_state()
    assert all(first[record][name].sum() > 0 for name in grows)
    step.weigh(batch)
    assert all(torch.equal(value, step.records_state()[record][name]) for name, value in first[record].items())
    other, _ = _step(network, weighting="tied", align_shares=True)
    other.set_records_state(first)
    assert all(torch.equal(value, other.records_state()[record][name]) for name, value in first[record].items())
    step.remember(step.weigh(batch))
    assert not torch.equal(step.records_state()[record][grows[0]], first[record][grows[0]])
    assert torch.equal(other.records_state()[record][grows[0]], first[record][grows[0]])
    other(batch)
    assert not torch.equal(other.records_state()[record][grows[0]], first[record][grows[0]])


def test_a_record_in_the_form_of_an_earlier_version_begins_anew():
    step, batch = _step(weighting="tied")
    step(batch)
    state = step.records_state()
    earlier = {name: table for name, table in state["disputes"].items() if name != "cases"}
    other, _ = _step(weighting="tied")
    other.set_records_state({"disputes": earlier, "shares": state["shares"]})
    assert other.disputes is None and other.shares is not None
    other(batch)


def test_the_step_tells_depths_and_cases_apart_unless_switched_off():
    """Where depths are not told apart all counts lie at the first level, and without cases there is one matrix."""
    sums = {}
    for by_depth, by_case in ((True, True), (False, False)):
        step, batch = _step(weighting="tied", confusion_by_depth=by_depth, confusion_by_case=by_case)
        step(batch)
        confusion = step.disputes.confusion
        sums[by_depth] = confusion.counts.sum(2)
        assert bool(confusion.counts[:, :, 1:].any()) == by_depth
        assert len(confusion.cases) == int(by_case)
        if by_case:
            torch.testing.assert_close(confusion.cases[0], confusion.counts / (1 - step.config.tied_decay))
    torch.testing.assert_close(sums[True], sums[False])
