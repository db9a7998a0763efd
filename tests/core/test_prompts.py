# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts and guidance: as diffusers' own pipelines on each base, without a leak, and text encoders loaded only when needed."""

import os
import shutil

import diffusers
import numpy as np
import pytest
import torch

from engine_server.diffusion import prompts
from engine_server.diffusion.loading import load_base
from engine_server.diffusion.prompts import FILE
from engine_server.teamwork import RequestError, TeamError, load_team

from .texts import tiny_pipeline
from .tiny import FAMILIES, tiny_adapter, tiny_base

TEXT, AWAY, SCALE, STEPS = "a brick wall", "assistant wall", 4.0, 3
HERE = {
    "SD2": {"guidance_scale": SCALE, "negative_prompt": AWAY},
    "SDXL": {"guidance_scale": SCALE, "negative_prompt": AWAY, "original_size": (16, 16), "target_size": (16, 16)},
    "SD3": {"guidance_scale": SCALE, "negative_prompt": AWAY},
    "FLUX": {"guidance_scale": SCALE},
    "FLUX2": {"guidance_scale": SCALE},
    "ZIMAGE": {"guidance_scale": SCALE - 1, "negative_prompt": AWAY},
}
"""What the pipelines are told; Z-Image's counts guidance from 0. Those of FLUX.1 and FLUX.2 take no negative prompt."""
TAKES_NEGATIVE = [name for name in FAMILIES if "negative_prompt" in HERE[name]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Each base's folder with its text encoders, made when it is first asked for; and teams on them, of any scale."""
    made = {}

    def team(family, scale=0.0):
        if family not in made:
            made[family] = tiny_pipeline(family, tmp_path_factory.mktemp(family))
        folder = made[family]
        if (family, scale) not in made:
            made[family, scale] = load_team(folder, tiny_adapter(folder, folder / f"{scale}.safetensors", scale, profile=family))
        return made[family, scale]

    return team


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Encoded prompts go to a folder of the test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TEAMWORK_CACHE", str(folder))
    return folder


def pipeline_answer(team, family, noise, **changes):
    """What the pipeline of diffusers makes, from the same folder; sizes are such that the shift is that of our schedule."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(team.base.name)
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.from_numpy(noise)[None]
    latents = {"FLUX": lambda: diffusers.FluxPipeline._pack_latents(latents, 1, 4, 4, 4)}.get(family, lambda: latents)()
    latents = pipeline._patchify_latents(latents) if family == "FLUX2" else latents
    told = {"prompt": TEXT, **HERE[family], **changes}
    sizes = {"num_inference_steps": STEPS, "height": 8, "width": 8, "output_type": "np"}
    return pipeline(latents=latents, **{k: v for k, v in told.items() if v is not None}, **sizes).images[0]


@pytest.fixture
def noise():
    return np.random.default_rng(1).standard_normal((4, 4, 4), np.float32)


def answer(team, noise, **told):
    return team.run({}, ["albedo"], steps=STEPS, noise={"albedo": noise}, width=8, height=8, **told)["albedo"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_and_guidance_answer_as_the_pipeline_of_diffusers(family, folders, noise):
    team = folders(family)
    negative = AWAY if family in TAKES_NEGATIVE else None
    made = answer(team, noise, prompt=TEXT, negative_prompt=negative, guidance=SCALE)
    np.testing.assert_allclose(made, pipeline_answer(team, family, noise), atol=3e-5)
    assert np.abs(made - answer(team, noise)).max() > 1e-3


def test_without_a_negative_prompt_sdxl_starts_from_zeros(folders, noise):
    team = folders("SDXL")
    expected = pipeline_answer(team, "SDXL", noise, negative_prompt=None)
    np.testing.assert_allclose(answer(team, noise, prompt=TEXT, guidance=SCALE), expected, atol=3e-5)
    assert np.abs(answer(team, noise, prompt=TEXT, guidance=SCALE, negative_prompt="") - expected).max() > 1e-4


@pytest.mark.parametrize("profile", ["", "_PLUSATTN"])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "FLUX"])
def test_branches_and_images_do_not_leak_into_each_other(family, profile, folders, photo, tmp_path):
    """Guided by hand, one branch and one image at a time, equals the batch of all, prompts of different lengths included."""
    folder = folders(family).base.name
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors", profile=family + profile))
    team.base.zero_unconditional = False
    texts, pictures = ["a brick wall", " ".join(["a wall"] * 20)], [photo, 1 - photo]
    given = [{"image": picture} for picture in pictures]
    told = {"steps": 1, "seed": 3, "prompt": texts, "guidance": SCALE, "negative_prompt": AWAY}
    predicted, predict = [], team.base.predict
    team.base.predict = lambda *args: (predicted.append(predict(*args)), predicted[-1])[1]
    team.run(given, ["albedo"], **told)
    together = predicted.pop().view(2, 2, 2, 4, 12, 16)  # teammate, branch, image
    for index, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        for branch, prompt in enumerate((text, AWAY)):
            team.run({"image": picture}, ["albedo"], steps=1, seed=3 + index, prompt=prompt)
            torch.testing.assert_close(together[:, branch, index], predicted.pop(), atol=2e-5, rtol=1e-4)


def test_an_sd3_that_was_saved_without_its_largest_encoder_answers_as_its_pipeline(noise, tmp_path):
    folder = tiny_pipeline("SD3", tmp_path)
    spared = {"text_encoder_3": None, "tokenizer_3": None}
    diffusers.DiffusionPipeline.from_pretrained(folder, **spared).save_pretrained(folder)
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors", 0.0))
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, **spared)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=TEXT, guidance_scale=1.0, latents=torch.from_numpy(noise)[None],
        num_inference_steps=STEPS, height=8, width=8, output_type="np",
    ).images[0]  # fmt: skip
    np.testing.assert_allclose(answer(team, noise, prompt=TEXT), expected, atol=3e-5)


def test_guidance_of_flux_is_an_input_of_its_network(folders, noise):
    team = folders("FLUX")
    usual, same, more = (answer(team, noise, prompt=TEXT, guidance=g) for g in (None, 3.5, 9.0))
    assert np.array_equal(usual, same) and np.abs(usual - more).max() > 1e-5


def test_guidance_of_one_is_none_and_costs_nothing(folders, noise):
    team = folders("SD3")
    rows, predict = [], team.base.predict
    team.base.predict = lambda latents, *rest: (rows.append(len(latents)), predict(latents, *rest))[1]
    try:
        plain, one, four = (answer(team, noise, prompt=TEXT, guidance=g) for g in (None, 1, 4))
    finally:
        team.base.predict = predict
    assert np.array_equal(plain, one) and not np.array_equal(one, four)
    assert rows == [1] * 2 * STEPS + [2] * STEPS


@pytest.fixture
def loaded(monkeypatch):
    """The pipelines that text encoders were loaded with while this is used."""
    seen, load = [], diffusers.DiffusionPipeline.from_pretrained
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", lambda *a, **k: (seen.append(a), load(*a, **k))[1])
    return seen


def test_the_empty_prompt_is_encoded_once_and_other_prompts_when_they_come(tmp_path, cache, loaded, photo):
    folder = tiny_pipeline("SD3", tmp_path)
    adapter = tiny_adapter(folder, tmp_path / "a.safetensors")
    loaded.clear()
    first = load_team(folder, adapter)
    files = list(cache.rglob("*.safetensors"))
    assert not loaded and len(files) == 1  # made when the adapter was
    files[0].write_bytes(b"cut short")
    again = load_team(folder, adapter)
    assert len(loaded) == 1 and torch.equal(first.base.prompt.prompt_embeds, again.base.prompt.prompt_embeds)
    for prompt in ("a wall", "a wall", ""):
        again.run({"image": photo}, ["albedo"], steps=1, prompt=prompt)
    assert len(loaded) == 2
    assert not any(isinstance(part, torch.nn.Module) for part in vars(again.base.encode_prompts).values())


def test_a_base_loads_where_its_prompt_cannot_be_kept(tmp_path, monkeypatch, caplog):
    folder = tiny_pipeline("SD3", tmp_path / "base")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TEAMWORK_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level("WARNING"):
        prompt = load_base(folder).prompt
    assert prompt.prompt_embeds.isfinite().all() and "cannot be kept in" in caplog.text


def test_text_encoders_that_changed_encode_the_empty_prompt_again(tmp_path, cache, loaded):
    folder = tiny_pipeline("SD2", tmp_path)
    before = load_base(folder).prompt.prompt_embeds
    weights = folder / "text_encoder" / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    loaded.clear()
    assert torch.equal(load_base(folder).prompt.prompt_embeds, before) and len(loaded) == 1
    other = shutil.copytree(folder, tmp_path / "other")
    load_base(other)
    assert len(loaded) == 2 and len(list(cache.rglob("*.safetensors"))) == 3


def test_prompts_are_encoded_in_the_precision_of_the_base(tmp_path):
    base = load_base(tiny_pipeline("SD2", tmp_path), dtype=torch.bfloat16)
    assert base.prompt.prompt_embeds.dtype == base.prompted(["a wall"])[0].prompt_embeds.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"guidance": -1}, "guidance is -1; expected 0 to 100"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"prompt": TEXT, "negative_prompt": AWAY}, "guidance above 1"),
        ({"prompt": ["a", "b"]}, "2 prompts were given for 1 images"),
        ({"prompt": [1]}, "A prompt is a text"),
    ],
)
def test_words_that_make_no_sense_are_one_sentence(folders, photo, told, words):
    with pytest.raises(RequestError) as caught:
        folders("SD3").run({"image": photo}, steps=1, **told)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_base_without_text_encoders_says_so(sd3, adapter, photo, tmp_path):
    team = load_team(sd3, adapter)
    for told in ({"prompt": TEXT}, {"negative_prompt": AWAY, "guidance": 4}):
        with pytest.raises(RequestError, match="no text encoders, so it takes no prompt"):
            team.run({"image": photo}, **told)
    assert np.isfinite(team.run({"image": photo}, ["albedo"], steps=1, guidance=4)["albedo"]).all()
    folder = tiny_base("SD2", tmp_path)
    (folder / FILE).unlink()
    with pytest.raises(TeamError, match=f"no text encoders, nor a file {FILE}"):
        load_base(folder)


def test_bases_say_what_guidance_they_do_not_take(folders, photo, tmp_path):
    with pytest.raises(RequestError, match="FLUX takes guidance as an input.*negative prompt has no effect"):
        folders("FLUX").run({"image": photo}, prompt=TEXT, negative_prompt=AWAY, guidance=4)
    base = folders("FLUX2").base
    base.take({"is_distilled": True})
    try:
        with pytest.raises(RequestError, match="distilled to work without guidance"):
            folders("FLUX2").run({"image": photo}, prompt=TEXT, guidance=4)
    finally:
        base.take({})


def test_text_encoders_that_are_cut_short_are_one_sentence(tmp_path, photo):
    folder = tiny_pipeline("SD3", tmp_path)
    team = load_team(folder, tiny_adapter(folder, tmp_path / "a.safetensors"))
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"short")
    with pytest.raises(TeamError, match="text encoders of .* cannot be loaded") as caught:
        team.run({"image": photo}, prompt=TEXT, steps=1)
    assert "\n" not in str(caught.value)


def test_language_models_give_as_many_tokens_as_they_should(folders):
    flux2, zimage = (folders(name).base for name in ("FLUX2", "ZIMAGE"))
    empty, brick = (p.prompt_embeds for p in flux2.prompted(["", TEXT]))
    assert empty.shape == brick.shape == (1, 512, 3 * 8) and (empty - brick).abs().max() > 1e-3
    assert [p.prompt_embeds.shape[1] for p in zimage.prompted(["", TEXT])] == [2, 5]


def test_prompts_are_kept_in_memory_up_to_a_number(folders, monkeypatch):
    monkeypatch.setattr(prompts, "KEPT", 2)
    encoders = prompts.TextEncoders(type(folders("SD2").base), folders("SD2").base.name)
    made = encoders(["a", "b", "c"])
    assert len(made) == 3 and list(encoders._kept) == ["b", "c"]
