"""Makes the folders beside this file: tiny random language models as transformers writes them, and what it computes with them.

    pip install torch transformers; python make.py
"""

import json, pathlib, shutil
import torch
from transformers import (GemmaConfig, GemmaForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
                          MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

HERE = pathlib.Path(__file__).parent
small = dict(vocab_size=40, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=39, pad_token_id=0)
models = {
    "gpt2": (GPT2LMHeadModel, GPT2Config(vocab_size=40, n_embd=12, n_layer=2, n_head=3, n_positions=64, bos_token_id=1, eos_token_id=39)),
    "llama": (LlamaForCausalLM, LlamaConfig(**small | dict(hidden_size=16))),
    "llama3": (LlamaForCausalLM, LlamaConfig(**small | dict(hidden_size=16, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=6),
        rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))),
    "linear": (LlamaForCausalLM, LlamaConfig(**small | dict(hidden_size=16), rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5))),
    "mistral": (MistralForCausalLM, MistralConfig(**small | dict(hidden_size=16), sliding_window=5)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**small | dict(hidden_size=16))),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**small, head_dim=8)),
    "gemma": (GemmaForCausalLM, GemmaConfig(**small, head_dim=6)),
}
for name, (kind, config) in models.items():
    torch.manual_seed(len(name))
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # So that norms, biases and single weights all count.
            parameter.add_(0.15 * torch.randn_like(parameter))
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    codes = torch.randint(2, 39, (2, 9))
    with torch.no_grad():
        logits = model(codes).logits
        said = model.generate(codes[:1], do_sample=False, max_new_tokens=20, pad_token_id=0)[0, codes.shape[1]:]
    expected = dict(codes=codes.tolist(), logits=[[round(x, 7) for x in row] for row in logits.flatten(1).tolist()], greedy=said.tolist())
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
