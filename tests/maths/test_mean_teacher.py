"""The teacher: its making, its average, its disturbed input (Eq. 12), and that no gradient reaches it."""

from __future__ import annotations

import pytest
import torch
from maths_support import NoHostReads, small_network
from torch import nn

from nnunetv2_mlbseg.maths.consistency import teacher_consistency
from nnunetv2_mlbseg.maths.mean_teacher import disturb, ema_update_, make_teacher
from nnunetv2_mlbseg.maths.schedules import ema_decay_at


def shift_(network: nn.Module, amount: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(amount)


def test_the_teacher_is_an_independent_copy_without_gradient() -> None:
    student = small_network(norm="batch")
    teacher = make_teacher(student)
    for ours, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        assert torch.equal(ours, theirs) and ours.data_ptr() != theirs.data_ptr()
        assert not ours.requires_grad and theirs.requires_grad
    assert student.training and not any(module.training for module in teacher.modules())


def test_the_teacher_of_a_wrapped_network_is_a_plain_network() -> None:
    student = small_network()
    for wrapped in (torch.compile(student), nn.DataParallel(student)):
        teacher = make_teacher(wrapped)
        assert type(teacher) is type(student)
        shift_(student, 1.0)
        ema_update_(teacher, wrapped, 0.0)
        assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_step_0_copies_the_student() -> None:
    student = small_network()
    teacher = make_teacher(student)
    shift_(student, 0.3)
    ema_update_(teacher, student, ema_decay_at(0, 0.99))
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_the_average_follows_the_recursion() -> None:
    """Also counts parameters that appear under several names once: three steps, parameter by parameter."""
    student = small_network(dtype=torch.float64)
    teacher = make_teacher(student)
    storage = [p.data_ptr() for p in teacher.parameters()]
    expected = [p.detach().clone() for p in student.parameters()]
    for step, decay in enumerate((0.9, 0.5, 0.99)):
        shift_(student, 0.1 * (step + 1))
        ema_update_(teacher, student, decay)
        expected = [decay * e + (1 - decay) * p.detach() for e, p in zip(expected, student.parameters(), strict=True)]
    for ours, value in zip(teacher.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, value)
    assert [p.data_ptr() for p in teacher.parameters()] == storage


def test_warm_up_of_the_decay_gives_the_plain_mean() -> None:
    """Below the cap, step t weighs all t + 1 students equally: 1, 2, 3, 4 average to 2.5."""
    student, teacher = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    for step in range(4):
        nn.init.constant_(student.weight, step + 1.0)
        ema_update_(teacher, student, ema_decay_at(step, 0.99))
    assert teacher.weight.item() == pytest.approx(2.5)


def test_buffers_are_copied() -> None:
    student = small_network(norm="batch")
    teacher = make_teacher(student)
    student(torch.randn(2, 1, 16, 16))
    ema_update_(teacher, student, 0.99)
    counts = [buffer.item() for name, buffer in teacher.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts and all(count == 1 for count in counts)
    for ours, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        assert torch.equal(ours, theirs) and ours.data_ptr() != theirs.data_ptr()


def test_networks_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="teacher and student differ: 1 and 2 parameters"):
        ema_update_(nn.Linear(2, 2, bias=False), nn.Linear(2, 2), 0.9)
    with pytest.raises(ValueError, match="or other shapes"):
        ema_update_(nn.Linear(2, 3), nn.Linear(2, 2), 0.9)


def test_no_gradient_reaches_the_teacher() -> None:
    student = small_network()
    teacher = make_teacher(student)
    shift_(teacher, 0.05)
    images = torch.randn(2, 1, 16, 16)
    teacher_consistency(student(images).softmax(1), teacher(disturb(images, 0.1)).softmax(1)).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


def test_the_noise_is_that_of_equation_12() -> None:
    images = torch.randn(4, 2, 128, 128)
    noise = (disturb(images, 0.02, torch.Generator().manual_seed(1)) - images) / 0.02
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    same = torch.corrcoef(noise.flatten(1))
    assert (same - torch.eye(4)).abs().max() < 0.05, "every image gets noise of its own"


def test_the_generator_fixes_the_noise() -> None:
    images = torch.zeros(1, 1, 8, 8)
    first, again = (disturb(images, 1.0, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)
    torch.manual_seed(0)
    assert not torch.equal(disturb(images, 1.0), disturb(images, 1.0))
    assert torch.equal(disturb(images, 0.0), images)


def test_no_value_is_read_on_the_host() -> None:
    student = small_network(norm="batch")
    teacher = make_teacher(student)
    with NoHostReads() as watched:
        ema_update_(teacher, student, 0.99)
        disturb(torch.zeros(1, 1, 8, 8), 0.02)
    assert watched.operations
