# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in and out of Blender: values, colour spaces, packing, odd files."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from PIL import Image

from blender_addon import capture, images, masks
from blender_addon.colour import linear_to_srgb, srgb_to_linear
from blender_addon.exr import encode_exr
from blender_addon.png import encode_png
from blender_addon.rewriting import rewritten
from tests.blender.conftest import file_format, looking_down, plane, principled, snapshot

TOLERANCE = {"albedo": 0.005, "roughness": 0.0021, "normals": 2e-5, "height": 1e-5, "image": 0.0, "residual": 0.0, "depth": 0.0}

KINDS = ("ENUM", "FLOAT", "INT", "BOOLEAN", "STRING")
"""Of settings that are plain values."""


def values(channel: str, random) -> np.ndarray:
    """Wire values over a channel's range, of a size that is no square and no power of two."""
    components = 1 if channel in ("roughness", "height", "depth") else 3
    made = random.random((7, 11, components), dtype=np.float32)
    scale = {"image": 9.0, "depth": 50.0}.get(channel, 1.0)
    return made * 2 - 1 if channel in ("normals", "residual") else made * np.float32(scale)


@pytest.mark.parametrize("channel", TOLERANCE)
def test_values_survive_and_are_packed(scene, random, channel, tmp_path):
    sent = values(channel, random)
    images.create("kept", sent, channel).use_fake_user = True
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    kept = bpy.data.images["kept"]
    assert kept.packed_file and kept.colorspace_settings.name == images.STORAGE.get(channel, images.PLAIN).space
    read = images.read(kept)[..., : sent.shape[2]]
    read = read * 2 - 1 if channel == "normals" else read
    assert np.abs(read - sent).max() <= TOLERANCE[channel]


def test_rows_run_from_the_top(scene, tmp_path):
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[0] = 255
    Image.fromarray(picture).save(tmp_path / "top.png")
    assert images.read(images.load(tmp_path / "top.png"))[:, 0, 0].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16", "1"])
def test_pictures_of_every_kind_are_read(scene, mode, tmp_path):
    grey = np.full((5, 8), 128, np.uint8)
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / "kind.png")
    read = images.read(images.load(tmp_path / "kind.png"))
    assert read.shape == (5, 8, 3) and np.isfinite(read).all()
    assert mode == "1" or np.allclose(read, 0.2158, atol=2e-3)


def test_jpeg_of_one_pixel(scene, tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "one.jpg")
    assert images.read(images.load(tmp_path / "one.jpg")).shape == (1, 1, 3)


def test_nan_and_infinity_become_zero(scene):
    image = bpy.data.images.new("odd", 2, 1, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.float32([np.nan, 1, np.inf, 1, 2, -np.inf, 3, 1]))
    assert images.read(image).tolist() == [[[0, 1, 0], [2, 0, 3]]]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no file"), (b"", "empty"), (b"some text", "not an image"), (b"\x89PNG\r\n\x1a\n1234", "not an image")],
)
def test_what_is_no_image_is_one_sentence_and_leaves_nothing(scene, tmp_path, content, words):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(images.ImageError, match=words) as caught:
        images.load(path)
    assert "\n" not in str(caught.value) and not bpy.data.images


def test_an_image_without_pixels_is_one_sentence(scene):
    with pytest.raises(images.ImageError, match="no pixels"):
        image = bpy.data.images.new("gone", 1, 1)
        image.source, image.filepath = "FILE", "//nowhere.png"
        images.read(image)


def test_several_tiles_are_one_sentence_and_a_single_one_is_read(scene):
    image = bpy.data.images.new("wall", 4, 4, tiled=True)
    assert images.read(image).shape == (4, 4, 3)
    image.tiles.new(1002)
    with pytest.raises(images.ImageError, match="^wall has UDIM tiles: open the image file of one tile instead.$"):
        images.read(image)


def test_a_file_of_many_passes_is_one_sentence(scene, tmp_path):
    looking_down(scene)
    file_format(scene, "OPEN_EXR_MULTILAYER")
    scene.render.engine, scene.cycles.samples, scene.render.filepath = "CYCLES", 1, str(tmp_path / "passes.exr")
    bpy.ops.render.render(write_still=True)
    known = set(bpy.data.images)
    with pytest.raises(images.ImageError, match="^passes.exr is a multilayer EXR, .*: save one pass as a plain EXR or PNG"):
        images.load(tmp_path / "passes.exr")
    assert set(bpy.data.images) == known
    opened = bpy.data.images.load(str(tmp_path / "passes.exr"))
    with pytest.raises(images.ImageError, match="^passes.exr is a multilayer EXR"):
        images.read(opened)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("components", [1, 3, 4])
def test_the_png_writer_against_pillow(random, bits, components, tmp_path):
    sent = random.random((9, 13, components))
    (tmp_path / "x.png").write_bytes(encode_png(sent, bits))
    with Image.open(tmp_path / "x.png") as picture:
        picture.load()
        assert picture.size == (13, 9)
        if bits == 8 or components == 1:
            read = np.asarray(picture, np.float64).reshape(9, 13, components) / (2**bits - 1)
            assert np.abs(read - sent).max() <= 0.5001 / (2**bits - 1)


@pytest.mark.parametrize("mode", ["STRAIGHT", "PREMUL", "CHANNEL_PACKED", "NONE"])
@pytest.mark.parametrize("space", ["", "Non-Color"])
@pytest.mark.parametrize("kind", ["png", "exr"])
def test_a_copy_means_by_alpha_what_its_original_does(scene, tmp_path, kind, space, mode):
    values = np.float32([[(0.4, 0.2, 0.1, 0.5), (0.4, 0.2, 0.1, 1.0)]])
    (tmp_path / f"glass.{kind}").write_bytes(encode_png(values) if kind == "png" else encode_exr(values))
    image = images.load(tmp_path / f"glass.{kind}")
    image.alpha_mode = mode
    image.colorspace_settings.name = space or image.colorspace_settings.name
    known = images.read_later(image, images.premultiplied(image, erased=False)).data
    made = rewritten(image, "copy", known, "image")
    assert np.array_equal(np.array(made.pixels), np.array(image.pixels))
    assert (made.alpha_mode == "CHANNEL_PACKED") == (mode == "CHANNEL_PACKED"), "shaders would divide by it"


def test_a_map_is_saved_as_it_is_and_a_picture_as_it_is_seen(scene, tmp_path):
    images.save_png(images.create("map", np.full((3, 3, 1), 0.5, np.float32), "roughness"), tmp_path / "map.png")
    images.save_png(images.create("picture", np.full((3, 3, 3), 0.5, np.float32), "image"), tmp_path / "picture.png")
    assert np.asarray(Image.open(tmp_path / "map.png")).flat[0] == 128
    assert np.asarray(Image.open(tmp_path / "picture.png")).flat[0] == 188


def test_a_file_in_the_place_of_one_that_is_gone_takes_no_image_over(scene, tmp_path):
    def saved(value: float) -> bpy.types.Image:
        return images.to_file(images.create("wall", np.full((3, 3, 1), value, np.float32), "roughness"), str(tmp_path))

    first = saved(0.8)
    first.name = "Bricks"
    (tmp_path / "wall.png").unlink()
    second = saved(0.2)
    assert second != first and (first.name, second.name) == ("Bricks", "wall")
    assert second.pixels[0] == pytest.approx(0.2, abs=0.002)


def test_srgb_both_ways():
    light = np.linspace(-0.5, 4, 1000, dtype=np.float32)
    assert np.allclose(srgb_to_linear(linear_to_srgb(light)), light, atol=1e-5)
    assert srgb_to_linear(np.float32(0.04045)) == pytest.approx(0.0031308, abs=1e-6)


# ---- the last render -------------------------------------------------------------------------------------------------


def test_the_last_render_is_read_as_it_was_made_and_nothing_is_changed(scene):
    plane(principled("Paint", Base_Color=(0.8, 0.3, 0.1, 1.0)))
    looking_down(scene)
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
    scene.view_settings.exposure, scene.view_settings.view_transform = 2.0, "Standard"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "JPEG", "BW"
    combined = capture.render(scene)["Combined"][..., :3]
    bpy.ops.render.render()
    before, pictures = snapshot(scene), len(bpy.data.images)
    result, settings = bpy.data.images["Render Result"], scene.render.image_settings
    kept = {p.identifier: getattr(settings, p.identifier) for p in settings.bl_rna.properties if p.type == "ENUM"}
    assert np.allclose(images.read(result), combined, rtol=1e-5) and combined.std() > 0.01
    assert snapshot(scene) == before and len(bpy.data.images) == pictures
    assert {name: getattr(settings, name) for name in kept} == kept


@pytest.mark.parametrize("space", ["Linear Rec.709", "ACEScg"])
@pytest.mark.parametrize("kind", ["PNG", "OPEN_EXR"])
def test_colour_management_of_the_output_s_own_stays_and_changes_no_pixel(scene, kind, space):
    plane(principled("Paint", Base_Color=(0.8, 0.3, 0.1, 1.0)))
    looking_down(scene)
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    bpy.ops.render.render()
    result, settings = bpy.data.images["Render Result"], scene.render.image_settings
    expected = images.read(result)
    settings.file_format, settings.color_management = kind, "OVERRIDE"
    settings.view_settings.view_transform, settings.view_settings.exposure, settings.view_settings.gamma = "Standard", 1.5, 1.2
    settings.view_settings.use_curve_mapping, settings.linear_colorspace_settings.name = True, space
    before = own_colours(settings)
    assert np.array_equal(images.read(result), expected) and expected.std() > 0.01
    assert own_colours(settings) == before and before[1]["exposure"] == 1.5


def own_colours(settings: bpy.types.ImageFormatSettings) -> list[dict]:
    """All that an output says about colour by itself."""
    owners = (settings, settings.view_settings, settings.display_settings, settings.linear_colorspace_settings)
    return [{p.identifier: getattr(o, p.identifier) for p in o.bl_rna.properties if p.type in KINDS} for o in owners]


def test_before_the_first_render_there_is_none(scene):
    with pytest.raises(images.ImageError, match="render first"):
        images.find("Render Result")


def test_a_sequence_of_frames_is_one_sentence(scene, tmp_path):
    for number in (1, 2):
        Image.new("RGB", (4, 4)).save(tmp_path / f"frame_{number}.png")
    image = images.load(tmp_path / "frame_1.png")
    image.source = "SEQUENCE"
    with pytest.raises(images.ImageError, match="many frames: choose the image file of a single one"):
        images.read(image)


def test_the_first_frame_of_a_sequence_that_is_open_is_read_from_its_file(scene, tmp_path):
    for number in (1, 2):
        Image.new("RGB", (3, 2), (number * 60, 0, 0)).save(tmp_path / f"frame_{number:04}.png")
    opened = bpy.data.images.load(str(tmp_path / "frame_0001.png"))
    opened.source = "SEQUENCE"
    image = images.load(tmp_path / "frame_0001.png")
    assert images.download(image)[0, 0, 0] == pytest.approx(60 / 255)
    assert opened.source == "SEQUENCE" and image.source == "FILE"


def test_a_stereoscopic_render_is_one_sentence(scene):
    looking_down(scene)
    scene.render.use_multiview = True
    bpy.ops.render.render()
    with pytest.raises(images.ImageError, match="turn off Stereoscopy"):
        images.read(bpy.data.images["Render Result"])


def test_the_last_render_as_its_own_mask_is_one_sentence(scene):
    looking_down(scene)
    bpy.ops.render.render()
    with pytest.raises(images.ImageError, match="No mask was chosen: make one with Paint Mask"):
        masks.read_mask(None, masks.ERASED, bpy.data.images["Render Result"])


def test_a_few_pixels_of_a_large_image_are_those_of_the_whole(scene, random):
    image = images.create("large", random.random((64, 40, 3)).astype(np.float32) * 2 - 1, "normals")
    whole = images.read_channel(image, "normals").data
    assert np.allclose(images.sampled(image, "normals", 10), whole[::4, ::4]) and images.sampled(image, "normals", 99).shape == whole.shape
