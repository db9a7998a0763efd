# SPDX-License-Identifier: GPL-3.0-or-later
"""One contract for every base: what a team promises holds on each, and the bare base samples as diffusers' own pipeline."""

import diffusers
import numpy as np
import pytest
import torch

from engine_server.diffusion.flux import pack, positions, unpack
from engine_server.diffusion.flux2 import empirical_shift
from engine_server.diffusion.loading import load_base
from engine_server.diffusion.sampling import Cast, sample
from engine_server.teamwork import TeamError, load_team
from engine_server.teamwork.checkpoint import save_checkpoint
from engine_server.teamwork.inject import adapters

from .tiny import FAMILIES, tiny_adapter, tiny_base


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return tiny_base(family, tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def team(folder, family, tmp_path_factory):
    return load_team(folder, tiny_adapter(folder, tmp_path_factory.mktemp("a") / "a.safetensors", profile=family))


def bare(folder, noise, height, width, steps):
    base = load_base(folder)
    with torch.no_grad():
        rows = torch.from_numpy(noise)[None, None]
        latents = sample(base, Cast((False,)), torch.empty(0), rows, base.conditions(1, height, width), steps, None)
        return (base.decode(latents[0])[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()


def test_an_untrained_team_equals_the_bare_base_bit_for_bit(folder, family, tmp_path):
    team = load_team(folder, tiny_adapter(folder, tmp_path / "zero.safetensors", scale=0.0, profile=family))
    noise = np.random.default_rng(1).standard_normal((4, 12, 16), np.float32)
    made = team.run({}, ["albedo"], steps=3, noise={"albedo": noise}, width=32, height=24)["albedo"]
    assert np.array_equal(made, bare(folder, noise, 24, 32, 3))


def test_any_size_and_any_subset(team, photo):
    everything = team.run({"image": photo}, "all", steps=2)
    assert {k: v.shape for k, v in everything.items()} == {n: photo.shape for n in ("albedo", "normals", "depth")}
    some = team.run({"image": photo, "normals": photo[::-1]}, ["depth"], steps=2)
    assert some["depth"].shape == photo.shape and np.isfinite(some["depth"]).all()
    assert np.abs(some["depth"] - everything["depth"]).max() > 1e-4


def test_the_input_reaches_the_output(team, photo):
    a, b = (team.run({"image": p}, ["albedo"], steps=2)["albedo"] for p in (photo, 1 - photo))
    assert np.abs(a - b).max() > 1e-3


def test_images_of_a_batch_do_not_leak_into_each_other(team, photo):
    pictures = [photo, 1 - photo, photo[::-1].copy()]
    batch = team.run([{"image": p} for p in pictures], ["albedo", "depth"], steps=2, seed=7)
    for index, picture in enumerate(pictures):
        alone = team.run({"image": picture}, ["albedo", "depth"], steps=2, seed=7 + index)
        for name, value in alone.items():
            np.testing.assert_allclose(batch[index][name], value, atol=2e-5)


def test_the_order_of_teammates_permutes_rows_and_nothing_else(team, folder, family, photo, tmp_path):
    names = team.teammates[::-1]
    other = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors", profile=family, teammates=names))
    theirs = adapters(team.base.network)
    for path, adapter in adapters(other.base.network).items():
        for name, parameter in adapter.named_parameters():
            parameter.data = getattr(theirs[path], name).data.flip(0).clone()
    a, b = (t.run({"image": photo}, "all", steps=1) for t in (team, other))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=2e-5)


def test_an_inactive_teammate_changes_nothing(folder, family, photo, tmp_path):
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors", profile=family))
    before = team.run({"image": photo}, ["depth"], steps=1)["depth"]
    absent = [team.teammates.index(name) for name in ("albedo.out", "normals.in", "normals.out")]
    for adapter in adapters(team.base.network).values():
        adapter.forget()
        for parameter in adapter.parameters():
            parameter.data[absent] = 1e3
    assert np.array_equal(team.run({"image": photo}, ["depth"], steps=1)["depth"], before)


def test_saving_and_loading_is_exact(team, folder, photo, tmp_path):
    save_checkpoint(tmp_path / "again.safetensors", team.base.network, team.config)
    again = load_team(folder, tmp_path / "again.safetensors")
    a, b = (t.run({"image": photo}, ["albedo"], steps=1)["albedo"] for t in (team, again))
    assert np.array_equal(a, b)


def test_previews_are_of_the_result_in_the_end(team, photo):
    views = []
    result = team.run({"image": photo}, ["albedo"], steps=3, on_step=lambda n, total, view: views.append(view()))
    np.testing.assert_allclose(views[-1][: photo.shape[0], : photo.shape[1]], result["albedo"], atol=1e-4)


PIPELINES = {
    "SD3": lambda b: (
        diffusers.StableDiffusion3Pipeline(b.network, b.template, b.vae, None, None, None, None, None, None),
        {"prompt_embeds": b.prompt.prompt_embeds, "pooled_prompt_embeds": b.prompt.pooled_prompt_embeds, "guidance_scale": 1.0},
    ),
    "SD2": lambda b: (
        diffusers.StableDiffusionPipeline(b.vae, None, None, b.network, b.template, None, None, None, False),
        {"prompt_embeds": b.prompt.prompt_embeds, "guidance_scale": 1.0},
    ),
    "ZIMAGE": lambda b: (
        diffusers.ZImagePipeline(b.template, b.vae, None, None, b.network),
        {"prompt_embeds": [b.prompt.prompt_embeds[0]], "guidance_scale": 0.0},
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_loop_samples_as_the_pipeline_of_diffusers(name, tmp_path):
    """SDXL, FLUX and FLUX.2 differ on purpose (time ids, shift), as the released teams want it; see the tests below."""
    assert_samples_as_the_pipeline(name, tiny_base(name, tmp_path))


@pytest.mark.parametrize("kind", [diffusers.DDIMScheduler, diffusers.PNDMScheduler])
@pytest.mark.filterwarnings("ignore")  # diffusers says that it puts them right
def test_outdated_schedulers_are_put_right_as_the_pipeline_does(kind, tmp_path):
    """Clipped to -1..1, as their defaults have it, latents make pale pictures."""
    folder = tiny_base("SD2", tmp_path)
    kind(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(folder / "scheduler")
    assert_samples_as_the_pipeline("SD2", folder)


def assert_samples_as_the_pipeline(name, folder):
    noise = np.random.default_rng(1).standard_normal((4, 12, 16), np.float32)
    pipeline, prompt = PIPELINES[name](load_base(folder))
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        **prompt, latents=torch.from_numpy(noise)[None], num_inference_steps=4,
        height=24, width=32, output_type="np",
    ).images[0]  # fmt: skip
    np.testing.assert_allclose(bare(folder, noise, 24, 32, 4), expected, atol=2e-5)


def test_an_sd3_whose_schedule_shifts_with_the_size_samples_as_its_pipeline(tmp_path, photo):
    folder = tiny_base("SD3", tmp_path)
    diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
    assert_samples_as_the_pipeline("SD3", folder)
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors"))
    assert np.isfinite(team.run({"image": photo}, ["albedo"], steps=2, solver="euler")["albedo"]).all()


def test_the_schedule_of_zimage_shifts_with_the_tokens(tmp_path):
    base = load_base(tiny_base("ZIMAGE", tmp_path))
    small, large = (base.schedule(5, torch.zeros(1, 4, n, n)).sigmas for n in (8, 32))
    assert small[0] == large[0] == 1 and (large[1:5] > small[1:5]).all()
    assert base.schedule(1, torch.zeros(1, 4, 8, 8)).sigmas.tolist() == [1, 0]


def test_flux2_samples_as_its_pipeline_where_tokens_are_as_many_as_channels(tmp_path):
    """Elsewhere the shift differs on purpose: teams are sampled with the one for the channel count."""
    folder = tiny_base("FLUX2", tmp_path)
    base, noise = load_base(folder), np.random.default_rng(1).standard_normal((4, 4, 4), np.float32)
    pipeline = diffusers.Flux2KleinPipeline(base.template, base.vae, None, None, base.network, is_distilled=True)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt_embeds=base.prompt.prompt_embeds, latents=pipeline._patchify_latents(torch.from_numpy(noise)[None]),
        num_inference_steps=4, height=8, width=8, output_type="np",
    ).images[0]  # fmt: skip
    np.testing.assert_allclose(bare(folder, noise, 8, 8, 4), expected, atol=2e-5)
    sigmas = [base.schedule(4, torch.zeros(1, 4, n, n)).sigmas for n in (8, 64)]
    assert torch.equal(*sigmas)


def test_flux2_dev_is_told_guidance_as_by_its_pipeline(tmp_path):
    folder, kind = tiny_base("FLUX2", tmp_path), diffusers.Flux2Transformer2DModel
    torch.manual_seed(0)
    kind.from_config(kind.load_config(folder / "transformer") | {"guidance_embeds": True}).save_pretrained(folder / "transformer")
    base, noise = load_base(folder), np.random.default_rng(1).standard_normal((4, 4, 4), np.float32)
    pipeline = diffusers.Flux2Pipeline(base.template, base.vae, None, None, base.network)
    pipeline.set_progress_bar_config(disable=True)
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors", scale=0.0, profile="FLUX2"))
    for guidance in (None, 9.0):
        expected = pipeline(
            prompt_embeds=base.prompt.prompt_embeds, latents=pipeline._patchify_latents(torch.from_numpy(noise)[None]),
            num_inference_steps=4, height=8, width=8, output_type="np", **({"guidance_scale": guidance} if guidance else {}),
        ).images[0]  # fmt: skip
        told = {"steps": 4, "noise": {"albedo": noise}, "width": 8, "height": 8, "guidance": guidance}
        np.testing.assert_allclose(team.run({}, ["albedo"], **told)["albedo"], expected, atol=2e-5)


def test_flux2_leaves_out_the_batch_statistics(tmp_path):
    base, pixels = load_base(tiny_base("FLUX2", tmp_path)), torch.rand(1, 3, 8, 8) * 2 - 1
    before = base.encode(pixels)
    base.vae.bn.running_mean += 3
    assert torch.equal(base.encode(pixels), before)
    torch.testing.assert_close(before, base.vae.encode(pixels).latent_dist.mode())


@pytest.mark.parametrize("length", [16, 1024, 5000])
@pytest.mark.parametrize("steps", [4, 50])
def test_flux2_knows_the_shift_that_its_authors_fitted(length, steps):
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    assert empirical_shift(length, steps) == pytest.approx(compute_empirical_mu(length, steps), rel=1e-9)


def test_flux_packs_as_diffusers_does():
    latents = torch.randn(2, 4, 6, 10)
    packed = diffusers.FluxPipeline._pack_latents(latents, 2, 4, 6, 10)
    assert torch.equal(pack(latents), packed) and torch.equal(unpack(packed, 6, 10), latents)
    ids = diffusers.FluxPipeline._prepare_latent_image_ids(1, 3, 5, "cpu", torch.float32)
    assert torch.equal(positions(6, 10), ids)


def test_flux_shift_comes_from_the_channel_count(tmp_path):
    base = load_base(tiny_base("FLUX", tmp_path))
    small, large = (base.schedule(4, torch.zeros(1, 4, n, n)).sigmas for n in (8, 64))
    assert torch.equal(small, large)
    mu = 0.5 + (1.15 - 0.5) * (4 - 256) / (4096 - 256)
    sigmas = torch.linspace(1, 0.25, 4)
    expected = np.e**mu / (np.e**mu + (1 / sigmas - 1))
    torch.testing.assert_close(small[:4], expected.float())


@pytest.mark.parametrize(("family", "kind"), [("SD2", diffusers.UNet2DConditionModel), ("FLUX", diffusers.FluxTransformer2DModel)])
def test_a_base_that_is_given_more_beside_the_noise_is_one_sentence(family, kind, tmp_path):
    """Such as those for inpainting, of the same class: they failed in their first layer."""
    folder = tiny_base(family, tmp_path)
    place = folder / ("unet" if family == "SD2" else "transformer")
    config = kind.load_config(place)
    more = {"in_channels": 2 * config["in_channels"], "out_channels": config["in_channels"] if family == "FLUX" else 4}
    kind.from_config(config | more).save_pretrained(place)
    with pytest.raises(TeamError, match="takes latents of 8 channels, and its VAE makes 4: .* a team needs the base") as caught:
        load_base(folder)
    assert "\n" not in str(caught.value)


def test_sdxl_time_ids_are_height_first_and_times_the_factor(tmp_path):
    base = load_base(tiny_base("SDXL", tmp_path))
    ids = base.conditions(2, 24, 32)["added_cond_kwargs"]["time_ids"]
    assert ids.tolist() == [[48, 64, 0, 0, 48, 64]] * 2
