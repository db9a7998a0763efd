# SPDX-License-Identifier: GPL-3.0-or-later
"""Light of every working space that Blender has is sent as Rec.709, and comes back as it was; configurations with other names."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from blender_addon import images, neural_passes, passes, spaces
from blender_addon.colour import TO_REC709, from_rec709, srgb_to_linear, to_rec709
from blender_addon.rewriting import Canvas, rewritten
from blender_addon.storage import as_stored
from tests.blender.conftest import looking_down, plane, principled

RED = (0.9, 0.1, 0.05)
WORKING = ["Linear Rec.709", *(TO_REC709 if hasattr(bpy.data, "colorspace") else ())]
"""Before Blender 5.0 there is one."""


@pytest.fixture(params=WORKING)
def working(scene, request) -> str:
    """The file's working space."""
    if request.param != spaces.working():
        bpy.ops.wm.set_working_color_space(working_space=request.param, convert_colors=False)
    assert spaces.working() == request.param
    return request.param


def flat(colour=RED) -> np.ndarray:
    return np.full((4, 6, 3), colour, np.float32)


@pytest.mark.parametrize("channel", ["image", "albedo"])
def test_colours_are_read_as_they_were_made(working, channel):
    assert np.allclose(images.read(images.create("made", flat(), channel)), RED, atol=0.004)


def test_a_copy_keeps_what_it_does_not_change(working):
    image = images.create("made", flat(), "image")
    before, wanted = np.array(image.pixels), images.read(image).copy()
    wanted[0, 0] = (0.2, 0.6, 0.4)
    made = rewritten(image, "copy", wanted, "image")
    after = np.array(made.pixels).reshape(4, 6, -1)[::-1]
    same = np.ones((4, 6), bool)
    same[0, 0] = False
    assert np.array_equal(after[same][:, :3], before.reshape(4, 6, -1)[::-1][same][:, :3])
    assert np.allclose(images.read(made)[0, 0], (0.2, 0.6, 0.4), atol=1e-4)


def test_a_copy_to_paint_on_shows_the_same_colours(working):
    made = Canvas("canvas", images.create("made", flat(), "image")).image()
    assert np.allclose(srgb_to_linear(np.array(made.pixels).reshape(4, 6, 4)[..., :3]), RED, atol=0.005)


def textured(colour) -> bpy.types.Material:
    material = principled("m", Roughness=0.5)
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = images.create("texture", flat(colour), "albedo")
    tree.links.new(node.outputs["Color"], next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED").inputs["Base Color"])
    return material


def test_passes_have_the_light_of_the_wire(working, scene):
    plane(textured(RED))
    looking_down(scene)
    albedo = passes.render_channels(scene, samples=1)["albedo"].data
    assert np.allclose(albedo[12, 16], as_stored(flat(), "albedo")[0, 0], atol=0.002)


def test_neural_passes_are_in_the_working_space_again(working):
    answer = flat()
    shading = next(each for each in neural_passes.NEURAL if each.channel == "diffuseshading")
    made = neural_passes.stored(shading, answer, np.ones((4, 6, 4)), None)
    assert np.allclose(to_rec709(made, working), RED, atol=1e-5)
    assert np.allclose(made, RED) == (working == "Linear Rec.709")


@pytest.mark.parametrize("space", TO_REC709)
def test_white_stays_white_and_there_and_back_is_nothing(space, random):
    assert np.allclose(to_rec709(np.ones((1, 3), np.float32), space), 1.0, atol=2e-3)
    light = random.random((5, 7, 3)).astype(np.float32)
    assert np.allclose(from_rec709(to_rec709(light, space), space), light, atol=1e-5)
    assert np.array_equal(to_rec709(light[..., :1], space), light[..., :1])


class Settings:
    """Of an image in a configuration that knows only these names."""

    def __init__(self, *names: str) -> None:
        self.__dict__.update(names=names, name="from the file", is_data=False)

    def __setattr__(self, what: str, value) -> None:
        if what == "name" and value not in self.names:
            raise TypeError(f"enum {value!r} not found in {self.names}")
        self.__dict__[what] = value


@pytest.mark.parametrize(
    ("names", "space", "expected"),
    [
        (("sRGB - Texture", "Raw"), "sRGB", "sRGB - Texture"),
        (("Linear Rec.709 (sRGB)",), "Linear Rec.709", "Linear Rec.709 (sRGB)"),
        (("Raw",), "Non-Color", "Raw"),
        (("something",), "sRGB", "from the file"),
    ],
)
def test_other_configurations_call_spaces_otherwise(names, space, expected):
    settings = Settings(*names)
    spaces.tag(SimpleNamespace(colorspace_settings=settings), space)
    assert settings.name == expected and not settings.is_data


def test_data_are_data_whatever_that_is_called():
    settings = Settings("something")
    spaces.tag(SimpleNamespace(colorspace_settings=settings), "Non-Color")
    assert settings.is_data
