# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels show in each state, with a real engine; history, regenerating, presets."""

from __future__ import annotations

import json

import bpy
import numpy as np
import pytest

from blender_addon.presets import STORED
from blender_addon.wire import ChannelImage
from tests.blender.operating import (  # noqa: F401 (fixtures)
    addon,
    cube,
    drain_until,
    echo_job,
    empty,
    models,
    photo,
    refused,
    running_job,
)
from tests.blender.recording import context, draw

SPACES = {
    "view3d": context("VIEW_3D"),
    "image": context("IMAGE_EDITOR"),
    "shader": context("NODE_EDITOR", "ShaderNodeTree"),
    "compositor": context("NODE_EDITOR", "CompositorNodeTree"),
}


def where(space: str, image=None):
    """The context of an editor."""
    known = SPACES[space].space_data
    return context(known.type, known.tree_type, image)


def all_panels() -> dict[str, list[str]]:
    """The panels of the Teamwork tab by editor."""
    names = [name for name in dir(bpy.types) if name.startswith("TEAMWORK_PT_")]
    return {space: [name for name in names if name.startswith(f"TEAMWORK_PT_{space}_")] for space in SPACES}


def made(**settings) -> bpy.types.Material:
    """A material by the operator."""
    bpy.ops.teamwork.material_from_image(model="tiny", **settings)
    return next(each for each in bpy.data.materials if "teamwork_job" in each)


def test_each_editor_has_the_tasks_that_belong_there():
    tasks = {space: {name.rsplit("_", 1)[1] for name in names} - {"advanced"} for space, names in all_panels().items()}
    common = {"engine", "jobs", "results"}
    assert tasks["view3d"] >= common | {"material", "render"} and "decompose" not in tasks["view3d"]
    assert tasks["image"] >= common | {"material", "decompose"}
    assert tasks["shader"] >= common | {"material"} and "render" not in tasks["shader"]
    assert tasks["compositor"] >= common | {"decompose"} and "material" not in tasks["compositor"]
    for names in all_panels().values():
        for name in names:
            panel = getattr(bpy.types, name)
            assert panel.bl_category == "Teamwork" and panel.__doc__ and panel.bl_label


def test_node_editors_of_other_trees_show_nothing():
    for name in (*all_panels()["shader"], *all_panels()["compositor"]):
        assert not draw(name, context("NODE_EDITOR", "GeometryNodeTree")).drawn


@pytest.mark.parametrize("space", SPACES)
def test_every_panel_can_be_drawn_in_every_state(space, photo):  # noqa: F811
    from blender_addon import images

    bpy.ops.teamwork.disconnect()
    for _ in range(2):
        for name in all_panels()[space]:
            draw(name, where(space))
            draw(name, where(space, images.load(photo)))
        bpy.ops.teamwork.test_engine()


# ---- the engine ------------------------------------------------------------------------------------------------------


def engine_panel():
    """What the engine's panel shows."""
    return draw("TEAMWORK_PT_view3d_engine", where("view3d"))


def test_the_engine_has_one_obvious_next_step(monkeypatch, tmp_path):
    bpy.ops.teamwork.disconnect()
    assert engine_panel().of("operator")[0] == "teamwork.connect"
    monkeypatch.setenv("TEAMWORK_ENGINE_PYTHON", "")
    with monkeypatch.context() as patch:
        patch.setattr("blender_addon.launcher.ROOT", tmp_path)
        shown = engine_panel()
        assert shown.of("operator")[0] == "teamwork.set_up" and "set up once" in " ".join(shown.of("label"))
    monkeypatch.undo()
    bpy.ops.teamwork.test_engine()
    shown = engine_panel()
    assert "teamwork.unload" in shown.of("operator") and "teamwork.connect" not in shown.of("operator")
    assert "Ready, on the CPU" in shown.of("label")[0]


def test_memory_and_the_licence_of_the_model_are_shown():
    from blender_addon.engine import LINK

    bpy.ops.teamwork.test_engine()
    drain_until(lambda: LINK.session.status)
    bpy.context.scene.teamwork.model = "tiny"
    assert "CC0-1.0" in " ".join(engine_panel().of("label"))
    bpy.context.scene.teamwork.model = "giant"
    assert "no model 'giant'" in " ".join(engine_panel().of("label"))
    running = echo_job()
    drain_until(lambda: running.state == "done")
    drain_until(lambda: LINK.session.status.memory_total)
    assert any("GB memory free" in text for text in engine_panel().of("progress"))


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_a_running_job_has_a_bar_and_a_cancel():
    from blender_addon import jobs

    assert not draw("TEAMWORK_PT_image_jobs", where("image")).drawn
    job = running_job()
    shown = draw("TEAMWORK_PT_image_jobs", where("image"))
    assert "Echo" in shown.of("label") and job.line in shown.of("progress")
    assert [button.job for button in shown.of("button")] == [job.job_id]
    bpy.ops.teamwork.cancel(job=job.job_id)
    drain_until(lambda: job.state == jobs.CANCELLED)
    assert "Echo: The job was cancelled." in " ".join(draw("TEAMWORK_PT_image_results", where("image")).of("label"))
    bpy.ops.teamwork.clear_history()
    assert not draw("TEAMWORK_PT_image_results", where("image")).drawn


def test_previews_are_small_and_come_and_go():
    from blender_addon import previews

    picture = ChannelImage(np.full((300, 500, 3), 0.2140, np.float16), "scene-linear")
    previews.show("job", picture)
    icon = previews.Previews.collection["job"]
    assert max(icon.image_size) <= previews.LARGEST
    assert icon.image_pixels_float[0] == pytest.approx(0.5, abs=0.01) and icon.image_pixels_float[3] == 1.0
    previews.drop("job")
    assert "job" not in previews.Previews.collection


def test_the_expected_seconds_are_shown_once_there_was_a_job(photo):  # noqa: F811
    from blender_addon import images

    bpy.ops.teamwork.test_engine()
    settings = bpy.context.scene.teamwork
    settings.picture, settings.model = images.load(photo), "few"

    def line() -> str:
        return draw("TEAMWORK_PT_view3d_material", where("view3d")).of("label")[-1]

    settings.channels = {"albedo"}
    assert line() == "The first run shows how long it takes"
    bpy.ops.teamwork.material_from_image(filepath=str(photo), model="few", channels={"albedo"})
    assert line().startswith("About ")


def test_the_button_has_the_panels_settings(photo):  # noqa: F811
    from blender_addon import images

    settings = bpy.context.scene.teamwork
    settings.picture, settings.model, settings.seed = images.load(photo), "tiny", 5
    settings.channels, settings.apply = {"roughness"}, False
    [button] = draw("TEAMWORK_PT_shader_material", where("shader")).of("button")
    assert (button.model, button.seed, button.channels, button.apply) == ("tiny", 5, {"roughness"}, False)
    assert button.image == settings.picture.name


# ---- history ---------------------------------------------------------------------------------------------------------


def test_a_result_can_be_made_again_with_the_next_seed(photo):  # noqa: F811
    first = made(filepath=str(photo), seed=4, channels={"albedo", "roughness"}, material_name="brick")
    assert bpy.ops.teamwork.regenerate(job=first["teamwork_job"]) == {"FINISHED"}
    second = bpy.data.materials["brick.001"]
    assert second["teamwork_seed"] == 5 and second["teamwork_job"] != first["teamwork_job"]
    channels = {image["teamwork_channel"] for image in bpy.data.images if image.get("teamwork_job") == second["teamwork_job"]}
    assert channels == {"albedo", "roughness"}


def test_results_are_listed_newest_first_and_after_loading_the_file(photo, tmp_path):  # noqa: F811
    from blender_addon import history

    first = made(filepath=str(photo))
    first["teamwork_time"] = "2020-01-01T00:00:00+00:00"
    bpy.ops.teamwork.decompose_image(filepath=str(photo), model="tiny")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "results.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "results.blend"))
    history.forget()
    assert [each.facts["task"] for each in history.made()] == ["decompose", "material"]
    assert history.made()[1].datablock == bpy.data.materials["wall"]
    shown = draw("TEAMWORK_PT_view3d_results", where("view3d"))
    assert {"wall", "wall recomposed"} <= set(shown.of("label"))
    assert shown.of("operator").count("teamwork.regenerate") == 2


def test_the_settings_of_a_result_can_be_shown_and_used(photo):  # noqa: F811
    from blender_addon.history import find
    from blender_addon.operators.history import describe

    job = made(filepath=str(photo), seed=9, channels={"normals"})["teamwork_job"]
    told = dict(describe(find(job)))
    assert told["Seed"] == "9" and told["Model"] == "tiny" and told["Made from"] == "wall.png"
    assert bpy.ops.teamwork.show_settings(job=job) == {"FINISHED"}
    bpy.ops.teamwork.use_settings(job=job)
    settings = bpy.context.scene.teamwork
    assert (settings.seed, settings.model, settings.channels) == (9, "tiny", {"normals"})
    assert settings.picture.name == "wall.png"


def test_choices_of_another_version_in_a_record_are_told(photo):  # noqa: F811
    """A file from a colleague whose add-on is newer: what is known here is taken over, and nothing is half made."""
    material = made(filepath=str(photo), seed=9)
    job, settings = material["teamwork_job"], json.loads(material["teamwork_settings"])
    for block in (*bpy.data.materials, *bpy.data.images):
        block["teamwork_settings"] = json.dumps(settings | {"channels": ["albedo", "wetness"]})
    assert "another version" in refused(bpy.ops.teamwork.regenerate, job=job)
    assert bpy.ops.teamwork.use_settings(job=job) == {"FINISHED"}
    assert bpy.context.scene.teamwork.seed == 9 and bpy.context.scene.teamwork.picture.name == "wall.png"


def test_what_cannot_be_made_again_says_so(photo):  # noqa: F811
    material = made(filepath=str(photo))
    job = material["teamwork_job"]
    bpy.data.images.remove(bpy.data.images["wall.png"])
    assert "wall.png" in refused(bpy.ops.teamwork.regenerate, job=job)
    for operator in ("regenerate", "show_settings", "use_settings"):
        assert "not in this file" in refused(getattr(bpy.ops.teamwork, operator), job="gone")
    for block in (*bpy.data.materials, *bpy.data.images):
        block["teamwork_settings"], block["teamwork_operator"] = "{", ""
    assert "another version" in refused(bpy.ops.teamwork.regenerate, job=job)


def test_presets_are_kept_used_and_removed(monkeypatch, tmp_path):
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path))
    settings = bpy.context.scene.teamwork
    settings.channels, settings.steps = {"albedo", "normals"}, 7
    bpy.ops.teamwork.material_preset_add(name="Two Maps")
    found = [path for path in bpy.utils.preset_paths("teamwork/material")]
    [preset] = [path for folder in found for path in __import__("pathlib").Path(folder).glob("*.py")]
    settings.channels, settings.steps = {"height"}, 0
    bpy.ops.script.execute_preset(filepath=str(preset), menu_idname="TEAMWORK_PT_material_presets")
    assert settings.channels == {"albedo", "normals"} and settings.steps == 7
    bpy.ops.teamwork.material_preset_add(name="Two Maps", remove_active=True)
    assert not preset.exists()


@pytest.mark.parametrize(
    "panel", ["view3d_material", "image_decompose", "view3d_synthesize", "image_inpaint", "view3d_mend", "view3d_render"]
)
def test_a_preset_holds_what_its_panel_shows(panel):
    """But for the images, which are of this file, and the ticks, which only tell whether numbers are 0."""
    settings, task = bpy.context.scene.teamwork, panel.partition("_")[2].replace("mend", "inpaint")
    settings.given_height = bpy.data.images.new("height", 4, 4)
    settings.capture, settings.prompt, settings.steps, settings.size = "FLASH", "moss", 3, 64
    where = context("IMAGE_EDITOR" if panel.startswith("image") else "VIEW_3D")
    shown = {name for each in (panel, f"{panel}_advanced") for name in draw(f"TEAMWORK_PT_{each}", where).of("prop")}
    settings.given_height = None
    shown |= set(draw(f"TEAMWORK_PT_{panel}", where).of("prop"))
    plain = {name for name in shown if settings.bl_rna.properties[name].type != "POINTER" and not name.startswith("model_")}
    assert plain and plain <= set(STORED[task][1])
