# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and materials from nothing, with tiny real teams: directly and through an engine."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from blender_addon.wire import ChannelImage, JobFailed, Submit
from engine_server.errors import TaskError
from engine_server.models import ModelError, adapter_for, team_info
from engine_server.runner import TaskRunner
from engine_server.seamless import border_ratio
from engine_server.teamwork import TeamError
from engine_server.teamwork.manner import Manner, manner_of

from .conftest import picture

MAPS = {"albedo", "roughness", "metalness", "normals", "height"}


@pytest.fixture(scope="module")
def runner():
    """One for all."""
    return TaskRunner()


def make(runner, models, inputs=None, outputs=(), model="maker", on_step=lambda *step: None, **options):
    """Run a job directly."""
    job = Submit("j", "synthesize", str(models / model), inputs or {}, outputs, options)
    return runner.run(job, on_step)


def test_a_picture_with_its_channels_comes_out_of_the_seed_alone(runner, models):
    steps = []
    made, info = make(runner, models, width=20, height=12, seed=4, on_step=lambda *step: steps.append(step[:2]))
    assert set(made) == {"image", "albedo", "roughness", "metalness", "normals", "depth", "diffuseshading"}
    assert all(output.data.shape[:2] == (12, 20) and np.isfinite(output.data).all() for output in made.values())
    assert made["normals"].space == "camera-normal" and made["image"].space == "scene-linear"
    assert steps == [(1, 3), (2, 3), (3, 3)] and (info["steps"], info["seed"]) == (3, 4)
    again, other = (make(runner, models, width=20, height=12, seed=seed)[0]["albedo"].data for seed in (4, 5))
    assert np.array_equal(made["albedo"].data, again) and not np.allclose(again, other, atol=1e-3)


def test_an_exposure_scales_a_picture_and_the_light_in_it_alike(runner, models):
    plain, brighter = (
        make(runner, models, outputs=("image", "diffuseshading", "albedo"), width=16, height=16, exposure=exposure)[0]
        for exposure in (0.0, 1.0)
    )
    for name, factor in (("image", 2.0), ("diffuseshading", 2.0), ("albedo", 1.0)):
        assert np.allclose(plain[name].data, brighter[name].data * factor, atol=1e-6), name


def test_without_a_size_it_is_the_models_own(runner, models):
    made, info = make(runner, models, outputs=("albedo",))
    assert made["albedo"].data.shape == (16, 16, 3) and (info["width"], info["height"]) == (16, 16)


def test_a_material_has_maps_of_a_surface_and_a_height(runner, models):
    made, info = make(runner, models, surface=1, width=16, height=16)
    assert set(made) == MAPS and made["normals"].space == "tangent-normal" and info["height_scale"] > 0
    few, _ = make(runner, models, model="few", surface=1, width=16, height=16)
    assert set(few) == {"albedo", "normals", "height"}, "what the team can make"
    with pytest.raises(TaskError, match="cannot make 'roughness'"):
        make(runner, models, model="few", outputs=("roughness",))


def test_seamless_maps_meet_at_their_borders(runner, models):
    def ratio(**options) -> float:
        made, info = make(runner, models, surface=1, width=48, height=40, outputs=("albedo",), **options)
        assert (info["height"], info["width"]) == (40, 48)
        return border_ratio(made["albedo"].data)

    assert ratio(seamless=1) < 1.6
    assert make(runner, models, surface=1, seamless=1, width=17, height=31)[0]["height"].data.shape == (31, 17, 1)


def test_given_channels_are_handed_back_and_say_the_size(runner, models):
    given = {"albedo": picture(12, 20)}
    made, _ = make(runner, models, given, surface=1)
    assert np.array_equal(made["albedo"].data, given["albedo"].data) and made["roughness"].data.shape == (12, 20, 1)
    other = {"albedo": ChannelImage(1 - given["albedo"].data, "scene-linear")}
    assert not np.allclose(make(runner, models, other, surface=1)[0]["roughness"].data, made["roughness"].data, atol=1e-4)


def test_a_prompt_without_text_encoders_is_one_sentence(runner, models):
    with pytest.raises(TaskError, match="no text encoders"):
        make(runner, models, prompt="a brick wall")
    with pytest.raises(TaskError, match="expected a text"):
        make(runner, models, prompt=3)
    with pytest.raises(TaskError, match="expected a number in 0 .. 4096"):
        make(runner, models, width=9000)


def test_a_task_takes_its_own_adapter_steps_and_start(models, runner):
    make(runner, models, outputs=("albedo",))
    runner.run(Submit("j", "material", str(models / "maker"), {"image": picture()}, ("albedo",), {}), lambda *step: None)
    plain, other = runner.warm.teams[-1], runner.warm.teams[-2]
    assert plain.fingerprint != other.fingerprint
    assert other.manner("synthesize") == Manner(3, False, "euler", "more.safetensors")
    assert plain.manner("material") == Manner(1, True) and adapter_for(str(models / "maker"), "synthesize") == "more.safetensors"


def test_facts_of_tasks_that_are_not_as_expected_are_one_sentence(models, tmp_path):
    assert manner_of({"adapters": {"shade": "s.safetensors"}, "default_steps": 4}, "shade") == Manner(4, adapter="s.safetensors")
    for tasks, words in (([], "not as expected"), ({"shade": {"step": 1}}, "step of the task"), ({"shade": {"steps": 0}}, "0 steps")):
        with pytest.raises(TeamError, match=words):
            manner_of({"tasks": tasks}, "shade")
    shutil.copytree(models / "maker", tmp_path / "odd")
    (tmp_path / "odd" / "team.json").write_text(json.dumps({"tasks": {"inpaint": {"steps": "many"}}}))
    with pytest.raises(ModelError, match="team.json.*steps of the task inpaint"):
        team_info(tmp_path / "odd")


def test_an_engine_says_who_can_and_refuses_those_who_cannot(client):
    can = {model.name: set(model.tasks) for model in client.hello().models}
    assert {"material", "synthesize", "inpaint"} <= can["maker"] and "inpaint" in can["tiny"]
    assert "synthesize" not in can["regressor"] and {"material", "inpaint"} <= can["regressor"]
    with pytest.raises(JobFailed, match="regressor cannot do the task synthesize.*models that can: .*maker") as caught:
        client.run(Submit("no", "synthesize", "regressor", {}, (), {}), timeout=60)
    assert caught.value.code == "unable"
    made = client.run(Submit("yes", "synthesize", "maker", {}, ("image", "albedo"), {"width": 16, "height": 16}), timeout=60)
    assert set(made.outputs) == {"image", "albedo"} and made.info["model_hash"]


def test_a_model_outside_the_lists_is_refused_before_it_works(runner, models):
    with pytest.raises(TaskError, match="cannot do the task synthesize: it answers what it is given"):
        make(runner, models, model="regressor")
