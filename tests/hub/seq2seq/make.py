"""Makes the folders beside this file: tiny random encoder-decoders as transformers writes them, and what it computes and says with them.

    pip install torch transformers; python make.py

`python make.py check FOLDER ...` loads folders that kiln wrote of them, each under the name of the one it was, and compares.
"""

import copy, json, pathlib, sys
import torch
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from kept import gradients, numbers, save, stirred, wave, word_pieces
from tokenizers import processors

small = dict(vocab_size=40, d_model=12, d_kv=5, d_ff=20, num_layers=2, num_heads=3, relative_attention_num_buckets=8,
             relative_attention_max_distance=20, dropout_rate=0.0, decoder_start_token_id=0)
models = {
    "t5": T5Config(**small),
    "t5-gated": T5Config(**small | dict(num_layers=3), num_decoder_layers=2, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "t5-silu": T5Config(**small, feed_forward_proj="gated-silu"),
}
# With which what is said isn't always the same piece.
SEEDS = {"t5": 13, "t5-gated": 1, "t5-silu": 3}
texts = ["a fine film", "the actor was good , but the story was a very long waste of time !", "is it ?"]


def make(name):
    config = models[name]
    torch.manual_seed(1)
    model = T5ForConditionalGeneration(config)
    if name == "t5-gated":
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    stirred(model, SEEDS[name])
    with torch.no_grad():
        # So that what is said depends on what was read and said before, and not on the last piece alone.
        model.shared.weight.mul_(0.6)
        for name_, parameter in model.named_parameters():
            if "decoder" in name_:
                parameter.mul_(1.2)
        if name == "t5-gated":
            model.lm_head.weight.mul_(0.05)
    tokenizer = word_pieces("<pad>", "<unk>", "<unk>", "</s>", "<unk>", ["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    codes = torch.randint(3, 40, (2, 27))
    mask = torch.ones_like(codes)
    codes[1, 9:], mask[1, 9:] = 0, 0
    target = torch.randint(3, 40, (2, 25))
    target[:, 0] = 0
    exact = copy.deepcopy(model).double()
    out = exact(input_ids=codes, attention_mask=mask, decoder_input_ids=target).logits
    expected = dict(codes=codes.tolist(), mask=mask.tolist(), target=target.tolist(), shape=list(out.shape), out=numbers(out),
                    gradients=gradients(exact, (out * wave(out)).sum()), texts=[])
    for text in texts:
        row = fast(text, return_tensors="pt")
        with torch.no_grad():
            steps = model.encoder(input_ids=row.input_ids, attention_mask=row.attention_mask).last_hidden_state
            said = model.generate(input_ids=row.input_ids, attention_mask=row.attention_mask, do_sample=False, max_new_tokens=40)[0, 1:]
        expected["texts"].append(dict(text=text, codes=row.input_ids[0].tolist(), embedding=numbers(steps[0].mean(0)), greedy=said.tolist(),
                                      said=fast.decode(said, skip_special_tokens=True)))
    save(model, HERE / name, expected, tokenizer)


def check(folder):
    folder = pathlib.Path(folder)
    expected = json.loads((HERE / folder.name / "expected.json").read_text())
    model, info = T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    with torch.no_grad():
        out = model.eval()(input_ids=torch.tensor(expected["codes"]), attention_mask=torch.tensor(expected["mask"]),
                           decoder_input_ids=torch.tensor(expected["target"])).logits
    far = (out.flatten() - torch.tensor(expected["out"])).abs().max().item()
    print(f"{folder.name}: {far:.1e}")
    assert far < 2e-5, far


if sys.argv[1:2] == ["check"]:
    for folder in sys.argv[2:]:
        check(folder)
else:
    for name in models:
        make(name)
