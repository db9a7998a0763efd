# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthesize and Inpaint with a real engine: what lands, what stays, and what is said to a mistake."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from PIL import Image

from tests.blender.operating import addon, cube, drain_until, empty, models, photo, refused  # noqa: F401 (fixtures)

SIDE = 32


def marked(kind: str = "images") -> dict[str, bpy.types.ID]:
    """What the last job has made, by channel."""
    return {each["teamwork_channel"]: each for each in getattr(bpy.data, kind) if each.get("teamwork_job")}


def image_of(name: str, values: np.ndarray, space: str = "sRGB", deep: bool = False) -> bpy.types.Image:
    """An image with these stored values, H x W x 4, rows from the top."""
    made = bpy.data.images.new(name, values.shape[1], values.shape[0], alpha=True, float_buffer=deep)
    made.colorspace_settings.name = space
    made.pixels.foreach_set(np.ascontiguousarray(values[::-1], np.float32).reshape(-1))
    made.pack()
    return made


def stored(image: bpy.types.Image) -> np.ndarray:
    """H x W x 4 as Blender has them, rows from the top."""
    values = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], image.channels)[::-1]


def noise(alpha: float = 1.0) -> np.ndarray:
    """Seeded values of 8 bits."""
    values = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4)).astype(np.float32) / 255
    values[..., 3] = alpha
    return values


def white_box(name: str = "mask", side: int = SIDE) -> bpy.types.Image:
    """A black mask with a white box in its upper left."""
    values = np.zeros((side, side, 4), np.float32)
    values[4:14, 4:14, :3], values[..., 3] = 1.0, 1.0
    return image_of(name, values, "Non-Color")


def outside() -> np.ndarray:
    """Where that mask changes nothing."""
    rest = np.ones((SIDE, SIDE), bool)
    rest[4:14, 4:14] = False
    return rest


# ---- synthesis -------------------------------------------------------------------------------------------------------


def test_a_material_is_made_from_nothing(cube):  # noqa: F811
    bpy.ops.teamwork.synthesize(model="maker", seed=3, width=24, height=16, apply=True, new_name="Moss")
    material = cube.active_material
    assert material.name == "Moss" and material["teamwork_task"] == "synthesize" and material["teamwork_steps"] == 3
    maps = {channel: image for channel, image in marked().items() if channel}
    assert set(maps) == {"albedo", "roughness", "metalness", "normals", "height"}
    assert all(tuple(image.size) == (24, 16) for image in maps.values())


def test_a_picture_is_made_with_its_channels():
    bpy.ops.teamwork.synthesize(model="maker", what="IMAGE", width=16, height=16, tiles=False)
    maps = marked()
    assert set(maps) >= {"image", "albedo", "normals", "depth"} and not bpy.data.materials
    assert all(image.use_fake_user for image in maps.values())


def test_the_next_seed_makes_another_one():
    bpy.ops.teamwork.synthesize(model="maker", width=16, height=16)
    first = next(each for each in bpy.data.materials if "teamwork_job" in each)
    bpy.ops.teamwork.regenerate(job=first["teamwork_job"])
    seeds = sorted(each["teamwork_seed"] for each in bpy.data.materials if "teamwork_job" in each)
    assert seeds == [0, 1]


def test_models_that_cannot_are_named_with_those_that_can():
    sentence = refused(bpy.ops.teamwork.synthesize, model="regressor")
    assert "regressor cannot do the task synthesize" in sentence and "maker" in sentence
    assert "no text encoders" in refused(bpy.ops.teamwork.synthesize, model="maker", prompt="moss", width=16, height=16)


# ---- one picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "deep"), [("sRGB", False), ("Non-Color", False), ("Linear Rec.709", True)])
def test_what_is_not_masked_stays_bit_for_bit(space, deep):
    picture = image_of("wall", noise(0.75) * np.float32([*[3.0 if deep else 1.0] * 3, 1.0]), space, deep)
    before = stored(picture)
    bpy.ops.teamwork.inpaint(image="wall", mask=white_box().name, mask_from="BRIGHT", model="maker", seed=2)
    made = bpy.data.images["wall inpainted"]
    after = stored(made)
    assert np.array_equal(after[outside()], before[outside()]) and np.array_equal(after[..., 3], before[..., 3])
    assert not np.allclose(after[5:13, 5:13], before[5:13, 5:13], atol=0.02)
    assert made.is_float == deep and made.colorspace_settings.name == space and made.packed_file
    assert np.array_equal(stored(picture), before), "the original is as it was"
    assert made["teamwork_task"] == "inpaint" and made["teamwork_source"] == "wall" and made["teamwork_seed"] == 2


def test_an_opaque_stroke_is_a_mask_and_channels_are_known_by_their_record():
    strokes = np.zeros((SIDE, SIDE, 4), np.float32)
    strokes[4:14, 4:14] = 1.0
    image_of("strokes", strokes)
    image_of("wall", noise())["teamwork_channel"] = "albedo"
    bpy.ops.teamwork.inpaint(image="wall", mask="strokes", mask_from="OPAQUE", model="tiny")
    assert bpy.data.images["wall inpainted"]["teamwork_channel"] == "albedo"


def test_the_bundled_team_goes_on_with_what_lies_around():
    stripes = np.ones((side := 4 * SIDE, side, 4), np.float32)
    stripes[..., :3] = np.where(np.arange(side) % 16 < 8, np.float32(0.2), np.float32(0.8))[None, :, None]
    before = stored(image_of("fence", stripes))
    mask = np.zeros((side, side, 4), np.float32)
    mask[48:80, 48:80] = 1.0
    bpy.ops.teamwork.inpaint(image="fence", mask=image_of("spot", mask).name, mask_from="OPAQUE", model="nano")
    assert np.allclose(stored(bpy.data.images["fence inpainted"]), before, atol=0.05)


def test_in_place_of_the_old_which_is_kept(cube):  # noqa: F811
    from blender_addon.materials import node_tree

    picture = image_of("wall", noise())
    material = bpy.data.materials.new("Paint")
    node = node_tree(material).nodes.new("ShaderNodeTexImage")
    node.image = picture
    bpy.ops.teamwork.inpaint(image="wall", mask=white_box().name, mask_from="BRIGHT", model="maker", replace=True)
    assert node.image == bpy.data.images["wall inpainted"] and bpy.data.images["wall"].use_fake_user


def test_it_is_made_again_with_the_next_seed_and_its_settings_can_be_taken_over():
    image_of("wall", noise())["teamwork_channel"] = "albedo"
    bpy.ops.teamwork.inpaint(image="wall", mask=white_box().name, mask_from="BRIGHT", model="tiny")
    first = bpy.data.images["wall inpainted"]
    bpy.ops.teamwork.regenerate(job=first["teamwork_job"])
    again = bpy.data.images["wall inpainted.001"]
    assert again["teamwork_seed"] == 1 and not np.array_equal(stored(again), stored(first))
    bpy.ops.teamwork.use_settings(job=first["teamwork_job"])
    settings = bpy.context.scene.teamwork
    assert settings.mask.name == "mask" and settings.mask_from == "BRIGHT" and settings.picture.name == "wall"


def test_mistakes_with_masks_are_sentences():
    image_of("wall", noise())
    image_of("empty", np.zeros((SIDE, SIDE, 4), np.float32))
    image_of("wide", np.ones((8, SIDE, 4), np.float32))
    inpaint = bpy.ops.teamwork.inpaint
    assert "nothing of wall is transparent" in refused(inpaint, image="wall", model="maker")
    assert "No mask was chosen" in refused(inpaint, image="wall", mask_from="BRIGHT", model="maker")
    assert "empty is empty" in refused(inpaint, image="wall", mask="empty", mask_from="BRIGHT", model="maker")
    assert "The mask is 32 x 8" in refused(inpaint, image="wall", mask="wide", mask_from="BRIGHT", model="maker")
    assert "no image named 'gone'" in refused(inpaint, image="wall", mask="gone", model="maker")
    assert "cannot make 'image'" in refused(inpaint, image="wall", mask=white_box().name, mask_from="BRIGHT", model="tiny")
    assert "no image textures" in refused(inpaint, material=bpy.data.materials.new("Bare").name, model="maker")
    assert "no material named 'gone'" in refused(inpaint, material="gone", model="maker")
    assert "no material" in refused(inpaint, active_material=True, model="maker")


def test_a_mask_of_another_size_is_resampled():
    image_of("wall", noise())
    bpy.ops.teamwork.inpaint(image="wall", mask=white_box("large", 2 * SIDE).name, mask_from="BRIGHT", model="maker")
    after, before = stored(bpy.data.images["wall inpainted"]), stored(bpy.data.images["wall"])
    changed = (after != before).any(-1)
    assert changed[2:7, 2:7].all() and not changed[8:, 8:].any()


# ---- a material ------------------------------------------------------------------------------------------------------


def a_material(photo, **settings) -> bpy.types.Material:  # noqa: F811
    """As the add-on makes it."""
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", **settings)
    return bpy.data.materials["wall"]


def images_in(tree: bpy.types.NodeTree) -> set[bpy.types.Image]:
    """All images of a tree and its groups."""
    found = {node.image for node in tree.nodes if node.type == "TEX_IMAGE"}
    return found.union(*(images_in(node.node_tree) for node in tree.nodes if node.type == "GROUP"))


@pytest.fixture
def square(tmp_path):
    """A seeded photo."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / "wall.png")
    return tmp_path / "wall.png"


def test_all_maps_of_a_material_are_inpainted_together(square, cube):
    material = a_material(square, apply=True)
    old = images_in(material.node_tree)
    before = {image["teamwork_channel"]: stored(image) for image in old}
    bpy.ops.teamwork.inpaint(active_material=True, mask=white_box().name, mask_from="BRIGHT", model="tiny", replace=True)
    made = cube.active_material
    assert made.name == "wall inpainted" and made["teamwork_task"] == "inpaint" and bpy.data.materials["wall"].use_fake_user
    assert images_in(material.node_tree) == old, "the old material has its own maps"
    new = images_in(made.node_tree)
    assert len({image["teamwork_job"] for image in new}) == 1 and not new & old
    assert {image["teamwork_channel"] for image in new} == {"albedo", "roughness", "metalness", "normals", "height"}
    for image in new:
        was, now = before[image["teamwork_channel"]], stored(image)
        assert np.array_equal(now[outside()], was[outside()]), image.name
        assert not np.allclose(now[5:13, 5:13], was[5:13, 5:13], atol=0.004), image.name
    bpy.ops.teamwork.regenerate(job=made["teamwork_job"])
    assert bpy.data.materials["wall inpainted.001"]["teamwork_seed"] == 1


def test_maps_are_found_through_groups_reroutes_and_mixes():
    from blender_addon.material_maps import copy_with, maps_of
    from blender_addon.materials import node_of, node_tree

    colour, rough, relief = (image_of(name, noise(), "Non-Color") for name in ("colour", "rough", "relief"))
    material = bpy.data.materials.new("Grouped")
    tree = node_tree(material)
    shader = node_of(tree, "BSDF_PRINCIPLED")
    group = bpy.data.node_groups.new("Maps", "ShaderNodeTree")
    group.interface.new_socket("Out", in_out="OUTPUT", socket_type="NodeSocketColor")
    inside, end = group.nodes.new("ShaderNodeTexImage"), group.nodes.new("NodeGroupOutput")
    inside.image = colour
    group.links.new(inside.outputs["Color"], end.inputs[0])
    use, reroute = tree.nodes.new("ShaderNodeGroup"), tree.nodes.new("NodeReroute")
    use.node_tree = group
    tree.links.new(use.outputs[0], reroute.inputs[0])
    tree.links.new(reroute.outputs[0], shader.inputs["Base Color"])
    texture, ramp = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeValToRGB")
    texture.image = rough
    tree.links.new(texture.outputs["Color"], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], shader.inputs["Roughness"])
    normal, bump = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeNormalMap")
    normal.image = relief
    tree.links.new(normal.outputs["Color"], bump.inputs["Color"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    assert maps_of(material) == {"albedo": colour, "roughness": rough, "normals": relief}
    made = copy_with(material, {colour: relief})
    assert maps_of(made)["albedo"] == relief and maps_of(material)["albedo"] == colour


def test_a_material_that_went_away_meanwhile_is_made_anew(square, cube):
    from blender_addon import jobs

    material = a_material(square)
    mask, wait = white_box().name, jobs.wait

    def removed(job, timeout):
        """The material goes away when the job has been sent."""
        bpy.data.materials.remove(material)
        wait(job, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "wait", removed)
        bpy.ops.teamwork.inpaint(material="wall", mask=mask, mask_from="BRIGHT", model="tiny")
    assert "wall is gone" in jobs.JOBS[-1].line and bpy.data.materials["wall"]["teamwork_task"] == "inpaint"


# ---- the mask helper and the panels ----------------------------------------------------------------------------------


def test_a_mask_to_paint_shows_the_picture_and_what_is_erased_is_made_anew():
    image_of("wall", noise())
    bpy.ops.teamwork.paint_mask(image="wall")
    settings = bpy.context.scene.teamwork
    mask = settings.mask
    assert mask.name == "wall mask" and tuple(mask.size) == (SIDE, SIDE) and settings.mask_from == "ERASED"
    assert np.allclose(stored(mask), noise(), atol=1e-6)
    assert mask.colorspace_settings.name == "sRGB" and not mask.is_float
    assert "wall mask is empty" in refused(bpy.ops.teamwork.inpaint, image="wall", mask="wall mask", model="maker")
    painted = stored(mask).copy()
    painted[4:14, 4:14, 3] = 0.0
    mask.pixels.foreach_set(np.ascontiguousarray(painted[::-1]).reshape(-1))
    bpy.ops.teamwork.inpaint(image="wall", mask="wall mask", model="maker")
    after, before = (stored(bpy.data.images[name]) for name in ("wall inpainted", "wall"))
    assert np.array_equal(after[outside()], before[outside()]) and not np.allclose(after, before, atol=0.02)


def test_panels_send_what_they_show():
    from tests.blender.recording import context, draw

    bpy.ops.teamwork.test_engine()
    settings = bpy.context.scene.teamwork
    picture = image_of("wall", noise())
    settings.model, settings.mask, settings.mask_from = "maker", white_box(), "BRIGHT"
    drawn = draw("TEAMWORK_PT_image_inpaint", context("IMAGE_EDITOR", "", picture))
    button = next(each for each in drawn.of("button") if each.bl_rna.identifier == "TEAMWORK_OT_inpaint")
    assert (button.image, button.mask, button.mask_from, button.model) == ("wall", "mask", "BRIGHT", "maker")
