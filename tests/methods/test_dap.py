"""The deep atlas prior: its atlas, which own labels it learns, and what its critic is shown."""

from __future__ import annotations

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import take_step

from nnunetv2_mlbseg.networks import discriminator
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(1000, 1000, 1000)


@pytest.fixture(autouse=True)
def _small_critics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discriminator, "FEATURES", (4, 6, 8, 10))


def test_the_atlas_is_the_mean_of_all_labels_so_far() -> None:
    method = COMPARED["DAP"].begin().method
    first, second = torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 1, 0]], [[1, 1, -1]]])
    for labels in (first, second):
        found = method.atlas(torch.nn.functional.one_hot(labels.clamp_min(0), 2).movedim(-1, 1).float(), labels)
    assert found.shape == (2, 2, 1, 3)
    torch.testing.assert_close(found[0, 1, 0], torch.tensor([1 / 3, 1.0, 1 / 2]))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 1, 3))


@pytest.mark.parametrize(("believed", "learns"), [(0.0, True), (1.0, False)])
def test_own_labels_are_learned_where_the_critic_believes_them(believed: float, learns: bool) -> None:
    found = take_step(COMPARED["DAP"].begin(believed=believed), pair(), MOMENT)
    assert (float(found["self"]) > 0) == learns


def test_the_critic_judges_every_pixel_and_is_shown_labels_and_predictions_of_clean_images() -> None:
    learning, batch = COMPARED["DAP"].begin(), pair()
    batch["target"][0][:, :, :2] = 2  # ignored: the critic sees the prediction there, and cannot tell
    shown = []
    learn = learning.method.opponent.learn_
    learning.method.opponent.learn_ = lambda: shown.extend(learning.method.opponent._shown) or learn()
    predicted = learning.student(batch["data"])[0].softmax(dim=1).detach()
    take_step(learning, batch, MOMENT)
    true, fake = shown
    torch.testing.assert_close(fake.maps, predicted)
    torch.testing.assert_close(true.maps[:, :, :2], predicted[:, :, :2])
    assert torch.equal(true.maps[:, 1, 2:], (batch["target"][0][:, 0, 2:] == 1).float())
    judged = learning.heads["critic"](fake.maps, fake.images, None)
    assert judged.shape == (2, 2, 16, 16)
