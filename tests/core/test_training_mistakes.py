# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects whoever trains a base from nothing: a name, an option, a crop or a network that cannot be is one sentence before it begins,
not the trace of an error, and not what `graft` says when all is trained."""

import dataclasses

import pytest

from engine_server.teamwork.config import TeamError
from engine_server.train.config import ConfigError, DataSet, TrainConfig
from engine_server.train.team import stage_for

from .test_training import VAE
from .training import team_config, train

UNISON = {"teammates": ("image.in", "mask.in", "albedo.out", "depth.out"), "hub": "albedo.out"}
NETWORK = {
    "sample_size": 2, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 1,
    "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 8, "caption_projection_dim": 16,
    "pooled_projection_dim": 8, "pos_embed_max_size": 8,
}  # fmt: skip


def plain(stage, samples, output, base="", **changes):
    """Of a stage that trains on single pictures."""
    told = {"batch": 2, "crop": 16, "optimizer": "adamw", "accumulate": 1, "precision": "float32", "tensorboard": False, "steps": 1}
    return TrainConfig(stage, str(output), (DataSet(str(samples)),), base=str(base), **{**told, **changes})


@pytest.fixture(scope="module")
def autoencoder(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    train(plain("vae", samples, folder, network=VAE))
    return folder


def configured(stage, samples, base, output, options=None, **changes):
    """Of a stage that trains a UNet on samples."""
    data = (DataSet(str(samples), rename={"flash": "image"}, given=("image",), wanted=("albedo",)),)
    if stage == "unison":
        data, options = (DataSet(str(samples), rename={"flash": "image"}),), UNISON | (options or {})
    return team_config(samples, base, output, stage=stage, data=data, options=options or {}, **changes)


def test_names_that_no_team_can_have_are_said_before_the_training(samples, base, tmp_path):
    named = {"rename": {"flash": "image", "albedo": "base_color"}}
    config = configured("estimate", samples, base, tmp_path)
    data = (dataclasses.replace(config.data[0], **named, wanted=("base_color",)),)
    with pytest.raises(TeamError, match="'base_color.out' is not named like 'image.in' or 'normals.out'"):
        stage_for(dataclasses.replace(config, data=data, network={}))
    options = {"teammates": ("image.in", "albedo.out", "albedo.out")}
    with pytest.raises(TeamError, match="'albedo.out' is listed twice"):
        stage_for(dataclasses.replace(configured("unison", samples, base, tmp_path, options), network={}))


@pytest.mark.parametrize("stage", ["estimate", "unison"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": ((16,),)}, r"options\.sizes is \(\(16,\),\); expected pairs of crop and batch"),
        ({"sizes": ((16, 0),)}, r"options\.sizes is"),
        ({"sizes": ((2, 1),)}, "crop is 2; .* takes multiples of 4 pixels"),
    ],
)
def test_sizes_that_cannot_be(samples, base, tmp_path, stage, options, words):
    with pytest.raises(ConfigError, match=words):
        stage_for(dataclasses.replace(configured(stage, samples, base, tmp_path, options), network={}))


@pytest.mark.parametrize(
    ("stage", "options", "words"),
    [
        ("estimate", {"known": 2.0}, r"options\.known is 2\.0; expected a number from 0 to 1"),
        ("unison", {"wanted": {"imag": 0.5}}, "options.wanted names 'imag', which is no output; the outputs are albedo.out, depth.out"),
        ("unison", {"wanted": {"depth": 4.0}}, "options.wanted has 4.0 for depth"),
        ("unison", {"outside": -1.0}, r"options\.outside is -1\.0; expected 0 or more"),
    ],
)
def test_an_option_out_of_its_bounds(samples, base, tmp_path, stage, options, words):
    with pytest.raises(ConfigError, match=words):
        stage_for(dataclasses.replace(configured(stage, samples, base, tmp_path, options), network={}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {}}, r"\[network\] is empty; describe the autoencoder"),
        ({"crop": 15}, "crop is 15; this autoencoder takes multiples of 8 pixels"),
        ({"options": {"recolour": 3.0}}, "options.recolour is 3.0"),
    ],
)
def test_an_autoencoder_that_cannot_be(samples, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        stage_for(plain("vae", samples, tmp_path, **{"network": VAE, **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"pool": 0}}, r"options\.pool is 0"),
        ({"options": {"shift": 0.0}}, r"options\.shift is 0\.0; expected a number above 0"),
        ({"network": {}}, r"\[network\] has no whole number as joint_attention_dim"),
        ({"network": NETWORK | {"pooled_projection_dim": "8"}}, "has no whole number as pooled_projection_dim"),
        ({"network": NETWORK | {"in_channels": 7}}, "has 7 in_channels, but the latents of the autoencoder have 4"),
        ({"crop": 17}, "crop is 17"),
        ({"crop": 256}, "crop is 256; this base takes multiples of 16 pixels of at most 128"),
    ],
)
def test_a_base_that_cannot_be(samples, autoencoder, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        stage_for(plain("base", samples, tmp_path, autoencoder, **{"network": NETWORK, **changes}))
