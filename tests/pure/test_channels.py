# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the colour contract: every channel's encoding has an inverse, and the equations between channels hold.

A wrong power, a swapped axis or a lost alpha here shows as wrong colours in every material that is made.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blender_addon.wire import ChannelImage
from engine_server import channels, colour
from engine_server.errors import TaskError

UNIT_FLOATS = st.floats(0.0, 1.0, width=32, allow_subnormal=False)
MODEL_ARRAYS = arrays(np.float32, (3, 4, 3), elements=UNIT_FLOATS)
VALUES = arrays(np.float32, (5,), elements=UNIT_FLOATS)


def _random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.mark.parametrize(
    "word", [w for w in channels.CHANNELS.values() if w.encoding not in (channels.NORMALS, channels.DEPTH)]
)
@settings(max_examples=30, deadline=None)
@given(values=MODEL_ARRAYS)
def test_model_to_wire_to_model_gives_the_same_values(word, values):
    values = values if word.components == 3 else values[..., :1].repeat(3, axis=-1)
    wire = channels.to_wire(word.name, values)
    assert wire.data.shape == (3, 4, word.components) and wire.data.dtype == np.float32
    assert wire.space == word.spaces[0]
    np.testing.assert_allclose(channels.to_model(word.name, wire), values, atol=1e-6)


def test_normals_survive_both_ways_and_come_back_at_unit_length():
    vectors = channels.normalise(_random(6, 5, 3) * 2.0 - 1.0)
    for space in ("tangent-normal", "camera-normal"):
        model = channels.to_model("normals", ChannelImage(vectors, space))
        back = channels.to_wire("normals", model, space)
        assert back.space == space
        np.testing.assert_allclose(back.data, vectors, atol=1e-6)
    longer = channels.to_wire("normals", np.full((2, 2, 3), 0.9, np.float32))
    np.testing.assert_allclose(np.linalg.norm(longer.data, axis=-1), 1.0, atol=1e-6)


def test_a_normal_without_direction_is_flat():
    wire = channels.to_wire("normals", np.full((2, 2, 3), 0.5, np.float32))
    np.testing.assert_array_equal(wire.data, np.broadcast_to([0.0, 0.0, 1.0], (2, 2, 3)))


def test_display_encoding_is_a_plain_power():
    model = channels.to_model("albedo", ChannelImage(np.full((1, 1, 3), 0.5, np.float32), "scene-linear"))
    np.testing.assert_allclose(model, 0.5 ** (1 / 2.2), rtol=1e-6)


@pytest.mark.parametrize("components", [1, 2, 3, 4])
def test_components_are_repeated_and_alpha_is_dropped(components):
    data = _random(3, 4, components)
    model = channels.to_model("image", ChannelImage(data, "scene-linear"))
    expected = data[..., :3] if components >= 3 else data[..., :1].repeat(3, axis=-1)
    np.testing.assert_allclose(model, expected ** (1 / 2.2), rtol=1e-5)


def test_nan_and_infinity_become_zero_and_range_is_kept():
    data = np.array([[[np.nan], [np.inf], [-np.inf], [7.0], [-7.0]]], np.float32)
    for name, space in (("image", "scene-linear"), ("roughness", "data")):
        model = channels.to_model(name, ChannelImage(data, space))
        np.testing.assert_array_equal(model[0, :, 0], [0.0, 0.0, 0.0, 1.0, 0.0])


def test_half_floats_of_the_wire_are_taken():
    assert (
        channels.to_model("roughness", ChannelImage(np.full((2, 2, 1), 0.25, np.float16), "data")).dtype == np.float32
    )


@pytest.mark.parametrize(
    "name, image, words",
    [
        ("gloss", ChannelImage(np.zeros((1, 1, 1), np.float32), "data"), "no channel 'gloss'.*roughness"),
        (
            "albedo",
            ChannelImage(np.zeros((1, 1, 3), np.float32), "data"),
            "albedo is tagged 'data'; expected 'scene-linear'",
        ),
        ("normals", ChannelImage(np.zeros((1, 1, 1), np.float32), "tangent-normal"), "three components, not 1"),
    ],
)
def test_a_wrong_channel_gets_a_sentence(name, image, words):
    with pytest.raises(TaskError, match=words):
        channels.to_model(name, image)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 5), (0, 4, 3), (1, 2, 3, 4)])
def test_a_shape_that_is_no_image_gets_a_sentence(shape):
    with pytest.raises(TaskError, match="height x width x 1 to 4"):
        channels.model_array(np.zeros(shape, np.float32))


def test_model_array_takes_what_people_have():
    grey8 = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(channels.model_array(grey8)[0, 1], [1.0, 1.0, 1.0])
    np.testing.assert_allclose(channels.model_array(np.full((1, 1, 3), 32768, np.uint16)), 32768 / 65535)
    np.testing.assert_array_equal(channels.model_array(np.array([[np.nan, 2.0]])), [[[0.0] * 3, [1.0] * 3]])


@given(values=arrays(np.float32, (4, 4, 3), elements=st.floats(0.0, 100.0, width=32, allow_subnormal=False)))
@settings(max_examples=50, deadline=None)
def test_shading_and_inverse_shading_are_inverses(values):
    np.testing.assert_allclose(
        colour.shading_from_inverse(colour.inverse_from_shading(values)), values, rtol=1e-3, atol=1e-4
    )


def test_inverse_shading_gives_the_image_back():
    albedo, shading = _random(5, 5, 3) + 0.01, _random(5, 5, 3, seed=1) * 8.0
    inverse = colour.inverse_shading(albedo * shading, albedo)
    np.testing.assert_allclose(albedo * colour.shading_from_inverse(inverse), albedo * shading, rtol=1e-4, atol=1e-5)
    assert colour.inverse_shading(np.zeros((1, 1, 3)), np.zeros((1, 1, 3))).sum() == 0.0
    assert np.isfinite(colour.shading_from_inverse(np.ones(3))).all()


def test_recomposition_is_exact():
    image, diffuse, shading = (_random(4, 4, 3, seed=seed).astype(np.float64) for seed in range(3))
    np.testing.assert_allclose(
        colour.recompose(diffuse, shading, colour.residual(image, diffuse, shading)), image, rtol=1e-12
    )


@given(
    base=arrays(np.float64, (4, 4, 3), elements=st.floats(0.041, 1.0)),
    metalness=arrays(np.float64, (4, 4, 1), elements=st.floats(0.0, 1.0)),
)
@settings(max_examples=100, deadline=None)
def test_metalness_workflow_there_and_back(base, metalness):
    diffuse, specular = colour.specular_from_metalness(base, metalness)
    base_again, metalness_again = colour.metalness_from_specular(diffuse, specular)
    np.testing.assert_allclose(metalness_again, metalness, atol=1e-4)
    np.testing.assert_allclose(base_again, base, atol=1e-4)


@given(diffuse=MODEL_ARRAYS, share=MODEL_ARRAYS)
@settings(max_examples=100, deadline=None)
def test_specular_workflow_there_and_back(diffuse, share):
    """Energy is conserved by construction; grey, since one metalness cannot hold three independent splits."""
    diffuse = diffuse[..., :1].repeat(3, axis=-1)
    specular = 0.04 + share[..., :1].repeat(3, axis=-1) * np.maximum(0.96 - diffuse, 0.0)
    again = colour.specular_from_metalness(*colour.metalness_from_specular(diffuse, specular))
    np.testing.assert_allclose(again[0], diffuse, atol=2e-3)
    np.testing.assert_allclose(again[1], specular, atol=2e-3)


def test_albedo_is_diffuse_plus_specular():
    base, metalness = _random(4, 4, 3), _random(4, 4, 1, seed=1)
    albedo = colour.albedo_from_base_colour(base, metalness)
    np.testing.assert_allclose(sum(colour.specular_from_metalness(base, metalness)), albedo, atol=1e-6)
    np.testing.assert_allclose(colour.base_colour_from_albedo(albedo, metalness), base, atol=1e-6)


def test_gltf_materials_there_and_back():
    base, metalness = _random(4, 4, 3) * 0.9 + 0.05, _random(4, 4, 1, seed=1)
    diffuse = base * (1 - 0.04) * (1 - metalness)
    specular = base * metalness + 0.04 * (1 - metalness)
    found = colour.gltf_metalness_from_specular(diffuse, specular)
    np.testing.assert_allclose(found[0], base, atol=1e-4)
    np.testing.assert_allclose(found[1], metalness, atol=1e-4)


def test_a_material_darker_than_glass_is_a_dielectric():
    _, metalness = colour.metalness_from_specular(np.zeros((1, 1, 3)), np.full((1, 1, 3), 0.02))
    assert metalness == 0.0


def test_halfway_against_the_equation_pixel_by_pixel():
    height, width, fov = 4, 6, 50.0
    found = colour.halfway(height, width, fov)
    stand = np.array([0.0, 0.0, 1.0 / np.tan(np.radians(fov) / 2)])
    for i in range(height):
        for j in range(width):
            to_stand = stand - [(2 * (j + 0.5) - width) / height, 1 - 2 * (i + 0.5) / height, 0.0]
            np.testing.assert_allclose(found[i, j], 2 * to_stand / np.linalg.norm(to_stand), rtol=1e-6)


def test_halfway_with_separate_light_and_camera():
    found = colour.halfway(1, 1, 50.0, camera=(0.0, 0.0, 1.0), light=(3.0, 0.0, 0.0))
    np.testing.assert_allclose(found[0, 0], [1.0, 0.0, 1.0], atol=1e-6)
    wire = ChannelImage(found, "data")
    np.testing.assert_array_equal(channels.to_model("halfway", wire), found)
    np.testing.assert_array_equal(channels.to_wire("halfway", found).data, found)


def test_depth_ignores_outliers_and_the_background():
    depth = np.linspace(2.0, 12.0, 1000, dtype=np.float32).reshape(20, 50, 1)
    depth[0, 0], depth[0, 1], depth[0, 2], depth[0, 3] = 1e10, np.inf, np.nan, 900.0
    model = channels.to_model("depth", ChannelImage(depth, "data"))
    np.testing.assert_array_equal(model[0, :4, 0], 1.0)
    assert 0.0 <= model.min() and model.max() <= 1.0
    near, far = colour.depth_range(depth)
    assert 2.0 < near < 2.3 and 11.7 < far < 12.0
    inside = (depth > near) & (depth < far)
    np.testing.assert_allclose(colour.depth_decode(model[..., :1], near, far)[inside], depth[inside], rtol=1e-5)


@pytest.mark.parametrize("value, expected", [(3.0, 0.0), (1e10, 1.0)])
def test_depth_of_a_wall_or_of_nothing(value, expected):
    model = channels.to_model("depth", ChannelImage(np.full((4, 4, 1), value, np.float32), "data"))
    np.testing.assert_array_equal(model, expected)


def test_exposure_leaves_photographs_alone_and_tames_hdr():
    photo = _random(40, 40, 3)
    assert colour.exposure_factor(photo) == 1.0
    bright = photo * 20.0
    assert np.percentile(colour.luminance(bright * colour.exposure_factor(bright)), 95) == pytest.approx(0.8, rel=1e-4)
    firefly = photo.copy()
    firefly[0, 0] = 1e4
    assert colour.exposure_factor(firefly) == 1.0
    lamp_at_night = np.zeros((40, 40, 3), np.float32)
    lamp_at_night[:5, :2] = 50.0
    assert colour.exposure_factor(lamp_at_night) <= 16.0


def test_a_highlight_that_grows_changes_the_exposure_little_by_little():
    render = 0.2 * _random(100, 100, 3)
    factors = []
    for count in range(0, 140, 2):
        render.reshape(-1, 3)[:count] = 1.5
        factors.append(colour.exposure_factor(render))
    steps = np.log2(factors[1:]) - np.log2(factors[:-1])
    assert factors[5] == 1.0 and factors[-1] == pytest.approx(0.8 / np.percentile(colour.luminance(render), 95), rel=1e-4)
    assert (steps > -0.05).all() and steps.max() < 0.2 and factors[-1] > 3.0


def test_a_dark_render_becomes_as_bright_as_it_has_to_be():
    dark = np.full((8, 8, 3), 0.05, np.float32)
    assert colour.exposure_factor(dark) == 1.0
    assert colour.exposure_factor(dark, least=0.25) == pytest.approx(5.0, rel=1e-5)
    assert colour.exposure_factor(dark * 6, least=0.25) == 1.0
    assert colour.exposure_factor(dark * 0, least=0.25) == 16.0


def test_every_channel_of_the_known_teams_is_in_the_vocabulary():
    given_or_wanted = "image halfway albedo diffuse specular roughness metalness normals depth height mask"
    light = "diffuseshading inverseshading shading residual"
    assert set(f"{given_or_wanted} {light}".split()) == set(channels.CHANNELS)
