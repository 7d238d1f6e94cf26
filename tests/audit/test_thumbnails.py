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
    expected = audited.suspicion.double().sum(dim=(1, 2)).numpy() * 6  # voxels of 1 x 1.5 x 4 mm
    np.testing.assert_allclose(found.errors_mm3, expected)
    assert found.sides == (("F", "H"), ("A", "P"), ("R", "L"))
    assert not found.volume and not found.asked_volume
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


def test_of_a_3d_network_slices_follow_each_other():
    audited, image = two_squares("a", 3, shape=(20, 30, 40))  # labels on slices 1 to 4
    found = thumbnails(audited, image, 0, 10**6, volume=True)
    assert found.volume and found.slices == tuple(range(7)) and (found.slice_mm, found.pixel_mm) == (4.0, 1.0)
    assert Image.open(io.BytesIO(found.layers)).size == (40, 7 * 45) and len(found.errors_mm3) == 20
    along_rows = thumbnails(audited, image, 1, 10**6, volume=True)
    assert along_rows.slices == tuple(range(3, 22)) and along_rows.slice_mm == 1.5
    assert along_rows.sides == (("A", "P"), ("F", "H"), ("R", "L"))


def test_many_thin_slices_are_thinned_out_and_the_worst_one_stays():
    audited, image = two_squares("a", 3, shape=(6, 30, 400))  # 400 mm wide: pixels of 2.1 mm
    found = thumbnails(audited, image, 1, 10**6, volume=True)
    assert (found.width, found.slice_mm) == (192, 1.5)
    wide = thumbnails(audited, image, 2, 10**6, volume=True)  # slices 1 mm apart, pixels of 1.5 mm
    assert wide.slice_mm == 2.0 and set(np.diff(wide.slices)) == {2}
    assert int(np.argmax(wide.errors_mm3)) in wide.slices


def test_where_three_planes_need_too_much_room_the_worst_slices_are_shown():
    audited, image = two_squares("a", 3, shape=(20, 30, 40))
    found = thumbnails(audited, image, 0, 1, volume=True)
    assert found.slices == (2,) and found.asked_volume and not found.volume
