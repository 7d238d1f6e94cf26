"""BCP and SDCL: which pixel has which label and weight, and what is left where students agree."""

from __future__ import annotations

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import CPU, ROLES, take_step

from nnunetv2_mlbseg.maths.mixing_boxes import box_masks
from nnunetv2_mlbseg.methods.pasting import Pasted, repeated, with_a_box_of_the_next
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(1000, 1000, 1000)
BOX = box_masks(torch.tensor([[1, 1]]), torch.tensor([[2, 2]]), (3, 3))


def test_each_pixel_has_the_label_of_the_image_it_is_from() -> None:
    x, u = torch.full((1, 1, 3, 3), 5.0), torch.full((1, 1, 3, 3), 7.0)
    y, q = torch.full((1, 3, 3), 1), torch.full((1, 3, 3), 2)
    y[0, 0, 0] = -1  # ignored
    mixed = Pasted.of(BOX, (x, y), (u, q))
    assert mixed.images[:, 0].tolist() == [[[5, 5, 5], [5, 7, 7], [5, 7, 7]], [[7, 7, 7], [7, 5, 5], [7, 5, 5]]]
    assert mixed.clean.tolist() == [[[-1, 1, 1], [1, -1, -1], [1, -1, -1]], [[-1, -1, -1], [-1, 1, 1], [-1, 1, 1]]]
    assert mixed.pseudo.tolist() == [[[-1, -1, -1], [-1, 2, 2], [-1, 2, 2]], [[2, 2, 2], [2, -1, -1], [2, -1, -1]]]
    assert int(((mixed.clean < 0) & (mixed.pseudo < 0)).sum()) == 1


def test_clean_images_get_boxes_of_the_next_one() -> None:
    images = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3)
    found, labels = with_a_box_of_the_next(BOX.expand(2, 3, 3), images, images[:, 0].long())
    assert found[:, 0, 2, 2].tolist() == [2, 1] and found[:, 0, 0, 0].tolist() == [1, 2]
    assert torch.equal(labels, found[:, 0].long())


def test_a_smaller_batch_is_used_again() -> None:
    assert repeated(torch.tensor([1, 2]), 5).tolist() == [1, 2, 1, 2, 1]
    assert repeated(torch.tensor([1, 2, 3]), 3).tolist() == [1, 2, 3]


def test_without_a_box_the_supervised_and_the_pseudo_supervised_loss_stand_apart() -> None:
    """Their sum is nnU-Net's loss of the clean batch and half of that of the other one with the teacher's labels."""
    learning, batch = COMPARED["BCP"].begin(box_share=0.0), Batch.of(pair(), CPU)
    method = learning.method
    clean = method.supervised(batch.clean).item()
    labels = learning.passes.teacher(batch.imperfect.images).argmax(dim=1)
    pseudo = method.labelled(learning.passes.student(batch.imperfect.images), labels).item()
    found = take_step(learning, pair(), MOMENT)
    assert float(found["supervised"]) == pytest.approx(clean, rel=1e-5)
    assert float(found["pseudo"]) == pytest.approx(0.5 * pseudo, rel=1e-5)


def test_the_dice_of_each_kind_sees_its_own_pixels_only() -> None:
    method = COMPARED["BCP"].begin().method
    mixed = method.pasted(*vars(Batch.of(pair(), CPU)).values())
    outputs = [output.detach().requires_grad_() for output in method.passes.student(mixed.images)]
    losses = method.of_pasted(outputs, mixed, 1.0)
    for name, labels in (("supervised", mixed.clean), ("pseudo", mixed.pseudo)):
        (gradient,) = torch.autograd.grad(losses[name], outputs[0], retain_graph=True)
        assert gradient.movedim(1, -1)[labels >= 0].any() and not gradient.movedim(1, -1)[labels < 0].any()


@pytest.mark.parametrize("name", ["BCP", "SDCL"])
def test_the_first_stage_pastes_clean_images_into_each_other(name: str) -> None:
    compared = COMPARED[name]
    first, second = compared.method.stages(compared.settings(), 6, ROLES)
    assert first.by_method and first.imperfect is None and second.imperfect is not None
    learning = compared.begin()
    alone = {key: value for key, value in pair().items() if "imperfect" not in key}
    found = take_step(learning, alone, MOMENT)
    assert {"supervised", "loss"} <= found.keys() and "pseudo" not in found
    generator = learning.passes.generators.on_device("boxes")
    assert not torch.equal(generator.get_state(), compared.begin().passes.generators.on_device("boxes").get_state())


def test_the_largest_component_of_the_teachers_labels_is_kept_where_asked() -> None:
    method = COMPARED["BCP"].begin(largest_component=True, box_share=0.0).method
    labels = torch.zeros(2, 16, 16)
    labels[:, 1:4, 1:4], labels[:, 8, 8] = 1, 1
    logits = torch.stack([1 - labels, labels], dim=1)
    method.passes.teacher_network.forward = lambda images: [logits, logits[..., ::2, ::2]]
    mixed = method.pasted(*vars(Batch.of(pair(), CPU)).values())
    kept = mixed.pseudo[2:]
    assert (kept[:, 1:4, 1:4] == 1).all() and int((kept == 1).sum()) == 18


def test_students_that_agree_learn_bcp_and_nothing_else() -> None:
    learning = COMPARED["SDCL"].begin()
    learning.heads["second"].load_state_dict(learning.student.state_dict())
    found, bcp = take_step(learning, pair(), MOMENT), take_step(COMPARED["BCP"].begin(), pair(), MOMENT)
    for name in ("supervised", "pseudo"):
        assert float(found[name]) == float(found[f"{name}_2"]) == pytest.approx(float(bcp[name]), rel=1e-5)
    for name in ("correction", "doubt", "correction_2", "doubt_2"):
        assert float(found[name]) == 0


def test_terms_of_differing_pixels_have_the_weight_of_their_kind() -> None:
    method = COMPARED["SDCL"].begin().method
    logits = torch.zeros(1, 2, 1, 2)  # 1/2 everywhere: a squared distance of 1/4 from any label
    kinds = torch.tensor([[[1, -1]]]), torch.tensor([[[-1, 1]]])
    mixed = Pasted(torch.zeros(1, 1, 1, 2), *kinds)
    found = method.of_differing(logits, mixed, torch.ones(1, 1, 2, dtype=torch.bool), 1.0)
    assert found["correction"].item() == pytest.approx(0.25 + 0.5 * 0.25)
    assert found["doubt"].item() == pytest.approx(0.1 * 1.5 * 0.6931472, rel=1e-5)
