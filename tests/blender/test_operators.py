# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operators make with a real engine, and what they say to a mistake."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from PIL import Image

from blender_addon import capture, images, materials, viewpoint
from tests.blender.conftest import snapshot
from tests.blender.operating import addon, cube, empty, models, photo, refused  # noqa: F401 (fixtures)

# ---- what lands ------------------------------------------------------------------------------------------------------


def test_a_photo_becomes_a_material_on_the_active_object(photo, cube):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", seed=7, apply=True)
    material = cube.active_material
    assert material.name == "wall"
    textures = materials.maps_of(material)
    assert set(textures) == {"albedo", "roughness", "metalness", "normals", "height"}
    spaces = {channel: image.colorspace_settings.name for channel, image in textures.items()}
    assert spaces.pop("albedo") == "sRGB" and set(spaces.values()) == {"Non-Color"}
    for image in textures.values():
        assert tuple(image.size) == (24, 16) and image.packed_file
    for made in (material, *textures.values()):
        assert made["teamwork_task"] == "material" and made["teamwork_model"] == "tiny" and made["teamwork_seed"] == 7
        assert made["teamwork_source"] == "wall.png" and made["teamwork_steps"] == 2
        assert len(made["teamwork_model_hash"]) >= 8 and made["teamwork_job"] and made["teamwork_time"]


def test_only_the_wanted_maps_are_made(photo):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", channels={"roughness"}, material_name="dull")
    made = [image["teamwork_channel"] for image in bpy.data.images if "teamwork_channel" in image]
    assert made == ["roughness"] and bpy.data.materials["dull"]


def test_the_same_seed_gives_the_same_maps(photo):
    from blender_addon import images

    maps = []
    for name in ("one", "two"):
        bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", material_name=name, seed=3)
        maps.append(images.read(bpy.data.images[f"{name} albedo"]))
    assert np.array_equal(*maps)


def test_the_parts_of_an_image_add_up_to_it(photo):
    from blender_addon import images

    picture = images.load(photo)
    bpy.ops.teamwork.decompose_image(image=picture.name, model="tiny")
    made = {image["teamwork_channel"]: images.read(image) for image in bpy.data.images if "teamwork_channel" in image}
    assert set(made) == {"albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness"}
    whole = made["albedo"] * (1.0 - made["metalness"][..., :1]) * made["diffuseshading"] + made["residual"]
    assert np.abs(whole - images.read(picture)).max() < 1e-5, "although albedo and metalness have 8 bits only"
    group = bpy.data.node_groups["wall recomposed"]
    assert group["teamwork_task"] == "decompose" and group.bl_idname == "CompositorNodeTree"


def test_the_last_render_is_decomposed_without_a_file():
    from blender_addon import images

    scene = scene_with_camera()
    scene.render.engine, scene.cycles.samples, scene.view_settings.exposure = "CYCLES", 1, 3.0
    bpy.ops.render.render()
    before = snapshot(scene)
    bpy.ops.teamwork.decompose_image(image="Render Result", model="tiny")
    made = {image["teamwork_channel"]: images.read(image) for image in bpy.data.images if "teamwork_channel" in image}
    whole = made["albedo"] * (1.0 - made["metalness"][..., :1]) * made["diffuseshading"] + made["residual"]
    assert np.abs(whole - images.read(bpy.data.images["Render Result"])).max() < 1e-5
    after = snapshot(scene)
    assert {**after, "data": None} == {**before, "data": None}
    assert bpy.data.images["Render Result albedo"]["teamwork_source"] == "Render Result"


def test_nothing_rendered_is_one_sentence():
    assert "render first" in refused(bpy.ops.teamwork.decompose_image, image="Render Result", model="tiny")


def scene_with_camera(size: int = 16) -> bpy.types.Scene:
    """A lit cube before a camera."""
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = size
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.data.materials.append(bpy.data.materials.new("Paint"))
    bpy.ops.object.light_add(type="SUN")
    bpy.ops.object.camera_add(location=(0, 0, 6))
    scene.camera = bpy.context.object
    return scene


def test_a_scene_is_shaded_and_left_as_it_was():
    scene = scene_with_camera()
    before = snapshot(scene)
    bpy.ops.teamwork.neural_render(model="tiny", samples=1)
    image = bpy.data.images["Neural Render"]
    assert tuple(image.size) == (16, 16) and image.is_float and image["teamwork_source"] == scene.name
    assert snapshot(scene) == before


def test_a_shaded_scene_is_as_transparent_as_its_render():
    """Before nothing, which is black, its light is the same: it is multiplied with alpha already, once."""
    scene = scene_with_camera()
    bpy.ops.teamwork.neural_render(model="tiny", samples=16, image_name="Opaque")
    scene.render.film_transparent = True
    bpy.ops.teamwork.neural_render(model="tiny", samples=16)
    scene.cycles.samples, scene.cycles.use_adaptive_sampling, scene.cycles.use_denoising = 16, False, False
    alpha = capture.render(scene)["Combined"][..., 3]
    assert alpha.min() == 0.0 and alpha.max() == 1.0 and ((alpha > 0.1) & (alpha < 0.9)).any()
    opaque, made = (images.download(bpy.data.images[name]) for name in ("Opaque", "Neural Render"))
    assert np.allclose(made[..., 3], alpha, atol=1e-5) and (opaque[..., 3] == 1.0).all()
    assert np.allclose(made[..., :3], opaque[..., :3], atol=1e-5) and made[..., :3].any()


def test_a_scene_without_a_camera_is_shaded_as_the_viewport_shows_it():
    scene = scene_with_camera()
    bpy.data.objects.remove(scene.camera)
    before = snapshot(scene)
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    area.spaces.active.region_3d.view_perspective = "PERSP"
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.teamwork.neural_render(model="tiny", samples=1)
    assert tuple(bpy.data.images["Neural Render"].size) == (16, 16) and snapshot(scene) == before


def test_the_current_view_is_that_of_the_viewport_also_from_another_editor(monkeypatch):
    from blender_addon import passes

    monkeypatch.setattr(viewpoint, "on_screen", lambda context: True)
    scene_with_camera()
    window, seen = bpy.context.window_manager.windows[0], []
    viewport, other = sorted(window.screen.areas, key=lambda area: area.type != "VIEW_3D")[:2]
    viewport.spaces.active.region_3d.view_perspective = "PERSP"
    render = passes.render_picture
    monkeypatch.setattr(passes, "render_picture", lambda scene, **how: seen.append(how["view"]) or render(scene, **how))
    with bpy.context.temp_override(window=window, area=other):
        bpy.ops.teamwork.neural_render(model="tiny", samples=1, view="VIEW")
        made = bpy.data.images["Neural Render"]
        bpy.ops.teamwork.regenerate(job=made["teamwork_job"])
        bpy.ops.teamwork.neural_render(model="tiny", samples=1, view="CAMERA")
    assert [isinstance(view, viewpoint.View) for view in seen] == [True, True, False] and seen[0] == seen[1]
    viewport.type = "DOPESHEET_EDITOR"
    try:
        with bpy.context.temp_override(window=window, area=other):
            assert "open one, or choose Camera" in refused(bpy.ops.teamwork.neural_render, model="tiny", samples=1, view="VIEW")
            bpy.ops.teamwork.neural_render(model="tiny", samples=1, view="CAMERA")
    finally:
        viewport.type = "VIEW_3D"


def test_a_render_is_made_again_only_in_its_scene():
    scene = scene_with_camera()
    bpy.ops.teamwork.neural_render(model="tiny", samples=1)
    job = bpy.data.images["Neural Render"]["teamwork_job"]
    window = bpy.context.window_manager.windows[0]
    window.scene = bpy.data.scenes.new("Other")
    assert f"the scene {scene.name}: go to that scene" in refused(bpy.ops.teamwork.regenerate, job=job)
    window.scene = scene
    scene.name = "Renamed"
    assert bpy.ops.teamwork.regenerate(job=job) == {"FINISHED"}


def test_what_was_made_is_there_after_saving_and_loading(photo, tmp_path, cube):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", apply=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    photo.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    textures = materials.maps_of(bpy.data.materials["wall"]).values()
    assert len(textures) == 5 and all(image.has_data or image.pixels[0] >= 0.0 for image in textures)


def test_after_saving_and_loading_it_can_be_made_again(photo, tmp_path):
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="tiny", channels={"albedo"})
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    assert bpy.ops.teamwork.regenerate(job=bpy.data.materials["wall"]["teamwork_job"]) == {"FINISHED"}
    assert bpy.data.materials["wall.001"]["teamwork_source"] == "wall.png"


# ---- mistakes --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_picture_is_one_sentence(tmp_path):
    (tmp_path / "text.png").write_text("This is a text.")
    (tmp_path / "empty.png").touch()
    for operator in (bpy.ops.teamwork.material_from_image, bpy.ops.teamwork.decompose_image):
        assert "no file" in refused(operator, filepath=str(tmp_path / "none.png"))
        assert "not an image" in refused(operator, filepath=str(tmp_path / "text.png"))
        assert "empty" in refused(operator, filepath=str(tmp_path / "empty.png"))
        assert "no file" in refused(operator, filepath=str(tmp_path))
        assert "no image named 'gone'" in refused(operator, image="gone")
        assert "No picture was chosen" in refused(operator)
    assert not bpy.data.images and not bpy.data.materials


def test_one_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (200, 100, 50)).save(tmp_path / "pixel.png")
    bpy.ops.teamwork.material_from_image(filepath=str(tmp_path / "pixel.png"), model="tiny")
    assert tuple(bpy.data.images["pixel albedo"].size) == (1, 1)


def test_a_grey_picture_of_16_bits_is_a_picture(tmp_path):
    Image.fromarray((np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)).save(tmp_path / "grey.png")
    bpy.ops.teamwork.decompose_image(filepath=str(tmp_path / "grey.png"), model="tiny")
    assert tuple(bpy.data.images["grey albedo"].size) == (64, 64)


def test_a_model_that_is_not_there_is_named_with_those_that_are(photo):
    sentence = refused(bpy.ops.teamwork.material_from_image, filepath=str(photo), model="giant")
    assert "'giant'" in sentence and "tiny" in sentence


def test_a_scene_without_a_camera_says_so():
    assert "no camera" in refused(bpy.ops.teamwork.neural_render, model="tiny")
