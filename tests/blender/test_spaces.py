# SPDX-License-Identifier: GPL-3.0-or-later
"""Light of every working space that Blender has is sent as Rec.709, and comes back as it was; configurations with other names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from blender_addon import images, neural_passes, passes, spaces
from blender_addon.colour import TO_REC709, from_rec709, srgb_to_linear, to_rec709
from blender_addon.exr import encode_exr
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


@pytest.mark.parametrize("space", WORKING)
def test_numbers_in_a_file_of_floats_are_what_they_are_in_any_space(working, space, tmp_path):
    """Blender turns the light of one space into that of another one; data are the numbers that the file had before."""
    numbers = np.float32([[(0.5, 0.5, 1.0), (0.8, 0.4, 0.7)]])
    image = of_numbers(tmp_path / "normals.exr", numbers, space)
    meant = images.read_channel(image, "normals").data.copy()
    assert np.allclose(meant, numbers * 2.0 - 1.0, atol=2e-3)
    assert spaces.shows_numbers(image) == np.allclose(np.array(image.pixels)[:3], numbers[0, 0], atol=2e-3)
    meant[0, 1] = (0.0, 0.6, 0.8)
    numbers[0, 1] = (0.5, 0.8, 0.9)
    expected = np.array(of_numbers(tmp_path / "changed.exr", numbers, space).pixels)
    assert np.allclose(np.array(rewritten(image, "copy", meant, "normals").pixels), expected, atol=2e-3)


def of_numbers(path: Path, numbers: np.ndarray, space: str) -> bpy.types.Image:
    """An image whose file has these numbers, which are said to be light of a space."""
    path.write_bytes(encode_exr(numbers))
    image = images.load(path)
    image.colorspace_settings.name = space
    return image


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


ACES = "ocio://cg-config-v1.0.0_aces-v1.3_ocio-v2.1"
IN_ACES = """
from tests.blender.installed import as_the_tests_have_it
as_the_tests_have_it()
import bpy, numpy as np
from blender_addon import images, spaces
from blender_addon.rewriting import Canvas, rewritten

assert spaces.working() == "ACEScg"
for channel, values in (("normals", (0.0, 0.6, 0.8)), ("image", (0.9, 0.1, 0.05))):
    image = images.create(channel, np.full((4, 6, 3), values, np.float32), channel)
    before = np.array(image.pixels)
    meant = images.read_channel(image, channel).data.copy()
    assert np.allclose(meant, values, atol=1e-4), meant[0, 0]
    meant[0, 0] = (0.8, 0.0, 0.6)
    made = rewritten(image, "copy", meant, channel)
    assert made.colorspace_settings.is_data == image.colorspace_settings.is_data, made.colorspace_settings.name
    assert np.array_equal(np.array(made.pixels)[:-24], before[:-24])
    assert np.allclose(images.read_channel(made, channel).data, meant, atol=1e-4)
canvas = Canvas("canvas", image).image()
assert canvas.colorspace_settings.name == "sRGB - Texture", "else it shows other colours"
assert np.allclose(images.read(canvas), images.read(image), atol=0.005)
"""


def test_data_and_light_under_an_aces_configuration():
    variables = os.environ | {"OCIO": ACES, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", IN_ACES], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("ACEScg", "Linear Rec.709", "sRGB"), "Linear Rec.709"),
        (("ACES - ACES2065-1", "ACES - ACEScg", "Utility - Raw"), "ACES - ACEScg"),
        (("something",), "Linear Rec.709"),
    ],
)
def test_where_blender_does_not_tell_its_working_space_the_names_do(names, expected):
    assert spaces.usual(names) == expected
    assert np.allclose(to_rec709(np.float32([RED]), "ACES - ACEScg"), to_rec709(np.float32([RED]), "ACEScg"))
