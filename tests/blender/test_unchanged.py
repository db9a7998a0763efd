# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole state of the scene before and after each operator: when it succeeds, fails, is cancelled, or its engine dies."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import bpy
import pytest

from blender_addon.wire import Client, Credentials, WireError
from tests.blender.conftest import snapshot
from tests.blender.operating import addon, empty, models, photo, refused  # noqa: F401 (fixtures)

LONG = 1000
TASKS = ("material_from_image", "decompose_image", "neural_render", "synthesize", "inpaint")
OUTCOMES = ("success", "failure", "cancel", "death")


def rich_scene() -> bpy.types.Scene:
    """A scene in which there is much to be changed: nodes, passes, a world, a compositor, a selection, a mode."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 32, 24, 50
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 7, True
    scene.view_settings.view_transform, scene.view_settings.exposure = "Standard", 0.3
    scene.frame_set(11, subframe=0.25)
    second = scene.view_layers.new("Second")
    second.use_pass_mist, scene.view_layers[0].use_pass_z = True, True
    scene.view_layers[0].aovs.add().name = "mine"
    scene.world = bpy.data.worlds.new("Sky")
    scene.world.use_nodes = True
    _add_compositor(scene)
    _add_objects(scene)
    return scene


def _add_compositor(scene: bpy.types.Scene) -> None:
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = bpy.data.node_groups.new("Mine", "CompositorNodeTree")
        scene.compositing_node_group.nodes.new("CompositorNodeRLayers")
    else:
        scene.use_nodes = True


def _add_objects(scene: bpy.types.Scene) -> None:
    bpy.ops.object.light_add(type="SUN")
    bpy.ops.object.camera_add(location=(0, 0, 6))
    scene.camera = bpy.context.object
    for x in range(3):
        bpy.ops.mesh.primitive_cube_add(location=(x, 0, 0))
        material = bpy.data.materials.new(f"Paint {x}")
        material.use_nodes = True
        bpy.context.object.data.materials.append(material)
    bpy.ops.object.mode_set(mode="EDIT")


def call(task: str, photo: Path, **settings) -> set[str]:  # noqa: F811
    """The operator of a task."""
    pictures = {} if task in ("neural_render", "synthesize") else {"filepath": str(photo)}
    extra = {"neural_render": {"samples": 1}, "synthesize": {"width": 16, "height": 16}, "inpaint": {"mask_from": "OPAQUE"}}
    model = "maker" if task == "inpaint" else "tiny"
    if task == "inpaint":
        pictures["mask"] = bpy.data.images["Hole"].name
    return getattr(bpy.ops.teamwork, task)(**({"model": model} | pictures | extra.get(task, {}) | settings))


@contextlib.contextmanager
def meanwhile(act):
    """`act(client, job_id)` in a thread, as soon as the engine runs a job of ours: what others do while Blender waits."""
    from blender_addon import launcher

    def watch() -> None:
        with Client(launcher.find_engine().address, Credentials.local(), timeout=5.0) as client:
            deadline = time.monotonic() + 60.0
            while time.monotonic() < deadline:
                job = next((each for each in client.jobs() if each.state == "running"), None)
                if job is not None:
                    with contextlib.suppress(WireError):
                        act(client, job.job_id)
                    return
                time.sleep(0.02)

    bpy.ops.teamwork.test_engine()
    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join(70.0)
    assert not thread.is_alive()


def cancel(client: Client, job_id: str) -> None:
    """As the panel's button, or another Blender's."""
    client.cancel(job_id)
    client.hello()  # the answer comes after the cancellation has arrived


def kill(client: Client, job_id: str) -> None:
    """The engine is gone at once."""
    from blender_addon import launcher

    os.kill(launcher.find_engine().pid, signal.SIGKILL)


def whole(scene: bpy.types.Scene) -> dict:
    """Everything that a user would notice."""
    trees = {"world": scene.world.node_tree, "compositor": getattr(scene, "compositing_node_group", None)}
    if trees["compositor"] is None:
        trees["compositor"] = scene.node_tree
    state = snapshot(scene)
    for name, tree in trees.items():
        state[name] = (sorted(node.name for node in tree.nodes), len(tree.links))
    active = bpy.context.view_layer.objects.active
    window = bpy.context.window
    state["active"] = (active.name, active.active_material.name, bpy.context.mode)
    state["shown"] = (window.scene.name, window.view_layer.name) if window else None
    state["materials"] = {thing.name: [slot.name for slot in thing.material_slots] for thing in scene.objects}
    return state


def without_new(after: dict, before: dict) -> dict:
    """The state afterwards, but for datablocks that were not there: those are the result."""
    kept = dict(after)
    kept["data"] = {kind: [name for name in names if name in before["data"][kind]] for kind, names in after["data"].items()}
    for part in ("nodes", "links"):
        kept[part] = {name: value for name, value in after[part].items() if name in before[part]}
    return kept


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("task", TASKS)
def test_the_scene_is_as_it_was(task, outcome, photo):  # noqa: F811
    scene = rich_scene()
    bpy.data.images.new("Hole", 24, 16)
    before = whole(scene)
    images = len(bpy.data.images)
    if outcome == "success":
        assert call(task, photo) == {"FINISHED"} and len(bpy.data.images) > images
    elif outcome == "failure":
        assert "giant" in refused(call, task=task, photo=photo, model="giant")
    else:
        with meanwhile(cancel if outcome == "cancel" else kill):
            sentence = refused(call, task=task, photo=photo, steps=LONG)
        assert "cancelled" in sentence if outcome == "cancel" else sentence.endswith(".")
    after = whole(scene)
    assert without_new(after, before) == before
    if outcome != "success":
        assert after == before, "and nothing is left behind"
