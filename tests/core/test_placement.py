# SPDX-License-Identifier: GPL-3.0-or-later
"""How a base lives on its device changes what it costs, never what it answers: offload, VAE memory, batches, compiling."""

from __future__ import annotations

from collections import Counter

import accelerate
import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from engine_server.diffusion import base as seam
from engine_server.teamwork import RequestError, load_team
from engine_server.teamwork.inject import adapters

from .texts import tiny_pipeline
from .tiny import tiny_adapter, tiny_base


@pytest.fixture
def wide():
    """A picture of more pixels than the tiny VAE's tiles."""
    return np.random.default_rng(0).random((52, 88, 3), np.float32)


def test_the_vae_can_work_in_tiles_and_on_one_picture_at_a_time(sd3, adapter, wide):
    plain, sliced, tiled = (load_team(sd3, adapter, **o) for o in ({}, {"vae_slicing": True}, {"vae_tiling": True}))
    tiled.base.vae.tile_latent_min_size, tiled.base.vae.tile_sample_min_size = 16, 32
    decoded, decode = [], tiled.base.vae.decoder.forward
    tiled.base.vae.decoder.forward = lambda z: (decoded.append(z.shape), decode(z))[1]
    expected, same, near = (t.run({"image": wide}, ["albedo", "depth"], steps=1) for t in (plain, sliced, tiled))
    for name in expected:
        np.testing.assert_allclose(same[name], expected[name], atol=1e-5)
        assert near[name].shape == wide.shape and np.abs(near[name] - expected[name]).mean() < 0.1
    assert len(decoded) > 2 and max(max(shape[-2:]) for shape in decoded) <= 16


def test_only_what_is_wanted_is_decoded_all_images_in_one_batch_and_in_several_where_they_are_large(sd3, adapter, photo):
    team = load_team(sd3, adapter)
    seen = []
    encode, decode = team.base.vae.encode, team.base.vae.decode
    team.base.vae.encode = lambda x, *a, **k: (seen.append(("encode", len(x))), encode(x, *a, **k))[1]
    team.base.vae.decode = lambda z, *a, **k: (seen.append(("decode", len(z))), decode(z, *a, **k))[1]
    images = [{"image": photo, "normals": photo[::-1]}, {"image": 1 - photo, "normals": photo}]
    whole = team.run(images, ["depth"], steps=1)
    assert seen == [("encode", 4), ("decode", 2)]
    seen.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seam, "AT_ONCE", 24 * 32)
        parts = team.run(images, ["depth"], steps=1)
    assert seen == [("encode", 1)] * 4 + [("decode", 1)] * 2
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a["depth"], b["depth"], atol=1e-5)


def test_latents_are_the_mode_of_the_posterior_or_a_seeded_sample(sd3, adapter, photo):
    team = load_team(sd3, adapter)
    mode, again = (team.run({"image": photo}, ["albedo"], steps=1)["albedo"] for _ in range(2))
    one, same, other = (
        team.run({"image": photo}, ["albedo"], steps=1, encoding="sample", noise=zeros(photo), seed=seed)["albedo"]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(mode, again) and np.array_equal(one, same) and not np.array_equal(one, other)
    several = team.run([{"image": photo}] * 2, ["albedo"], steps=1, encoding="sample", noise=zeros(photo), seed=1)
    for made, alone in zip(several, (one, other), strict=True):
        np.testing.assert_allclose(made["albedo"], alone, atol=1e-5)
    with pytest.raises(RequestError, match="encoding is 'mean'; expected mode or sample"):
        team.run({"image": photo}, encoding="mean")


def zeros(photo):
    return {"albedo": np.zeros((4, *(-(-side // 4) * 2 for side in photo.shape[:2])), np.float32)}


@pytest.mark.parametrize("family", ["SD3", "SDXL"])
def test_offloaded_parts_answer_the_same_and_send_each_other_away(family, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("TEAMWORK_CACHE", str(tmp_path / "cache"))
    folder = tiny_pipeline(family, tmp_path)
    adapter = tiny_adapter(folder, tmp_path / "a.safetensors", profile=family)
    told = {"images": {"image": photo}, "request": ["albedo"], "steps": 1, "prompt": "a wall", "guidance": 3}
    expected = load_team(folder, adapter).run(**told)["albedo"]
    team, used = load_team(folder, adapter, offload=True), []
    for name, part in (("network", team.base.network), ("vae", team.base.vae)):
        hook = part._hf_hook
        assert hook.prev_module_hook.model is (team.base.vae if name == "network" else team.base.network)
        before = hook.pre_forward
        hook.pre_forward = lambda *a, name=name, before=before, **k: (used.append(name), before(*a, **k))[1]
    sent, offload = [], accelerate.hooks.UserCpuOffloadHook.offload
    monkeypatch.setattr(accelerate.hooks.UserCpuOffloadHook, "offload", lambda h: (sent.append(h.model), offload(h))[1])
    assert np.array_equal(team.run(**told)["albedo"], expected)
    assert used == ["vae", "network", "vae"]
    assert sent == [team.base.network, team.base.vae]  # while the text encoders worked
    assert team.base.device == torch.device("cpu")


@pytest.fixture
def counter(monkeypatch):
    """A backend of `torch.compile` that runs what it is given, and counts it; no compiler is needed."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    made = CompileCounter()
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile(*a, **(k | {"backend": made})))
    yield made
    torch._dynamo.reset()


@pytest.mark.parametrize("profile", ["SDXL", "SD3", "SD3_PLUSATTN", "FLUX_PLUSATTN", "FLUX2_PLUSATTN", "ZIMAGE_PLUSATTN"])
def test_blocks_compile_whole_and_once_for_each_shape(profile, photo, tmp_path, counter):
    folder = tiny_base(profile.removesuffix("_PLUSATTN"), tmp_path)
    adapter = tiny_adapter(folder, tmp_path / "a.safetensors", profile=profile)
    plain, team = (load_team(folder, adapter, compile=compile) for compile in (False, True))
    made = team.run({"image": photo}, ["albedo"], steps=2)["albedo"]
    np.testing.assert_allclose(made, plain.run({"image": photo}, ["albedo"], steps=2)["albedo"], atol=2e-5)
    graphs = counter.frame_count
    assert graphs and not torch._dynamo.utils.counters["graph_break"]
    for request in (["depth"], ["normals"]):  # other teammates, as many of them
        np.testing.assert_allclose(
            team.run({"image": 1 - photo}, request, steps=2, seed=1)[request[0]],
            plain.run({"image": 1 - photo}, request, steps=2, seed=1)[request[0]],
            atol=2e-5,
        )
    assert counter.frame_count == graphs


def test_each_parameter_is_gathered_once_a_run(sd3, adapter, photo, monkeypatch):
    team = load_team(sd3, adapter)
    gathered = Counter()
    for path, each in adapters(team.base.network).items():
        gather = each._gathered
        monkeypatch.setattr(each, "_gathered", lambda a, p=path, g=gather: (gathered.update([p]), g(a))[1])
    team.run({"image": photo}, ["albedo"], steps=3, guidance=3)
    team.run({"image": photo}, ["albedo"], steps=1)
    assert len(gathered) == len(adapters(team.base.network)) and set(gathered.values()) == {1}
