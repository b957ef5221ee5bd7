#!/usr/bin/env python3
"""Random language models as transformers writes them, with pieces that are words: python3 bench/generations.py DIR NAME..."""

import json
import pathlib
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import workloads


def model(kind, blocks, heads, kv_heads, width):
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=workloads.PIECES, n_embd=width, n_layer=blocks, n_head=heads, n_positions=512,
                                          bos_token_id=None, eos_token_id=None))
    return LlamaForCausalLM(LlamaConfig(vocab_size=workloads.PIECES, hidden_size=width, intermediate_size=width * 8 // 3, num_hidden_layers=blocks,
                                        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=512,
                                        bos_token_id=None, eos_token_id=None))


for name in sys.argv[2:]:
    torch.manual_seed(1)
    folder = pathlib.Path(sys.argv[1]) / name
    made = model(*workloads.GENERATIONS[name])
    # No end is said by chance.
    made.generation_config.eos_token_id = None
    made.save_pretrained(folder)
    words = {f"w{code}": code for code in range(workloads.PIECES)}
    tokenizer = {"model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}, "pre_tokenizer": {"type": "Whitespace"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
