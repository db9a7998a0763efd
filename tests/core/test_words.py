# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects bases that know words: what a prompt of words becomes, its usual guidance, and words that are learnt from packed samples."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from engine_server.diffusion.base import Prompt
from engine_server.diffusion.loading import load_base, load_team
from engine_server.diffusion.words import FILE, Words, read_words, words_in, write_words
from engine_server.teamwork import RequestError, TeamError
from engine_server.train.config import ConfigError, DataSet
from engine_server.train.generate_materials import Maps
from engine_server.train.generate_surfaces import main as generate_surfaces
from engine_server.train.naming import LOOKS, colour_word, words_of_look, words_of_name
from engine_server.train.packed import pack_files, read_pack, write_pack
from engine_server.train.packed import read_words as words_of_pack
from engine_server.train.pool import PixelPool
from engine_server.train.team import stage_for

from .tiny import tiny_adapter, tiny_base
from .training import ROOT, flow_unet, team_config, train

WIDTH = 8
EMPTY = Prompt(torch.arange(2 * WIDTH).reshape(1, 2, WIDTH).float())
"""An empty prompt of two tokens."""


@pytest.fixture
def vectors():
    return {name: torch.randn(WIDTH, generator=torch.Generator().manual_seed(i)) for i, name in enumerate(("brick", "glass", "red"))}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return tiny_base("SD2", tmp_path_factory.mktemp("plain"))


def team_with(words, plain, folder):
    """A team on a copy of the plain base that knows words."""
    shutil.copytree(plain, folder)
    width = load_base(plain).prompt.prompt_embeds.shape[-1]
    write_words(folder / FILE, Words(EMPTY, {name: vector.repeat(width)[:width] for name, vector in words.vectors.items()}, words.guidance))
    return load_team(folder, tiny_adapter(folder, folder / "team.safetensors", 0.3, profile="SD2"))


def answer(team, **told):
    noise = {"albedo": np.random.default_rng(1).standard_normal((4, 4, 4), np.float32)}
    return team.run({}, ["albedo"], steps=2, noise=noise, width=8, height=8, **told)["albedo"]


def test_the_words_of_a_text_are_small_single_and_in_the_singular():
    assert words_in("Red BRICKS, red glass; moss & 3 tiles") == ["red", "brick", "glass", "moss", "tile"]


def test_a_prompt_is_the_sum_of_its_known_words(vectors, tmp_path):
    write_words(tmp_path / FILE, Words(EMPTY, vectors, 2.5))
    words = read_words(tmp_path / FILE, EMPTY)
    red, plural = words(["a RED wall of glass", "bricks"])
    for token, empty in enumerate(EMPTY.prompt_embeds[0]):
        assert torch.allclose(red.prompt_embeds[0, token], empty + vectors["red"] + vectors["glass"])
        assert torch.equal(plural.prompt_embeds[0, token], empty + vectors["brick"])
    assert words.guidance == 2.5


def test_a_prompt_without_a_known_word_is_told_which_there_are(vectors):
    with pytest.raises(RequestError, match=r"knows no word of 'wool'; it knows brick, glass, red\."):
        Words(EMPTY, vectors)(["wool"])


def test_a_damaged_file_gets_a_sentence(tmp_path):
    (tmp_path / FILE).write_bytes(b"no words")
    with pytest.raises(TeamError, match="not a whole file of words"):
        read_words(tmp_path / FILE, EMPTY)


def test_a_base_with_words_reads_prompts_with_its_usual_guidance(vectors, plain, tmp_path):
    team = team_with(Words(EMPTY, vectors, 3.0), plain, tmp_path / "words")
    red = answer(team, prompt="red")
    assert np.array_equal(red, answer(team, prompt="reds", guidance=3.0))
    assert not np.allclose(red, answer(team, prompt="red", guidance=1.0))
    assert not np.allclose(red, answer(team, prompt="glass"))
    assert np.array_equal(answer(team), answer(load_team(plain, tmp_path / "words" / "team.safetensors")))
    with pytest.raises(RequestError, match="knows no word"):
        answer(team, prompt="velvet")


def test_names_of_scans_become_words():
    assert words_of_name("datiikka__WoodFloor042") == ["wood", "floor"]
    assert words_of_name("Metal048A") == ["metal"]
    assert words_of_name("hh__dark_wooden_planks_05") == ["wood", "plank"]
    assert words_of_name("roof_tiles_14") == ["roof", "tile"]


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((0.05, 0.05, 0.05), "black"), ((0.5, 0.5, 0.5), "grey"), ((0.9, 0.9, 0.88), "white"), ((0.8, 0.1, 0.1), "red"),
        ((0.45, 0.3, 0.2), "brown"), ((0.8, 0.72, 0.6), "beige"), ((0.2, 0.5, 0.2), "green"), ((0.2, 0.3, 0.7), "blue"),
    ],
)  # fmt: skip
def test_colours_have_their_usual_names(colour, name):
    assert colour_word(*colour) == name and name in LOOKS


def test_the_look_of_a_surface_in_words():
    grey = np.full((4, 4, 3), 0.02, np.float32)
    up, ones = np.tile(np.float32([0, 0, 1]), (4, 4, 1)), np.ones((4, 4, 1), np.float32)
    leaning = np.tile(np.float32([0.5, 0, 0.75**0.5]), (4, 4, 1))
    assert words_of_look(Maps(grey, up, 0.2 * ones, ones)) == ["grey", "dark", "glossy", "flat", "metal"]
    assert words_of_look(Maps(45 * grey, leaning, 0.9 * ones, 0 * ones)) == ["white", "light", "matte", "bumpy"]


def write_scans(folder, *names):
    """Small scans of noise."""
    random = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for part, mode in (("basecolor", "RGB"), ("normal", "RGB"), ("roughness", "L")):
            Image.fromarray(random.integers(100, 156, (32, 32, 3), np.uint8)).convert(mode).save(folder / name / f"{part}.png")


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Packs of three made-up scans, as the command writes them."""
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder / "materials", "x__Bricks012", "x__Wood_03", "y__Tiles9")
    command = ["--materials", str(folder / "materials"), "--out", str(folder / "packs"), "--count", "10", "--packed", "4", "--size", "32"]
    assert generate_surfaces([*command, "--validation", "0"]) == 0
    return folder / "packs"


def test_packs_of_surfaces_have_words(packs):
    files = pack_files(packs)
    assert [len(read_pack(file)["albedo"]) for file in files] == [4, 4, 2]
    texts, known = words_of_pack(files[0])
    assert len(texts) == 4 and all({"brick", "wood", "tile"} & set(text.split()) for text in texts)
    assert {"brick", "wood", "tile", "red", "glossy"} <= set(known) and set(" ".join(texts).split()) <= set(known)
    assert set(read_pack(files[0])) == {"albedo", "normals", "roughness", "metalness"}


def test_all_materials_held_out_get_a_sentence(tmp_path, capsys):
    write_scans(tmp_path / "materials", "Bricks")
    command = ["--materials", str(tmp_path / "materials"), "--out", str(tmp_path / "packs"), "--count", "2", "--validation", "1"]
    assert generate_surfaces(command) == 2 and "lower it" in capsys.readouterr().err


def test_a_drawn_sample_has_its_own_words(plain, tmp_path):
    base, colours = load_base(plain), {"red": 200, "green": 90, "blue": 10}
    samples = [{"albedo": np.full((16, 16, 3), value, np.uint8)} for value in colours.values()]
    write_pack(tmp_path / "0.safetensors", samples[:2], list(colours)[:2], list(colours))
    write_pack(tmp_path / "1.safetensors", samples[2:], list(colours)[2:], list(colours))
    pool = PixelPool(DataSet(str(tmp_path)), base, {"albedo"}, {"albedo"})
    batch = pool.draw(12, 4, np.random.default_rng(0))
    expected = {name: base.encode(torch.full((1, 3, 8, 8), value / 127.5 - 1))[0] for name, value in colours.items()}
    assert set(batch.words) == set(colours)
    for row, word in enumerate(batch.words):
        assert torch.allclose(batch.latents["albedo"][row][:, :2, :2], expected[word][:, :2, :2], atol=1e-4)
    limited = PixelPool(DataSet(str(tmp_path), limit=1), base, {"albedo"}, {"albedo"})
    assert set(limited.draw(5, 4, np.random.default_rng(0)).words) == {"red"}


@pytest.fixture
def config(packs, tmp_path):
    """Of the stage unison on those packs."""
    base = flow_unet(tmp_path / "base")
    options = {"teammates": ("albedo.out", "roughness.out"), "hub": "albedo.out", "holes": 0.0, "given": 0.0, "guidance": 2.0}
    made = team_config(packs, base, tmp_path / "run", stage="unison", data=(DataSet(str(packs)),), steps=3, options=options)
    return dataclasses.replace(made, network={})


def test_a_base_learns_words_and_keeps_them(config, tmp_path):
    stage = stage_for(config)
    start = stage.words.vectors.detach().clone()
    trained = train(config).stage
    words = load_base(config.output).encode_prompts
    place = trained.words.places["brick"]
    assert words.guidance == 2.0 and torch.equal(words.vectors["brick"], trained.words.vectors[place].detach())
    assert not torch.equal(words.vectors["brick"], start[place])
    again = stage_for(dataclasses.replace(config, base=config.output, output=str(tmp_path / "again")))
    assert torch.equal(again.words.vectors, trained.words.vectors)


def test_words_are_left_out_as_often_as_asked(config):
    def said(**options):
        table = stage_for(dataclasses.replace(config, options=config.options | options)).words
        prompts = table.prompts(["brick red"] * 400, np.random.default_rng(0))
        both = table.vectors[table.places["brick"]] + table.vectors[table.places["red"]]
        rows = torch.stack([prompt.prompt_embeds[0, 0] - table.empty.prompt_embeds[0, 0] for prompt in prompts])
        return [(rows - whole).abs().amax(1).lt(1e-5).float().mean().item() for whole in (both, torch.zeros_like(both))]

    assert said(unsaid=0.0, untold=0.0) == [1.0, 0.0]
    assert said(unsaid=0.0, untold=1.0) == [0.0, 1.0]
    assert said(unsaid=0.5, untold=0.0) == pytest.approx([0.25, 0.25], abs=0.08)


def test_samples_without_words_are_trained_on_beside_others(config, tmp_path):
    plain = tmp_path / "plain"
    write_pack(plain / "0.safetensors", [{name: np.full((32, 32, 3), 99, np.uint8) for name in ("albedo", "roughness")}] * 2)
    both = dataclasses.replace(config, data=(DataSet(str(plain), weight=9.0), *config.data), steps=8)
    assert train(both).step == 8


@pytest.mark.parametrize(
    ("name", "value", "told"), [("unsaid", 1.5, "from 0 to 1"), ("spread", 0.0, "above 0"), ("untold", -0.1, "from 0")]
)
def test_options_of_words_have_their_bounds(config, name, value, told):
    with pytest.raises(ConfigError, match=rf"options\.{name} is {value}; expected a number {told}"):
        stage_for(dataclasses.replace(config, options=config.options | {name: value}))


def test_a_fresh_base_is_spread_as_asked(config, tmp_path):
    """A smaller spread is a smaller scale of the autoencoder, and the picture of a latent stays what it was."""
    shutil.copytree(ROOT / "engine_server" / "bundled" / "nano" / "base" / "vae", tmp_path / "vae")
    network = {
        "sample_size": 8, "in_channels": 48, "out_channels": 48, "block_out_channels": [8, 8], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 8, "attention_head_dim": 4, "norm_num_groups": 4,
    }  # fmt: skip
    fresh = dataclasses.replace(config, base=str(tmp_path), network=network)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole, small = (stage_for(dataclasses.replace(fresh, options=config.options | {"spread": s})).base for s in (1.0, 0.25))
    assert torch.allclose(small.encode(picture), whole.encode(picture) / 4, atol=1e-5)
    assert torch.allclose(small.decode(small.encode(picture)), picture, atol=0.02)
    train(dataclasses.replace(fresh, options=config.options | {"spread": 0.25}, steps=1))
    assert load_base(config.output).scaling == pytest.approx(small.scaling)
    again = dataclasses.replace(fresh, base=config.output, output=str(tmp_path / "again"), options=config.options | {"spread": 0.25})
    assert stage_for(again).base.scaling == pytest.approx(small.scaling)  # what is spread already is not spread again
