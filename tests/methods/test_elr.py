"""Early-learning regularisation in a step: beside what it does to a pixel (``tests/maths``), how scales are summed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from comparison_support import COMPARED, FACTORS, pair
from method_support import CPU, take_step

from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(500, 500, 1000)


def values_and_outputs(**changes):
    """The terms of a step, the student's logits of the imperfect images at both scales, the teacher's probabilities."""
    learning, batch = COMPARED["ELR"].begin(classes=3, **changes), Batch.of(pair(classes=3), CPU)
    with torch.no_grad():
        for parameter in learning.teacher.network.parameters():
            parameter.add_(0.2)
        outputs = learning.student(batch.imperfect.images)[:2]
        teacher = learning.teacher.network(batch.imperfect.images)[0].softmax(dim=1)
    return take_step(learning, pair(classes=3), MOMENT), outputs, teacher


def test_cross_entropy_of_noisy_labels_is_that_of_all_labels_at_face_value():
    values, outputs, _ = values_and_outputs(early_learning_weight=0)
    target = pair(classes=3)["imperfect_target"]
    parts = [
        factor * F.cross_entropy(output[:1], labels[:1, 0].long(), ignore_index=3)  # the second image has no label
        for factor, output, labels in zip(FACTORS, outputs, target, strict=True)
    ]
    torch.testing.assert_close(values["noisy"], sum(parts))
    assert float(values["early"]) == 0


def test_the_regulariser_looks_at_the_teacher_where_deep_supervision_looks_at_labels():
    """At the second scale, of half the size, nearest-exact takes every second pixel from the second on."""
    values, outputs, teacher = values_and_outputs(noisy_weight=0, early_learning_weight=3)
    parts = []
    for factor, output, seen in zip(FACTORS, outputs, (teacher, teacher[:, :, 1::2, 1::2]), strict=True):
        agreement = (output.softmax(dim=1).clamp(1e-4, 1 - 1e-4) * seen).sum(dim=1)
        parts.append(factor * (1 - agreement).log().mean())
    torch.testing.assert_close(values["early"], 3 * sum(parts))
    assert float(values["early"]) < 0
