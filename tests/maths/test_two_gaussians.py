"""The mixture of two Gaussians: by hand, against scikit-learn, and where it tells nothing apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from maths_support import NoHostReads
from sklearn.mixture import GaussianMixture

from nnunetv2_mlbseg.maths.two_gaussians import chance_of_the_lower


def test_two_heaps_are_told_apart() -> None:
    values = torch.tensor([0.1] * 10 + [0.9] * 10)
    with NoHostReads():
        found = chance_of_the_lower(values, torch.ones(20, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor([1.0] * 10 + [0.0] * 10, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_posteriors_equal_scikit_learns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = np.concatenate([generator.normal(0.2, 0.08, 40), generator.normal(0.9, 0.2, 25)])
    scaled = ((values - values.min()) / (values.max() - values.min())).reshape(-1, 1)
    fitted = GaussianMixture(2, max_iter=500, tol=1e-10, reg_covar=5e-4, random_state=0).fit(scaled)
    expected = fitted.predict_proba(scaled)[:, fitted.means_.argmin()]
    found = chance_of_the_lower(torch.from_numpy(values), torch.ones(65, dtype=torch.bool)).numpy()
    assert np.abs(found - expected).mean() < 0.01  # ten iterations are not quite the end
    assert ((found > 0.5) == (expected > 0.5)).mean() > 0.96


def test_values_that_are_not_known_do_not_count() -> None:
    values = torch.tensor([0.1, 0.12, 0.9, 0.88, 55.0, torch.nan])
    known = torch.tensor([True] * 4 + [False] * 2)
    found = chance_of_the_lower(values, known)
    torch.testing.assert_close(found[:4], chance_of_the_lower(values[:4], known[:4]))
    assert found[4:].tolist() == [0.5, 0.5] and (found[:2] > 0.99).all() and (found[2:4] < 0.01).all()


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_where_there_is_nothing_to_tell_apart_all_are_a_half(values: list[float]) -> None:
    found = chance_of_the_lower(torch.tensor(values), torch.ones(len(values), dtype=torch.bool))
    assert found.tolist() == [0.5] * len(values)


def test_components_that_lie_closer_than_they_are_wide_are_a_half() -> None:
    """Most values in the middle and as many far below as above: a narrow and a wide component of one mean."""
    values = torch.tensor([0.0, 0.02, 0.98, 1.0, *[0.49, 0.495, 0.5, 0.505, 0.51] * 4])
    assert chance_of_the_lower(values, torch.ones(24, dtype=torch.bool)).tolist() == [0.5] * 24
