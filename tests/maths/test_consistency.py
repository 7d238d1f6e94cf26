"""Agreement among the views (Eq. 11) and with the teacher (Eq. 13)."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.consistency import teacher_consistency, view_consistency


def everywhere(aligned: Tensor) -> Tensor:
    return torch.ones(aligned.shape[:2] + aligned.shape[3:], dtype=torch.bool)


def literal(aligned: Tensor, covered: Tensor) -> Tensor:
    """Pair by pair, over the pixels that both views cover."""
    total = torch.zeros((), dtype=aligned.dtype)
    count = 0
    for q, v in combinations(range(len(aligned)), 2):
        both = covered[q] & covered[v]
        distance = ((aligned[q] - aligned[v]) ** 2).sum(dim=1)
        total = total + distance[both].sum()
        count += int(both.sum())
    return total / max(count, 1)


def test_equation_11_to_the_letter_with_full_coverage() -> None:
    """2 / ((Q+1) Q) * 1 / (H W) * the sum over pairs and pixels, averaged over the images."""
    q, images, height, width = 4, 3, 5, 7
    p = torch.rand(q + 1, images, 2, height, width, dtype=torch.float64)
    loss = torch.zeros(images, dtype=torch.float64)
    for a, b in combinations(range(q + 1), 2):
        loss += (p[a] - p[b]).norm(dim=1).square().sum(dim=(1, 2))
    expected = (2 / ((q + 1) * q) / (height * width) * loss).mean()
    torch.testing.assert_close(view_consistency(p, everywhere(p)), expected)


@pytest.mark.parametrize("shape", [(2, 2, 2, 6, 5), (5, 3, 4, 6, 5), (4, 1, 3, 3, 4, 5)])
def test_partial_coverage_equals_the_pairwise_loop(shape: tuple[int, ...]) -> None:
    aligned = torch.rand(shape, dtype=torch.float64)
    covered = torch.rand(aligned[:, :, 0].shape) < 0.6
    torch.testing.assert_close(view_consistency(aligned, covered), literal(aligned, covered))


def test_two_views_by_hand() -> None:
    """Certain and opposite: squared distance 2; (1, 0) against (1/2, 1/2): 1/2; the third pixel is not in view 1."""
    foreground = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.5, 0.0]])
    aligned = torch.stack([foreground, 1 - foreground], dim=1)[:, None, :, None, :]
    covered = torch.tensor([[True, True, True], [True, True, False]])[:, None, None, :]
    assert view_consistency(aligned, covered).item() == pytest.approx((2 + 0.5) / 2)


def test_nothing_to_compare_is_zero() -> None:
    one = torch.rand(1, 2, 3, 4, 4, requires_grad=True)
    assert view_consistency(one, everywhere(one)).item() == 0
    apart = torch.rand(2, 1, 2, 1, 2)
    assert view_consistency(apart, torch.eye(2, dtype=torch.bool).reshape(2, 1, 1, 2)).item() == 0


def test_near_agreement_does_not_cancel_in_float32() -> None:
    base = torch.rand(1, 2, 3, 16, 16).softmax(dim=2).expand(5, -1, -1, -1, -1)
    assert view_consistency(base, everywhere(base)).item() < 1e-13
    near = base + 1e-5 * torch.randn(base.shape)
    expected = literal(near.double(), everywhere(near))
    assert view_consistency(near, everywhere(near)).item() == pytest.approx(expected.item(), rel=1e-4)


def test_gradient_flows_into_every_view_but_not_outside_its_coverage() -> None:
    aligned = torch.rand(3, 2, 2, 4, 4, requires_grad=True)
    covered = everywhere(aligned)
    covered[1, :, :2] = False
    view_consistency(aligned, covered).backward()
    assert aligned.grad is not None
    assert torch.equal(aligned.grad.abs().sum(dim=2) > 0, covered)


def test_what_a_view_does_not_cover_cannot_disturb() -> None:
    aligned = torch.rand(3, 1, 2, 2, 2)
    covered = everywhere(aligned)
    covered[2] = False
    expected = view_consistency(aligned, covered)
    aligned[2] = float("nan")
    aligned.requires_grad_()
    loss = view_consistency(aligned, covered)
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert aligned.grad is not None and torch.isfinite(aligned.grad).all()


def test_teacher_consistency_by_hand() -> None:
    """Squared distances 2 (opposite), 0 (equal), 1/2 and 0: mean 5/8."""
    student = torch.tensor([[1.0, 0.3], [0.5, 1.0]])
    teacher = torch.tensor([[0.0, 0.3], [1.0, 1.0]])
    student, teacher = (torch.stack([p, 1 - p])[None] for p in (student, teacher))
    assert teacher_consistency(student, teacher).item() == pytest.approx(2.5 / 4)


def test_gradient_reaches_the_student_and_not_the_teacher() -> None:
    student, teacher = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    teacher_consistency(student, teacher).backward()
    assert student.grad is not None and (student.grad != 0).all()
    assert teacher.grad is None
    torch.testing.assert_close(student.grad, 2 * (student - teacher).detach() / 32)


def test_gradcheck() -> None:
    aligned = torch.rand(4, 2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    covered = torch.rand(4, 2, 3, 3) < 0.7
    assert torch.autograd.gradcheck(lambda p: view_consistency(p, covered), aligned)
    student = torch.rand(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.rand(2, 3, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: teacher_consistency(p, teacher), student)


def test_half_precision_is_computed_in_float32() -> None:
    aligned = torch.rand(3, 2, 2, 64, 64).half()
    covered = everywhere(aligned)
    assert torch.equal(view_consistency(aligned, covered), view_consistency(aligned.float(), covered))
    both = teacher_consistency(aligned[0], aligned[1]), teacher_consistency(aligned[0].float(), aligned[1].float())
    assert both[0].dtype == torch.float32 and torch.equal(*both)


def test_no_value_is_read_on_the_host() -> None:
    aligned = torch.rand(3, 2, 2, 4, 4)
    with NoHostReads() as watched:
        view_consistency(aligned, everywhere(aligned))
        teacher_consistency(aligned[0], aligned[1])
    assert watched.operations
