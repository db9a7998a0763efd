# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled team: it loads by its name, does every task, and beats answers that do not look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from blender_addon.wire import ChannelImage, Submit
from engine_server import colour
from engine_server.library import usable
from engine_server.models import BUNDLED
from engine_server.runner import TaskRunner
from engine_server.tasks import TASKS
from engine_server.teamwork import RequestError, load_team
from engine_server.train.generate import as_material, truth
from engine_server.train.generate_camera import photograph
from engine_server.train.generate_lights import random_flash
from engine_server.train.generate_procedural import procedural_material
from engine_server.train.render import render_flash

SIDE = 128


@pytest.fixture(scope="module")
def nano():
    """The team for materials."""
    return load_team("nano")


def samples(count: int) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Photos under flash of procedural surfaces, and their maps, 0..1; of seeds that training does not use."""
    made = []
    for seed in range(count):
        random = np.random.default_rng([987654321, seed])
        maps = procedural_material(random, SIDE)
        radiance = render_flash(as_material(maps), random_flash(random)).permute(1, 2, 0).numpy()
        made.append((photograph(radiance, random), {n: np.float32(v) / 255 for n, v in truth(maps).items()}))
    return made


def rmse(a, b) -> float:
    """Root of the mean squared difference; a grey map may have one component."""
    b = b[..., None] if b.ndim == 2 else b
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_albedo_of_unseen_surfaces_beats_the_mean_and_the_photo(nano):
    mean = np.float32(json.loads((BUNDLED / "nano" / "naive_means.json").read_text())["albedo"])
    errors = {"team": [], "mean": [], "photo": []}
    for photo, maps in samples(12):
        made = nano.run({"image": photo}, ["albedo"])["albedo"]
        errors["team"].append(rmse(made, maps["albedo"]))
        errors["mean"].append(rmse(np.broadcast_to(mean, made.shape), maps["albedo"]))
        errors["photo"].append(rmse(np.float32(photo) / 255, maps["albedo"]))
    average = {name: np.mean(values) for name, values in errors.items()}
    assert average["team"] < average["mean"] and average["team"] < average["photo"], average


def test_it_makes_what_it_says_and_names_it(nano):
    picture = np.random.default_rng(0).random((70, 90, 3), np.float32)
    made = nano.run({"image": picture}, "all")
    assert set(made) == set(nano.config.outputs) >= {"albedo", "normals", "roughness", "metalness"}
    assert all(channel.shape == (70, 90, 3) for channel in made.values())
    with pytest.raises(RequestError, match="it makes albedo, metalness, normals, roughness"):
        nano.run({"image": picture}, ["specular"])


def test_it_answers_in_one_step_from_what_it_is_given_alone():
    nano, picture = load_team("nano", "scenes.safetensors"), np.random.default_rng(0).random((64, 64, 3), np.float32)
    first, again = (nano.run({"image": picture}, ["normals"], seed=seed)["normals"] for seed in (4, 5))
    assert np.array_equal(first, again)
    with pytest.raises(RequestError, match="trained for at most 1"):
        nano.run({"image": picture}, ["normals"], steps=2)


def test_a_map_that_is_given_changes_the_others(nano):
    photo, maps = samples(1)[0]
    alone = nano.run({"image": photo}, ["roughness"])["roughness"]
    helped = nano.run({"image": photo, "albedo": maps["albedo"]}, ["roughness"])["roughness"]
    assert 0.001 < np.abs(alone - helped).mean() < 0.2


@pytest.mark.parametrize("task", ["material", "decompose", "shade"])
def test_every_task_runs_on_it(task):
    random = np.random.default_rng(0)
    inputs = {"image": ChannelImage(random.random((96, 64, 3), np.float32), "scene-linear")}
    if task == "shade":
        inputs["albedo"] = ChannelImage(random.random((96, 64, 3), np.float32), "scene-linear")
        inputs["normals"] = ChannelImage(np.zeros((96, 64, 3), np.float32) + np.float32([0, 0, 1]), "camera-normal")
        inputs["depth"] = ChannelImage(np.full((96, 64, 1), 3, np.float32), "data")
        inputs |= {n: ChannelImage(np.full((96, 64, 1), 0.5, np.float32), "data") for n in ("roughness", "metalness")}
    made, info = TaskRunner().run(Submit("j", task, "nano", inputs, (), {}), lambda *step: None)
    assert set(made) == set(TASKS[task].outputs) and info["steps"] == 1
    assert all(np.isfinite(output.data).all() and output.data.shape[:2] == (96, 64) for output in made.values())


def test_a_photo_that_is_far_too_dark_does_not_become_shining_metal():
    """The photos of dull surfaces, two hundredths as bright."""
    dull = [photo for photo, maps in samples(12) if maps["metalness"].max() < 0.1]
    made = []
    for photo in dull:
        image = ChannelImage(colour.display_decode(np.float32(photo) / 255) * np.float32(0.02), "scene-linear")
        made.append(TaskRunner().run(Submit("j", "material", "nano", {"image": image}, ("metalness",), {}), lambda *step: None)[0])
    metal = [each["metalness"].data.mean() for each in made]
    assert len(dull) >= 5 and np.mean(metal) < 0.1, metal


def test_shading_takes_the_noise_out():
    """A grey sphere's worth of light, seen through noise as of few samples: the answer is nearer to the truth."""
    random = np.random.default_rng(3)
    side = np.linspace(-1, 1, SIDE, dtype=np.float32)
    x, y = np.meshgrid(side, -side)
    z = np.sqrt(np.clip(1.2 - x**2 - y**2, 0.05, None))
    normals = np.stack([x, y, z], -1) / np.sqrt(x**2 + y**2 + z**2)[..., None]
    light = np.clip(normals @ np.float32([0.4, 0.5, 0.77]), 0.02, None)[..., None]
    albedo = np.broadcast_to(np.float32([0.5, 0.4, 0.3]), normals.shape)
    clean = albedo * light
    noisy = clean * random.gamma(2.0, 0.5, (*clean.shape[:2], 1)).astype(np.float32)  # a sample carries light of all colours
    inputs = {
        "image": ChannelImage(np.float32(noisy), "scene-linear"),
        "albedo": ChannelImage(np.ascontiguousarray(albedo), "scene-linear"),
        "normals": ChannelImage(np.float32(normals), "camera-normal"),
    }
    made, _ = TaskRunner().run(Submit("j", "shade", "nano", inputs, (), {}), lambda *step: None)
    encoded = [colour.display_encode(image) for image in (made["image"].data, noisy, clean)]
    assert rmse(encoded[0], encoded[2]) < rmse(encoded[1], encoded[2])


def test_the_catalogue_tells_its_licence_and_size():
    info = next(model for model in usable() if model.name == "nano")
    assert info.licence == "GPL-3.0-or-later" and info.size_bytes <= 48 * 2**20 and info.default_steps == 1
    assert {"image.in", "albedo.out", "inverseshading.out", "diffuseshading.out"} <= set(info.teammates)
    assert (Path(BUNDLED) / "nano" / "MODEL_CARD.md").exists()
