# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks with a tiny real team: through the engine, and directly over odd pictures."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from blender_addon.wire import ENDS, Cancelled, ChannelImage, JobFailed, Progress, Submit
from engine_server.errors import TaskError
from engine_server.fitting import within
from engine_server.library import Unavailable, locate
from engine_server.models import team_info
from engine_server.runner import TaskRunner
from engine_server.tasks import TASKS
from engine_server.worker import PREVIEW_SIDE
from tests.core.tiny import tiny_adapter

from .conftest import ALL, end_of, everything_until, picture, submit, wait_for


@pytest.fixture(scope="module")
def runner(models):
    """A runner, and the tiny team's name for it."""
    return TaskRunner(), str(models / 'tiny')


def ask(runner, task: str, inputs: dict, outputs: tuple = (), **options):
    """Run a job directly."""
    return runner[0].run(Submit("j", task, runner[1], inputs, outputs, options), lambda *step: None)


def g_buffers(height: int = 20, width: int = 24) -> dict[str, ChannelImage]:
    """A scene's channels with a background on top."""
    random = np.random.default_rng(3)
    depth = random.uniform(1, 9, (height, width, 1)).astype(np.float32)
    depth[:5] = 1e10
    normals = np.zeros((height, width, 3), np.float32) + np.float32([0, 0, 1])
    unit = {n: random.random((height, width, 1), np.float32) for n in ("roughness", "metalness")}
    return {
        "image": ChannelImage(random.random((height, width, 3), np.float32) * 3, "scene-linear"),
        "albedo": ChannelImage(random.random((height, width, 3), np.float32), "scene-linear"),
        "normals": ChannelImage(normals, "camera-normal"),
        "depth": ChannelImage(depth, "data"),
        **{n: ChannelImage(v, "data") for n, v in unit.items()},
    }


def test_material_over_the_wire(client):
    result = client.run(submit("m1", "material", seed=5), timeout=180)
    assert set(result.outputs) == {"albedo", "roughness", "metalness", "normals", "height"}
    assert result.outputs["normals"].space == "tangent-normal"
    assert np.allclose(np.linalg.norm(result.outputs["normals"].data, axis=-1), 1, atol=1e-3)
    assert result.info["height_scale"] > 0 and result.info["seed"] == 5 and result.info["steps"] == 2
    assert 0 < result.info["computing"] <= result.info["seconds"]
    assert result.info["model"] == "tiny" and len(result.info["model_hash"]) >= 8


def test_the_same_seed_gives_the_same_material(client):
    results = [client.run(submit(f"s{i}", "material", ("albedo",), seed=i // 2), timeout=180) for i in range(3)]
    a, b, c = (r.outputs["albedo"].data for r in results)
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_what_the_task_or_the_team_cannot_make_is_named_with_what_it_can(client):
    with pytest.raises(JobFailed, match=r"makes albedo, roughness, metalness, normals, height; 'specular' was requested"):
        client.run(submit("c1", "material", ("specular",)), timeout=180)
    with pytest.raises(JobFailed, match=r"^This (team|model) \w+.* albedo, normals\.") as caught:
        client.run(submit("c2", "material", ("albedo", "roughness"), model="few"), timeout=180)
    assert "roughness" in caught.value.args[0] and "\n" not in caught.value.args[0]
    assert client.run(submit("c3", "material", ("height",), model="few"), timeout=180).outputs["height"]


def test_a_model_shows_its_work_while_it_works(client):
    seen: list[Progress] = []
    client.run(submit("p1", "material", ("albedo",), steps=8), on_progress=seen.append, timeout=180)
    assert seen[0].stage == "loading" and seen[0].total == 0
    steps = [(p.step, p.total) for p in seen[1:]]
    assert steps == [(i, 8) for i in range(1, 9)] and any(p.seconds_left is not None for p in seen)


def test_a_model_shows_what_it_has_made_so_far(client):
    """In a job that takes some seconds: what would be gone at once, or take too much of a job's time, is not shown."""
    client.submit(submit("p2", "material", ("albedo",), steps=1000))
    previews: list[ChannelImage] = []

    def shown() -> bool:
        news = client.poll(1.0)
        previews.extend([news.preview] if isinstance(news, Progress) and news.preview is not None else [])
        return bool(previews)

    wait_for(shown)
    client.cancel("p2")
    assert isinstance(end_of(client, "p2"), Cancelled)
    client.acknowledge("p2")
    preview = previews[0]
    assert preview.space == "scene-linear" and preview.data.shape[2] == 3
    assert np.isfinite(preview.data).all() and preview.data.min() >= 0 and preview.data.max() <= 1


def test_a_computing_model_is_cancelled_and_stays_warm(client):
    client.submit(submit("x1", "material", ("albedo",), steps=1000))
    steps = [m.step for m in everything_until(client, Progress, "x1") if isinstance(m, Progress)]
    worker = client.status().worker_pid
    client.cancel("x1")
    seen = everything_until(client, ENDS, "x1")
    assert isinstance(seen[-1], Cancelled)
    assert max(steps + [m.step for m in seen if isinstance(m, Progress)]) < 1000
    assert client.run(submit("x2", "material", ("albedo",)), timeout=180).outputs
    assert client.status().worker_pid == worker


@pytest.mark.parametrize(
    ("name", "words"),
    [("cut", "cut short|whole"), ("bare", "metadata|Teamwork"), ("stranger", "made for SD2 tiny/SD2, but .* is a SD3")],
)
def test_a_damaged_checkpoint_is_one_sentence_and_harms_no_other_team(client, name, words):
    with pytest.raises(JobFailed, match=words) as caught:
        client.run(submit(f"d-{name}", "material", model=name), timeout=180)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".") and caught.value.code == "bad-request"
    assert client.run(submit(f"after-{name}", "material", ("albedo",)), timeout=180).outputs


@pytest.mark.parametrize(("shape", "small"), [((600, 300, 3), (256, 128)), ((20, 30, 3), (20, 30)), ((1, 1025, 1), (1, 256))])
def test_a_preview_is_small(shape, small):
    picture = np.random.default_rng(0).random(shape, np.float32)
    made = within(picture, PREVIEW_SIDE)
    assert made.shape == (*small, shape[2]) and made.mean() == pytest.approx(picture.mean(), abs=1e-3)


SHAPES = [(1, 1, 3), (1, 40, 3), (33, 70, 3), (17, 9, 1), (12, 12, 4), (12, 12, 2)]


@pytest.mark.parametrize("task", ["material", "decompose"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_and_any_components(runner, task, shape):
    image = ChannelImage(np.random.default_rng(1).random(shape, np.float32), "scene-linear")
    made, info = ask(runner, task, {"image": image})
    assert tuple(made) == TASKS[task].outputs and (info["height"], info["width"]) == shape[:2]
    for name, output in made.items():
        assert output.data.shape[:2] == shape[:2] and output.data.dtype == np.float32, name
        assert np.isfinite(output.data).all()


@pytest.mark.parametrize("size", [(1, 1), (33, 70)], ids=str)
def test_shading_at_any_size(runner, size):
    made, _ = ask(runner, "shade", g_buffers(*size))
    assert made["image"].data.shape == (*size, 3) and np.isfinite(made["image"].data).all()


def test_half_precision_is_taken(runner):
    image = picture()
    half = ChannelImage(image.data.astype(np.float16), "scene-linear")
    made, _ = ask(runner, "decompose", {"image": half})
    assert all(np.isfinite(output.data).all() for output in made.values())


def test_a_wide_picture_comes_back_at_the_largest_size(runner):
    image = ChannelImage(np.full((10, 8000, 3), 0.5, np.float32), "scene-linear")
    made, info = ask(runner, "material", {"image": image}, ("roughness",))
    assert made["roughness"].data.shape == (5, 4096, 1) and (info["width"], info["height"]) == (4096, 5)


def test_nan_and_infinities_are_survived(runner):
    values = np.random.default_rng(1).random((16, 16, 3)).astype(np.float32)
    values[0, 0], values[1, 1], values[2, 2] = np.nan, np.inf, -np.inf
    made = [ask(runner, task, {"image": ChannelImage(values, "scene-linear")})[0] for task in ("material", "decompose")]
    assert all(np.isfinite(output.data).all() for outputs in made for output in outputs.values())


@pytest.mark.parametrize("brightness", [0.5, 20.0])
def test_the_parts_add_up_to_the_image(runner, brightness):
    image = ChannelImage(np.random.default_rng(2).random((18, 22, 3), np.float32) * np.float32(brightness), "scene-linear")
    made, _ = ask(runner, "decompose", {"image": image})
    assert set(made) == set(TASKS["decompose"].outputs)
    parts = {name: output.data for name, output in made.items()}
    whole = parts["albedo"] * (1 - parts["metalness"]) * parts["diffuseshading"] + parts["residual"]
    assert np.allclose(whole, image.data, atol=1e-4 * brightness)
    assert made["normals"].space == "camera-normal"


@pytest.mark.parametrize("components", [1, 2, 3, 4])
def test_a_bright_picture_of_any_components_is_exposed_by_its_light_alone(runner, components):
    values = np.full((12, 16, components), 4.0, np.float32)
    if components in (2, 4):
        values[..., -1] = 9.0  # alpha
    _, info = ask(runner, "material", {"image": ChannelImage(values, "scene-linear")}, ("albedo",))
    assert info["exposure"] == pytest.approx(0.2, rel=1e-4)


def test_how_dark_a_render_is_does_not_change_how_it_is_shaded(runner):
    buffers = g_buffers()
    light = np.full_like(buffers["image"].data, 0.25)
    light[::3] = 0.1
    made = []
    for factor in (1.0, 0.125):
        buffers["image"] = ChannelImage(light * np.float32(factor), "scene-linear")
        outputs, info = ask(runner, "shade", buffers)
        made.append(outputs["image"].data / factor)
        assert info["exposure"] == pytest.approx(1.0 / factor, rel=1e-4)
    assert np.allclose(*made, rtol=1e-3, atol=1e-4)


def test_how_dark_a_picture_is_does_not_change_what_it_is_taken_apart_into(runner):
    light = np.random.default_rng(2).uniform(0.05, 0.25, (20, 24, 3)).astype(np.float32)
    light[light > 0.24] = 0.25
    bright, dark = (ask(runner, "decompose", {"image": ChannelImage(light * np.float32(f), "scene-linear")})[0] for f in (1.0, 0.125))
    for name in ("albedo", "normals", "depth", "roughness"):
        assert np.allclose(bright[name].data, dark[name].data, atol=2e-3), name
    assert np.allclose(bright["diffuseshading"].data, dark["diffuseshading"].data * 8.0, atol=2e-3)


def test_shading_keeps_the_background_and_makes_the_rest(runner):
    buffers = g_buffers()
    made, _ = ask(runner, "shade", buffers)
    assert np.array_equal(made["image"].data[:5], buffers["image"].data[:5])
    assert not np.allclose(made["image"].data[5:], buffers["image"].data[5:])


def test_a_shaded_picture_is_as_transparent_as_its_render(runner):
    buffers, alpha = g_buffers(), np.random.default_rng(1).random((20, 24, 1), np.float32)
    opaque = ask(runner, "shade", buffers)[0]["image"].data
    seen = ChannelImage(np.concatenate([buffers["image"].data, alpha], -1), "scene-linear")
    made = ask(runner, "shade", buffers | {"image": seen})[0]["image"].data
    assert np.array_equal(made[..., 3:], alpha) and np.array_equal(made[..., :3], opaque)


def test_shading_keeps_what_shines_and_reflects_nothing(runner):
    buffers = g_buffers()
    albedo, light = buffers["albedo"].data.copy(), buffers["image"].data.copy()
    albedo[8:12, 4:9], light[8:12, 4:9] = 0.0, (5.0, 4.0, 0.5)
    buffers |= {"albedo": ChannelImage(albedo, "scene-linear"), "image": ChannelImage(light, "scene-linear")}
    for given in (buffers, {name: each for name, each in buffers.items() if name != "depth"}):
        made = ask(runner, "shade", given)[0]["image"].data
        assert np.allclose(made[8:12, 4:9], (5.0, 4.0, 0.5)) and not np.allclose(made[13:], light[13:])


def test_given_maps_are_kept(runner):
    given = ChannelImage(np.full((16, 16, 1), 0.25, np.float32), "data")
    inputs = {"image": picture(16, 16), "roughness": given}
    made, _ = ask(runner, "material", inputs, ("roughness", "albedo"))
    assert np.array_equal(made["roughness"].data, given.data)


@pytest.mark.parametrize(
    ("task", "inputs", "words"),
    [
        ("material", {}, "needs the channel 'image'"),
        ("decompose", {"albedo": picture()}, "takes image; 'albedo' was given"),
        ("shade", {"image": picture()}, "needs the channel 'albedo'"),
        ("material", {"image": picture(), "albedo": picture(5, 5)}, "differ in their proportions"),
        ("shade", {"albedo": picture(), "image": picture(24, 40)}, "differ in size"),
        ("material", {"image": ChannelImage(np.zeros((4, 4, 3), np.float32), "data")}, "tagged 'data'"),
    ],
)
def test_a_wrong_input_is_one_sentence(runner, task, inputs, words):
    with pytest.raises(TaskError, match=words):
        ask(runner, task, inputs)


@pytest.mark.parametrize(
    "options",
    [
        *({"steps": steps} for steps in (-1, 1001, "many", True)),
        *({"size": -5}, {"exposure": 1e9}, {"fov": 180}, {"seamless": 3}),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_one_sentence(runner, options):
    with pytest.raises(TaskError, match=rf"The option {next(iter(options))} is .*; expected a number in"):
        ask(runner, "material", {"image": picture()}, **options)


def test_teams_are_located_by_name(models, monkeypatch):
    monkeypatch.setenv("TEAMWORK_MODELS", str(models))
    assert locate("tiny").base == str(models / "tiny")
    with pytest.raises(Unavailable, match="no model 'unknown'"):
        locate("unknown")
    assert json.loads((models / "tiny" / "team.json").read_text())["native_size"] == 16


def test_teams_of_a_folder_given_on_the_command_line_run(launch, models, tmp_path, monkeypatch):
    shutil.copytree(models / "tiny", tmp_path / "more" / "other")
    with launch("--models", str(tmp_path / "more")).client() as client:
        assert client.run(submit("o", "material", ("albedo",), model="other"), timeout=180).outputs


def test_a_task_takes_the_adapter_that_is_meant_for_it(models, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(models / "tiny", folder)
    tiny_adapter(folder / "base", folder / "scenes.safetensors", teammates=("image.in", "albedo.in", "inverseshading.out"))
    (folder / "team.json").write_text('{"default_steps": 1, "adapters": {"shade": "scenes.safetensors"}}')
    runner = TaskRunner()
    for task, inputs in (("material", {"image": picture()}), ("shade", g_buffers())):
        runner.run(Submit("j", task, str(folder), inputs, (), {}), lambda *step: None)
    assert [team.teammates for team in runner.warm.teams] == [ALL, ("image.in", "albedo.in", "inverseshading.out")]
    assert "inverseshading.out" in team_info(folder).teammates
