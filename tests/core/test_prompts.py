# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts of bases whose text encoder is a language model: encoded through diffusers' pipelines with tiny real ones."""

import diffusers
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from engine_server.diffusion.loading import NETWORKS, load_base
from engine_server.diffusion.prompts import FILE, encode_prompt

from .tiny import tiny_base

WORDS = ("[UNK]", "[PAD]", "a", "brick", "wall", "user", "assistant")
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}assistant"
WIDTH = 8


@pytest.fixture
def text_parts():
    """A tokenizer with seven words and a Qwen3 of 28 layers and 8 numbers for each token."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(WORDS), hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=28, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    return tokenizer, config


def test_flux2_takes_three_layers_of_its_encoder(text_parts, tmp_path):
    tokenizer, config = text_parts
    base = load_base(tiny_base("FLUX2", tmp_path))
    parts = {"vae": base.vae, "text_encoder": Qwen3ForCausalLM(config), "tokenizer": tokenizer, "transformer": base.network}
    diffusers.Flux2KleinPipeline(base.template, **parts).save_pretrained(tmp_path)
    kind = NETWORKS["Flux2Transformer2DModel"]({})
    empty, brick = (encode_prompt(kind, tmp_path, text, "cpu") for text in ("", "a brick wall"))
    assert empty.prompt_embeds.shape == (1, 512, 3 * WIDTH) and empty.pooled_prompt_embeds is None
    assert (empty.prompt_embeds - brick.prompt_embeds).abs().max() > 1e-3


def test_zimage_takes_as_many_tokens_as_the_prompt_has(text_parts, tmp_path):
    tokenizer, config = text_parts
    base = load_base(tiny_base("ZIMAGE", tmp_path))
    parts = {"vae": base.vae, "text_encoder": Qwen3Model(config), "tokenizer": tokenizer, "transformer": base.network}
    diffusers.ZImagePipeline(base.template, **parts).save_pretrained(tmp_path)
    (tmp_path / FILE).unlink()
    empty = load_base(tmp_path).prompt.prompt_embeds  # no file with it: encoded now
    brick = encode_prompt(NETWORKS["ZImageTransformer2DModel"]({}), tmp_path, "a brick wall", "cpu").prompt_embeds
    assert empty.shape == (1, 2, WIDTH) and brick.shape == (1, 5, WIDTH)
