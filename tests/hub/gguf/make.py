"""Makes the files beside this one: tiny language models as GGUF files, and what other libraries compute with them.

    pip install torch transformers gguf sentencepiece tokenizers; python make.py

The folders of `../make.py` become files of plain numbers; `packed.gguf` has blocks of every format, whose numbers are unpacked by the
`gguf` package and computed with by transformers; `pieces-*.gguf` have pieces that sentencepiece and tokenizers trained.
"""

import io, json, pathlib
import gguf, numpy, sentencepiece, torch
from gguf import GGMLQuantizationType as Kind
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent
numpy.random.seed(7)
torch.manual_seed(7)

NAMES = [("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output."), ("model.layers.", "blk."),
         ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"), ("self_attn.q_proj", "attn_q"),
         ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
         ("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"), ("mlp.gate_proj", "ffn_gate"),
         ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
         ("transformer.wte.", "token_embd."), ("transformer.wpe.", "position_embd."), ("transformer.h.", "blk."), ("transformer.ln_f.", "output_norm."),
         (".ln_1.", ".attn_norm."), (".ln_2.", ".ffn_norm."), (".attn.c_attn.", ".attn_qkv."), (".attn.c_proj.", ".attn_output."),
         (".mlp.c_fc.", ".ffn_up."), (".mlp.c_proj.", ".ffn_down.")]


def named(name):
    for there, here in NAMES:
        name = name.replace(there, here)
    return name


def paired(rows, heads):
    """Llama's queries and keys: the features of a head that are turned together stand together."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpaired(rows, heads):
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def about(writer, kind, config):
    get = lambda *names: next(getattr(config, name) for name in names if hasattr(config, name))
    writer.add_context_length(get("max_position_embeddings"))
    writer.add_embedding_length(get("hidden_size"))
    writer.add_block_count(get("num_hidden_layers"))
    writer.add_head_count(get("num_attention_heads"))
    if kind == "gpt2":
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(head_dim)
    if config.rope_parameters["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def plain(name, kind, half):
    model = AutoModelForCausalLM.from_pretrained(HERE.parent / name, dtype=torch.float32).eval()
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", kind)
    about(writer, kind, model.config)
    writer.add_eos_token_id(39)
    writer.add_tokenizer_model("none")
    tied = model.config.tie_word_embeddings
    for own, tensor in model.state_dict().items():
        if own == "lm_head.weight" and tied:
            continue
        rows, file = tensor.numpy(), named(own)
        if kind == "gpt2" and rows.ndim == 2 and not own.startswith("transformer.w"):
            rows = rows.T
        if kind == "llama" and ".attn_q." in file:
            rows = paired(rows, model.config.num_attention_heads)
        if kind == "llama" and ".attn_k." in file:
            rows = paired(rows, model.config.num_key_value_heads)
        if kind == "gemma" and file.endswith("norm.weight"):
            rows = rows + 1
        rows = numpy.ascontiguousarray(rows)
        if half and rows.ndim == 2:
            writer.add_tensor(file, gguf.quantize(rows, half), raw_dtype=half)
        else:
            writer.add_tensor(file, rows)
    close(writer)


def random_blocks(rows, width, kind):
    """Blocks of any bits with scales that are small."""
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = numpy.random.randint(0, 256, (rows, width // numbers, size), dtype=numpy.uint8)
    halves = {Kind.Q4_K: [0, 2], Kind.Q5_K: [0, 2], Kind.Q6_K: [208]}[kind]
    for place in halves:
        scale = (0.002 * (0.5 + numpy.random.rand(rows, width // numbers))).astype(numpy.float16)
        blocks[..., place:place + 2] = scale[..., None].view(numpy.uint8)
    return blocks.reshape(rows, -1)


def block_of(rows, width, kind):
    if kind in (Kind.Q4_K, Kind.Q5_K, Kind.Q6_K):
        return random_blocks(rows, width, kind)
    return gguf.quantize((0.1 * numpy.random.randn(rows, width)).astype(numpy.float32), kind)


def packed():
    config = LlamaConfig(vocab_size=40, hidden_size=256, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=16, max_position_embeddings=64, bos_token_id=1, eos_token_id=39)
    model = LlamaForCausalLM(config).eval()
    kinds = {
        "token_embd.weight": Kind.Q4_K, "output.weight": Kind.Q6_K,
        "blk.0.attn_q.weight": Kind.Q4_K, "blk.0.attn_k.weight": Kind.Q6_K, "blk.0.attn_v.weight": Kind.Q5_K, "blk.0.attn_output.weight": Kind.Q4_0,
        "blk.0.ffn_gate.weight": Kind.Q4_K, "blk.0.ffn_up.weight": Kind.Q5_1, "blk.0.ffn_down.weight": Kind.Q6_K,
        "blk.1.attn_q.weight": Kind.Q4_1, "blk.1.attn_k.weight": Kind.BF16, "blk.1.attn_v.weight": Kind.F16, "blk.1.attn_output.weight": Kind.Q8_0,
        "blk.1.ffn_gate.weight": Kind.Q5_0, "blk.1.ffn_up.weight": Kind.Q8_0, "blk.1.ffn_down.weight": Kind.Q4_0,
    }
    writer = gguf.GGUFWriter(HERE / "packed.gguf", "llama")
    about(writer, "llama", config)
    writer.add_eos_token_id(39)
    unpacked, state = {}, model.state_dict()
    for own, tensor in state.items():
        file, shape = named(own), tensor.shape
        if file not in kinds:
            rows = (1 + 0.1 * numpy.random.randn(*shape)).astype(numpy.float32)
            writer.add_tensor(file, rows)
        else:
            blocks = block_of(shape[0], shape[1], kinds[file])
            writer.add_tensor(file, blocks, raw_dtype=kinds[file])
            rows = gguf.dequantize(blocks, kinds[file])
            unpacked[file] = [kinds[file].name, [float(f"{x:.9g}") for x in rows.reshape(-1)[:256]], float(rows.astype(numpy.float64).sum())]
        if ".attn_q." in file:
            rows = unpaired(rows, 4)
        if ".attn_k." in file:
            rows = unpaired(rows, 2)
        tensor.copy_(torch.from_numpy(numpy.ascontiguousarray(rows)))
    close(writer)
    codes = torch.randint(2, 39, (2, 9))
    with torch.no_grad():
        logits = model(codes).logits
        said = model.generate(codes[:1], do_sample=False, max_new_tokens=20, pad_token_id=0)[0, 9:]
    expected = dict(codes=codes.tolist(), logits=[[round(x, 6) for x in row] for row in logits.flatten(1).tolist()], greedy=said.tolist(),
                    unpacked=unpacked)
    (HERE / "packed.json").write_text(json.dumps(expected) + "\n")


TEXT = ("It was the best of times, it was the worst of times. In 1998 the 3 mills' wheels weren't turning; they'd stopped!\n\n"
        "Die Bäume wachsen über den Zaun hinaus, und Günther zählt 12345 Äpfel.\n\tdef f(x):\n\t\treturn x  +  1\n日本語のテキスト 😀 — “so”…\n") * 4
ODD = ["It was", " two  spaces ", "it's I'LL we'd'nt 12345 and 1,234.5", "naïve Bäume über", "日本語 😀", "\n\n\ttabs\n", "", "a", "<s> </s>", "…“x” — \u00a0z"]


def pieces(name, kind, writer_of, encode):
    config = LlamaConfig(vocab_size=writer_of["count"], hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=1, head_dim=8, max_position_embeddings=64)
    writer = gguf.GGUFWriter(HERE / f"pieces-{name}.gguf", kind)
    about(writer, kind, config)
    writer_of["write"](writer)
    bias = {"qwen2": ["attn_q.bias", "attn_k.bias", "attn_v.bias"]}.get(kind, [])
    for own, tensor in LlamaForCausalLM(config).state_dict().items():
        writer.add_tensor(named(own), tensor.numpy())
    for tensor in bias:
        writer.add_tensor(f"blk.0.{tensor}", numpy.zeros(16 if "_q" in tensor else 8, dtype=numpy.float32))
    close(writer)
    return [[text, encode(text)] for text in ODD]


def scored():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXT.split("\n")), model_writer=model, model_type="bpe", vocab_size=420,
        byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True,
        allow_whitespace_only_pieces=True, split_digits=True)
    spm = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    count = spm.vocab_size()
    kinds = [2 if spm.is_unknown(i) else 3 if spm.is_control(i) else 6 if spm.is_byte(i) else 1 for i in range(count)]

    def write(writer):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([spm.id_to_piece(i) for i in range(count)])
        writer.add_token_scores([spm.get_score(i) for i in range(count)])
        writer.add_token_types(kinds)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
    # The words of control tokens aren't looked for by that library.
    encode = lambda text: None if "<s>" in text else [1] + spm.encode(text)
    return pieces("llama", "llama", dict(count=count, write=write), encode)


def merged(name, pre, kind, whole):
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = whole
    own.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|end|>"]))
    state = json.loads(own.to_str())
    own.decoder = decoders.ByteLevel()
    tokens = sorted(state["model"]["vocab"], key=state["model"]["vocab"].get)

    def write(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([3] + [1] * (len(tokens) - 1))
        writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
        writer.add_eos_token_id(0)
        writer.add_add_bos_token(False)
    return pieces(name, kind, dict(count=len(tokens), write=write), lambda text: own.encode(text).ids)


def split(pattern):
    from tokenizers import Regex
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
for name, kind, half in [("gpt2", "gpt2", None), ("llama", "llama", None), ("linear", "llama", None), ("qwen2", "qwen2", None),
                         ("qwen3", "qwen3", None), ("gemma", "gemma", None)]:
    plain(name, kind, half)
packed()
words = dict(llama=scored(), qwen2=merged("qwen2", "qwen2", "qwen2", split(QWEN2)), llama3=merged("llama3", "llama-bpe", "llama", split(LLAMA3)),
             gpt2=merged("gpt2", "gpt-2", "llama", pre_tokenizers.ByteLevel(add_prefix_space=False)))
(HERE / "pieces.json").write_text(json.dumps(words, ensure_ascii=False) + "\n")
