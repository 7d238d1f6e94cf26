"""Forward passes as a method gets them: float32, with or without a graph, of one process or several."""

from __future__ import annotations

import operator
from contextlib import contextmanager

import pytest
import torch
from maths_support import small_network
from method_support import CPU, TanhNetwork, learning_of
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunetv2_mlbseg.maths.tensors import unchanged
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.random_state import Generators
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.descent import Descent
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.whole_batch_loss import cross_entropy_like, over_whole_batch
from noise_synthesis.safe_io.errors import InputError

IMAGES = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def _passes(student: nn.Module, teacher: nn.Module | None = None, **values) -> Passes:
    parameters = list(student.parameters())
    descent = Descent(parameters, torch.optim.SGD(parameters, 0.1), None, Processes())
    of_loss = {"losses": {}, "scale_factors": [1.0], "deep_supervision": False}
    rest = {**of_loss, "device": CPU, "generators": Generators(1, CPU), **values}
    return Passes(student, teacher or student, descent, **rest)


class _Half(nn.Module):
    """What autocast makes of a network: its output is in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TanhNetwork()

    def forward(self, images):
        return self.inner(images).half()


def test_outputs_are_float32_and_double_precision_stays():
    passes = _passes(_Half())
    assert passes.student(IMAGES)[0].dtype == passes.teacher(IMAGES).dtype == torch.float32
    double = _passes(TanhNetwork().double())
    assert double.student(IMAGES.double())[0].dtype == torch.float64


def test_the_student_has_a_graph_and_the_scales_that_count():
    """Deep supervision gives the coarsest output the weight 0: of two outputs one counts."""
    network = small_network(deep_supervision=True)
    whole = _passes(network, scale_factors=[0.75, 0.25], deep_supervision=True).student(IMAGES)
    assert [tuple(output.shape[2:]) for output in whole] == [(16, 16), (8, 8)]
    finest = _passes(network, scale_factors=[1.0], deep_supervision=True).student(IMAGES)
    assert len(finest) == 1 and torch.equal(finest[0], whole[0]) and finest[0].requires_grad


def test_the_teacher_gives_probabilities_without_a_graph_and_noise_only_where_asked_for():
    teacher = TanhNetwork()
    passes = _passes(TanhNetwork(), teacher)
    found = passes.teacher(IMAGES)
    assert not found.requires_grad
    torch.testing.assert_close(found, teacher(IMAGES).detach().softmax(1))
    assert torch.equal(passes.teacher(IMAGES), found)
    noisy = [passes.teacher(IMAGES, noise=0.5) for _ in range(2)]
    assert not torch.equal(noisy[0], found) and not torch.equal(*noisy), "new noise at every call"


@contextmanager
def _doubled(network):
    """Doubles what the network says, while it lasts."""
    said = network.forward
    network.forward = lambda images: 2 * said(images)
    try:
        yield
    finally:
        del network.forward


def test_a_network_can_be_changed_for_one_pass_alone_even_where_it_is_compiled():
    """Compiled code would know nothing of it: the network inside the wrapper does."""
    network, other = TanhNetwork(), TanhNetwork()
    wrapped = nn.Module()
    wrapped._orig_mod, wrapped.forward = network, lambda images: pytest.fail("the compiled network was called")
    passes = _passes(wrapped, other)
    torch.testing.assert_close(passes.student(IMAGES, within=_doubled)[0], 2 * network(IMAGES))
    torch.testing.assert_close(passes.teacher(IMAGES, within=_doubled), (2 * other(IMAGES)).softmax(1))
    torch.testing.assert_close(passes.through(other, IMAGES)[0], other(IMAGES))
    assert "forward" not in vars(network) and "forward" not in vars(other)


def test_features_can_be_those_of_another_network():
    passes, other = _passes(small_network()), small_network(seed=5)
    outputs, found = passes.features(IMAGES, other)
    assert torch.equal(outputs[0], other(IMAGES)) and torch.equal(found.skips[0], other.encoder(IMAGES)[0])
    assert torch.equal(passes.features(IMAGES, other, within=_doubled)[0][0], 2 * outputs[0])


def test_features_have_the_shapes_of_encoder_and_decoder_and_pass_gradient_on():
    network = small_network()
    outputs, found = _passes(network).features(IMAGES)
    assert torch.equal(outputs[0], _passes(network).student(IMAGES)[0])
    assert [tuple(skip.shape) for skip in found.skips] == [(2, 4, 16, 16), (2, 6, 8, 8), (2, 8, 4, 4)]
    assert found.last.shape == (2, 4, 16, 16)
    (found.last.square().mean() + found.skips[-1].square().mean()).backward()
    in_encoder = [parameter.grad for parameter in network.encoder.parameters()]
    assert all(gradient is not None for gradient in in_encoder) and any(gradient.any() for gradient in in_encoder)
    assert all(parameter.grad is None for parameter in network.decoder.seg_layers.parameters())
    assert not network.encoder._forward_hooks, "nothing is left behind"


def test_a_student_that_was_compiled_and_called_before_has_features_as_well():
    """Compiled code runs without the hooks that are set after it."""
    network = small_network()
    passes = _passes(torch.compile(network, backend="eager"))
    passes.student(IMAGES)
    outputs, found = passes.features(IMAGES)
    expected_outputs, expected = _passes(network).features(IMAGES)
    assert len(found.skips) == len(expected.skips) == 3 and torch.equal(found.last, expected.last)
    assert torch.equal(outputs[0], expected_outputs[0])


def _unetplusplus() -> nn.Module:
    return UNetPlusPlus(1, 2, [4, 4, 4, 4, 4, 4], 2)


# MONAI, which UNet++ is from, takes seconds to import.
@pytest.mark.parametrize("network", [TanhNetwork, _unetplusplus])
def test_features_of_a_network_without_encoder_and_decoder_are_refused(network):
    with pytest.raises(InputError, match="without encoder and decoder, which the method looks into"):
        _passes(network()).features(torch.zeros(1, 1, 32, 32))


def test_passes_in_bfloat16_give_float32_and_exact_ones_are():
    network = small_network(deep_supervision=True)
    kinds = []
    network.register_forward_hook(lambda _, __, outputs: kinds.append(outputs[0].dtype))
    wide = {"scale_factors": [0.75, 0.25], "deep_supervision": True}
    exact, coarse = _passes(network, **wide), _passes(network, **wide, bfloat16=True)
    wanted, labels = exact.student(IMAGES), exact.teacher(IMAGES)
    kinds.clear()
    outputs, found = coarse.features(IMAGES)
    assert torch.equal(outputs[1], coarse.student(IMAGES)[1]) and not torch.equal(outputs[1], wanted[1])
    torch.testing.assert_close(outputs, wanted, rtol=0.05, atol=0.05)
    torch.testing.assert_close(coarse.teacher(IMAGES), labels, rtol=0.05, atol=0.05)
    assert kinds == 3 * [torch.bfloat16]
    assert {one.dtype for one in (*outputs, *found.skips, found.last, coarse.teacher(IMAGES))} == {torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(coarse.student(IMAGES, exact=True), wanted, strict=True))
    assert kinds[-1] == torch.float32


def test_tangents_beside_passes_in_bfloat16_are_those_of_float32():
    network = small_network()
    direction = [torch.ones_like(parameter) for parameter in network.parameters()]
    wanted = _passes(network).with_tangents(IMAGES, direction)
    found = _passes(network, bfloat16=True).with_tangents(IMAGES, direction)
    assert found.outputs is None and not found.logits[0].requires_grad
    torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.tangents, wanted.tangents, rtol=1e-4, atol=1e-4)


def test_tangents_come_with_the_training_pass_or_without_it():
    direction = [torch.ones_like(parameter) for parameter in TanhNetwork().parameters()]
    found = _passes(TanhNetwork()).with_tangents(IMAGES, direction)
    assert found.outputs is None and not found.logits[0].requires_grad
    network = small_network()
    direction = [torch.ones_like(parameter) for parameter in network.parameters()]
    shared = _passes(network).with_tangents(IMAGES, direction)
    assert shared.outputs is not None and shared.outputs[0].requires_grad
    assert torch.equal(shared.logits[0], shared.outputs[0]) and not shared.logits[0].requires_grad


@pytest.mark.parametrize("replayed", [True, False])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_derivatives_of_the_first_images_are_those_of_all_cut_off_and_the_outputs_are_whole(norm, replayed):
    network, images = small_network(norm=norm).double(), torch.randn(5, 1, 16, 16, dtype=torch.float64)
    direction = [torch.randn_like(parameter) for parameter in network.parameters()]
    passes = _passes(network)
    passes._replays = replayed
    whole, found = passes.with_tangents(images, direction), passes.with_tangents(images, direction, first=2)
    assert found.tangents[0].shape[0] == 2
    torch.testing.assert_close(found.tangents[0], whole.tangents[0][:2])
    torch.testing.assert_close(found.logits[0], whole.logits[0][: len(found.logits[0])])
    if found.outputs is not None:
        assert found.outputs[0].requires_grad
        torch.testing.assert_close(found.outputs[0], passes.student(images)[0])
    assert (found.outputs is not None) == (replayed and norm == "instance")


def test_the_loss_sees_a_list_with_deep_supervision_and_a_tensor_without():
    seen = []
    losses = {"dice_ce": lambda output, target: seen.append(output) or output[0].sum(), "ce": lambda *_: torch.ones(())}
    outputs = [torch.ones(1, 2, 4, 4), torch.ones(1, 2, 2, 2)]
    for deep in (True, False):
        _passes(TanhNetwork(), losses=losses, deep_supervision=deep).supervised(outputs, outputs[0])
    assert all(map(operator.is_, seen[0], outputs)) and seen[1] is outputs[0]
    assert _passes(TanhNetwork(), losses=losses).supervised(outputs, outputs[0], "ce") == 1


def test_one_process_has_all_images_and_of_several_each_has_its_share():
    assert _passes(TanhNetwork()).share_of_images() is None and _passes(TanhNetwork()).total is unchanged
    shares = [_passes(TanhNetwork(), processes=Processes(rank, 2), images=3).share_of_images() for rank in range(2)]
    assert shares == [slice(0, 2), slice(2, 3)]


def test_processes_disturb_their_images_as_one_would_the_whole_batch():
    """Three images in two views, of which the processes have two and one."""
    images = torch.randn(6, 1, 8, 8)
    network = TanhNetwork()
    whole = _passes(network).teacher(images, noise=0.5).unflatten(0, (2, 3))
    for rank, part in ((0, slice(0, 2)), (1, slice(2, 3))):
        own = images.unflatten(0, (2, 3))[:, part].flatten(0, 1)
        found = _passes(network, processes=Processes(rank, 2), images=3).teacher(own, noise=0.5)
        torch.testing.assert_close(found, whole[:, part].flatten(0, 1))


def test_a_training_takes_scales_and_loss_from_nnunets_own():
    settings = resolve(MLBSeg.Settings, {"seed": 1})
    loss = DeepSupervisionWrapper(nn.MSELoss(), (0.75, 0.25, 0.0))
    passes = learning_of(MLBSeg, settings, small_network(deep_supervision=True), loss).passes
    assert passes.scale_factors == [0.75, 0.25] and passes.deep_supervision and passes.losses["dice_ce"] is loss
    assert isinstance(passes.losses["ce"], DeepSupervisionWrapper) and passes.images is None
    plain = learning_of(MLBSeg, settings, TanhNetwork(), nn.MSELoss()).passes
    assert plain.scale_factors == [1.0] and not plain.deep_supervision


def _soft_dice(logits: torch.Tensor, target: torch.Tensor, classes: range) -> torch.Tensor:
    """Mean over some classes, the whole batch as one image, smoothed as nnU-Net does."""
    probabilities = logits.softmax(1)
    values = []
    for number in classes:
        predicted, truth = probabilities[:, number], (target[:, 0] == number).to(logits.dtype)
        values.append((2 * (predicted * truth).sum() + 1e-5) / (predicted.sum() + truth.sum() + 1e-5))
    return torch.stack(values).mean()


@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize("loss", ["dice_ce", "ce"])
def test_the_loss_of_clean_images_is_that_of_a_network_without_the_classes_they_do_not_show(loss, ignore):
    """Class 1 of three: cross-entropy and Dice of classes 0 and 2 alone, at both scales; garbage at 1 is the same."""
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    stock = DC_and_CE_loss(dice, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    nnunets = over_whole_batch(DeepSupervisionWrapper(stock, (0.75, 0.25)), ignore, Processes())
    losses = {"dice_ce": nnunets, "ce": cross_entropy_like(nnunets, ignore, Processes())}
    parts = {"losses": losses, "scale_factors": [0.75, 0.25], "deep_supervision": True}
    passes = _passes(TanhNetwork(), unshown=Unshown.of((1,), 3), **parts)
    draw = torch.Generator().manual_seed(0)
    target = 2 * torch.randint(2, (2, 1, 8, 8), generator=draw)
    targets, numbers = [target.short(), target[:, :, ::2, ::2].short()], [target // 2, target[:, :, ::2, ::2] // 2]
    logits = [torch.randn(2, 3, size, size, generator=draw).requires_grad_() for size in (8, 4)]
    found = passes.supervised(logits, targets, loss)
    expected = torch.zeros(())
    for factor, z, y in zip((0.75, 0.25), logits, numbers, strict=True):
        others = z[:, [0, 2]]
        term = nn.functional.cross_entropy(others, y[:, 0])
        expected = expected + factor * (term - (_soft_dice(others, y, range(1, 2)) if loss == "dice_ce" else 0))
    torch.testing.assert_close(found, expected)
    of_others = passes.supervised(logits, targets, loss, of_clean=False)
    assert torch.equal(of_others, losses[loss](logits, targets)) and not torch.equal(of_others, found)
    for gradient in torch.autograd.grad(found, logits):
        assert not gradient[:, 1].any() and gradient[:, 0].any() and gradient[:, 2].any()
    with torch.no_grad():
        for z in logits:
            z[:, 1] = 1e4 * torch.randn(z[:, 1].shape, generator=draw)
    assert torch.equal(passes.supervised(logits, targets, loss), found)


def test_where_every_class_is_shown_the_loss_gets_the_very_outputs_and_labels():
    received: list = []
    passes = _passes(TanhNetwork(), losses={"ce": lambda *handed: received.extend(handed)})
    output, target = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
    passes.supervised([output], target, "ce")
    assert received[0] is output and received[1] is target
