# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny, seeded, real text encoders and tokenizers, which make a tiny base a whole diffusers pipeline that takes prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from engine_server.diffusion.loading import load_base
from engine_server.diffusion.prompts import FILE

from .tiny import tiny_base

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("[UNK]", "[PAD]", "a", "brick", "wall", "user", "assistant")
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}assistant"


def clip_tokenizer() -> CLIPTokenizer:
    """One token for each letter."""
    tokens = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77)


def clip(width: int, projection: int | None = None) -> CLIPTextModel | CLIPTextModelWithProjection:
    """Two layers of that width, perhaps with a projection of the pooled vector."""
    end = 2 * len(LETTERS) + 1
    config = CLIPTextConfig(
        vocab_size=end + 1, hidden_size=width, intermediate_size=width, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=projection or width, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def t5_tokenizer() -> T5Tokenizer:
    """One token for each letter."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*special, *((c, -3.0) for c in LETTERS)], extra_ids=0, model_max_length=512)


def t5(width: int) -> T5EncoderModel:
    """One layer of that width."""
    config = T5Config(vocab_size=30, d_model=width, d_kv=8, d_ff=8, num_layers=1, num_heads=2)
    return T5EncoderModel(config)


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Seven words and a chat template."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def qwen(width: int, kind: type = Qwen3Model) -> Qwen3Model | Qwen3ForCausalLM:
    """28 layers of that width."""
    sizes = {"hidden_size": width, "intermediate_size": 8, "num_hidden_layers": 28, "num_attention_heads": 1}
    return kind(Qwen3Config(vocab_size=len(WORDS), **sizes, num_key_value_heads=1, head_dim=8))


def _sd2(base: Any) -> Any:
    parts = (base.vae, clip(16), clip_tokenizer(), base.network, base.template, None, None, None, False)
    return diffusers.StableDiffusionPipeline(*parts)


def _sdxl(base: Any) -> Any:
    encoders = (clip(8), clip(8, 8), clip_tokenizer(), clip_tokenizer())
    return diffusers.StableDiffusionXLPipeline(base.vae, *encoders, base.network, base.template, add_watermarker=False)


def _sd3(base: Any) -> Any:
    encoders = (clip(8, 4), clip_tokenizer(), clip(8, 4), clip_tokenizer(), t5(16), t5_tokenizer())
    return diffusers.StableDiffusion3Pipeline(base.network, base.template, base.vae, *encoders)


def _flux(base: Any) -> Any:
    encoders = (clip(8), clip_tokenizer(), t5(16), t5_tokenizer())
    return diffusers.FluxPipeline(base.template, base.vae, *encoders, base.network)


def _flux2(base: Any) -> Any:
    encoder = qwen(8, Qwen3ForCausalLM)
    return diffusers.Flux2KleinPipeline(base.template, base.vae, encoder, qwen_tokenizer(), base.network)


def _zimage(base: Any) -> Any:
    return diffusers.ZImagePipeline(base.template, base.vae, qwen(16), qwen_tokenizer(), base.network)


_PIPELINES = {"SD2": _sd2, "SDXL": _sdxl, "SD3": _sd3, "FLUX": _flux, "FLUX2": _flux2, "ZIMAGE": _zimage}


def tiny_pipeline(family: str, folder: Path) -> Path:
    """A tiny base whose folder is a whole diffusers pipeline, text encoders included, and without a ready empty prompt."""
    base = load_base(tiny_base(family, folder))
    torch.manual_seed(2)
    _PIPELINES[family](base).save_pretrained(folder)
    (folder / FILE).unlink()
    return folder
