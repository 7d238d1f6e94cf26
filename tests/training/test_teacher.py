"""The mean teacher of a training, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_mlbseg.training.teacher import Teacher


def test_the_teacher_follows_by_the_number_of_its_updates():
    """min(1 - 1 / (step + 1), decay): 0, 1/2, then 0.6."""
    student = nn.Linear(1, 1, bias=False)
    teacher = Teacher(student, decay=0.6)
    expected = student.weight.item()
    for step, share in enumerate((0.0, 0.5, 0.6, 0.6)):
        with torch.no_grad():
            student.weight.fill_(10.0 * (step + 1))
        expected = share * expected + (1 - share) * 10 * (step + 1)
        teacher.follow_(student)
        assert teacher.network.weight.item() == pytest.approx(expected) and teacher.step == step + 1
    assert not teacher.network.weight.requires_grad and not teacher.network.training


def test_a_teacher_that_goes_on_counts_on():
    """Counted anew, the first update would make it the student."""
    student, teacher = nn.Linear(1, 1, bias=False), None
    teacher = Teacher(student, decay=0.75)
    with torch.no_grad():
        teacher.network.weight.fill_(4.0), student.weight.fill_(0.0)
    teacher.step = 1000
    teacher.follow_(student)
    assert teacher.network.weight.item() == 3 and teacher.step == 1001
