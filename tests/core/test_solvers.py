# SPDX-License-Identifier: GPL-3.0-or-later
"""Solvers: each finds the way through the noise where it is known exactly; a team takes each on every base."""

import diffusers
import numpy as np
import pytest
import torch

from engine_server.diffusion.loading import load_base
from engine_server.diffusion.sampling import Cast, sample
from engine_server.diffusion.solvers import SOLVERS, scheduler_for
from engine_server.teamwork import RequestError, load_team

from .tiny import FAMILIES, tiny_adapter, tiny_base

SPREAD = 0.5
"""Standard deviation of the data of an exact network: all pictures are Gaussian noise around zero."""


def exact_flow(latents, timestep, conditions):
    """The expected velocity where x = (1 - t) clean + t noise."""
    t = timestep / 1000
    return latents * (t - (1 - t) * SPREAD**2) / ((1 - t) ** 2 * SPREAD**2 + t**2)


def exact_diffusion(scheduler):
    """The expected noise where x = sqrt(a) clean + sqrt(1 - a) noise."""
    alphas = scheduler.alphas_cumprod

    def noise(latents, timestep, conditions):
        a = alphas[round(float(timestep))]
        return latents * (1 - a).sqrt() / (a * SPREAD**2 + 1 - a)

    return noise


def error(base, start, end, solver, steps):
    latents = sample(base, Cast((False,)), torch.empty(0), start, {}, steps, None, solver)
    return float((latents - end).abs().max())


@pytest.mark.parametrize("family", ["SD3", "FLUX", "FLUX2", "ZIMAGE"])
def test_on_flows(family, tmp_path):
    base = load_base(tiny_base(family, tmp_path))
    base.predict = exact_flow
    start = torch.linspace(-2, 2, 64).view(1, 1, 4, 4, 4)
    errors = {s: [error(base, start, start * SPREAD, s, n) for n in (20, 160)] for s in SOLVERS}
    assert all(many < few / 4 and many < 0.02 for few, many in errors.values()), errors
    assert max(errors["heun"][0], errors["dpm++"][0]) < 0.75 * errors["euler"][0], errors


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0),
        diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ],
)
def test_on_flows_that_came_with_another_scheduler(scheduler, tmp_path):
    folder = tiny_base("SD3", tmp_path)
    usual = [s.sigmas for s in (scheduler_for(load_base(folder), solver, 5, torch.zeros(1, 4, 4, 4)) for solver in SOLVERS)]
    scheduler.save_pretrained(folder / "scheduler")
    base = load_base(folder)
    for solver, sigmas in zip(SOLVERS, usual, strict=True):
        torch.testing.assert_close(scheduler_for(base, solver, 5, torch.zeros(1, 4, 4, 4)).sigmas, sigmas)
    base.predict = exact_flow
    start = torch.linspace(-2, 2, 64).view(1, 1, 4, 4, 4)
    assert all(error(base, start, start * SPREAD, solver, 160) < 0.02 for solver in SOLVERS)


SETTINGS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}


def team_with(scheduler, folder):
    """A tiny SD2 team whose base came with another scheduler."""
    base = tiny_base("SD2", folder / "base")
    adapter = tiny_adapter(base, folder / "team.safetensors", profile="SD2")
    scheduler.save_pretrained(base / "scheduler")
    return load_team(base, adapter)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (diffusers.PNDMScheduler, {"skip_prk_steps": True}),
        *((kind, {}) for kind in (diffusers.LCMScheduler, diffusers.DDPMScheduler, diffusers.EulerAncestralDiscreteScheduler)),
        (diffusers.DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    ],
)
def test_other_schedulers_show_their_steps_and_repeat_for_a_seed(kind, own, tmp_path, photo):
    team, seen = team_with(kind(**SETTINGS, **own), tmp_path), []

    def run(seed=0, request=("albedo",), images=None, on_step=None):
        return team.run(images or {"image": photo}, list(request), steps=5, seed=seed, on_step=on_step)

    first = run(on_step=lambda done, total, preview: seen.append(preview()))["albedo"]
    assert len(seen) >= 5 and all(np.isfinite(picture).all() and picture.shape[2] == 3 for picture in seen)
    assert np.array_equal(first, run()["albedo"]) and not np.allclose(first, run(seed=1)["albedo"], atol=1e-3)
    batch = run(images=[{"image": photo}, {"image": 1 - photo}])
    assert np.allclose(batch[0]["albedo"], first, atol=1e-4)
    assert np.allclose(batch[1]["albedo"], run(seed=1, images={"image": 1 - photo})["albedo"], atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (diffusers.DEISMultistepScheduler, {}),
        (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
        (diffusers.UniPCMultistepScheduler, {"predict_x0": False}),
        (diffusers.UniPCMultistepScheduler, {}),
    ],
)
@pytest.mark.filterwarnings("ignore")  # diffusers would rather not have "dpmsolver" any more
def test_the_last_preview_is_the_picture_whatever_a_scheduler_keeps(kind, own, tmp_path, photo):
    team, seen = team_with(kind(**{k: v for k, v in SETTINGS.items() if k != "steps_offset"}, **own), tmp_path), []
    made = team.run({"image": photo}, ["albedo"], steps=6, on_step=lambda done, total, preview: seen.append(preview()))
    np.testing.assert_allclose(seen[-1][: photo.shape[0], : photo.shape[1]], made["albedo"], atol=0.05)


@pytest.mark.parametrize("solver", SOLVERS)
def test_on_diffusion(solver, tmp_path):
    base = load_base(tiny_base("SD2", tmp_path))
    base.predict = exact_diffusion(base.template)
    start = torch.linspace(-2, 2, 64).view(1, 1, 4, 4, 4)
    a = base.template.alphas_cumprod[-1]
    noisy = start if solver == "dpm++" else start * (1 - a).sqrt()  # the others begin with noise alone, as large as it is
    end = noisy * SPREAD / (a * SPREAD**2 + 1 - a).sqrt()
    errors = [error(base, start, end, solver, n) for n in (10, 40)]
    assert errors[1] < errors[0] / 2 and errors[1] < 0.1


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_team_takes_each(family, solver, tmp_path, photo):
    base = tiny_base(family, tmp_path)
    team = load_team(base, tiny_adapter(base, tmp_path / "a.safetensors", profile=family))
    seen = []
    keep = lambda done, total, view: seen.append((done, total, view()))  # noqa: E731
    made = team.run({"image": photo}, ["albedo"], steps=3, solver=solver, on_step=keep)["albedo"]
    assert made.shape == photo.shape and np.isfinite(made).all()
    asked = 5 if solver == "heun" else 3
    assert [done for done, _, _ in seen] == list(range(1, asked + 1)) and seen[-1][1] == asked
    np.testing.assert_allclose(seen[-1][2][: photo.shape[0], : photo.shape[1]], made, atol=1e-4)
    assert np.isfinite(team.run({"image": photo}, ["albedo"], steps=1, solver=solver)["albedo"]).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("family", ["SD2", "SD3"])
def test_spacing_is_trailing(family, solver, tmp_path):
    base = load_base(tiny_base(family, tmp_path))
    times = scheduler_for(base, solver, 4, torch.zeros(1, 4, 8, 8)).timesteps.unique().tolist()[::-1]
    shifted = [1000 * 3 * s / (1 + 2 * s) for s in (1, 0.75, 0.5, 0.25)]
    assert times == pytest.approx([999, 749, 499, 249] if family == "SD2" else shifted)


def test_an_unknown_solver_is_told(sd3, adapter, photo):
    with pytest.raises(RequestError, match="'rk4'; expected euler, heun, dpm"):
        load_team(sd3, adapter).run({"image": photo}, ["albedo"], solver="rk4")
