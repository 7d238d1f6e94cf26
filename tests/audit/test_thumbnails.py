"""The report's pictures of a case: what they hold, and that they keep to their size."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from audit_support import two_squares
from PIL import Image

from nnunetv2_mlbseg.audit.thumbnails import thumbnails


def test_pictures_hold_image_labels_and_suspicion_of_the_slices_that_matter():
    audited, image = two_squares("a", 3)
    found = thumbnails(audited, image, 0, 10**6)
    assert found.slices == (1, 2, 3, 4)
    assert (found.width, found.height) == (40, 45)  # 40 x 1.0 mm and 30 x 1.5 mm in pixels of 1 mm
    layers = np.asarray(Image.open(io.BytesIO(found.layers)))
    assert layers.shape == (4 * 45, 40, 3)
    assert Image.open(io.BytesIO(found.image)).size == (40, 180)
    rows = np.arange(45) * 30 // 45
    np.testing.assert_array_equal(layers[45:90, :, 0] & 15, audited.label.classes[2].numpy()[rows])
    np.testing.assert_array_equal(layers[45:90, :, 0] >> 4, audited.likely[2].numpy()[rows])
    np.testing.assert_array_equal(layers[45:90, :, 1] & 15, audited.network[2].numpy()[rows])
    np.testing.assert_array_equal(layers[45:90, :, 1] >> 4, audited.proposal[2].numpy()[rows])
    np.testing.assert_allclose((layers[45:90, :, 2] & 15) / 15, audited.suspicion[2].numpy()[rows], atol=0.034)
    share = audited.weights.share[2].numpy()[rows]
    np.testing.assert_allclose(((layers[45:90, :, 2] >> 4) - 1.0) / 14, share, atol=0.036)
    assert {0.1, 0.5, 0.9} == set(np.round(share.astype(float), 3).flat)
    without = dataclasses.replace(audited, weights=None)
    blue = np.asarray(Image.open(io.BytesIO(thumbnails(without, image, 0, 10**6).layers)))[..., 2]
    np.testing.assert_array_equal(blue, layers[..., 2] & 15)


def test_pictures_keep_to_their_size_and_to_the_worst_slices():
    audited, image = two_squares("a", 3)
    assert thumbnails(audited, image, 0, 1).slices == (2,)
    turned = two_squares("b", 3, shape=(6, 40, 40))[0]
    assert len(thumbnails(turned, np.zeros((6, 40, 40)), 2, 10**6).slices) > 10
