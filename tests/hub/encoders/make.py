"""Makes the folders beside this file: tiny random encoders as transformers writes them, and what it computes with them.

    pip install torch transformers; python make.py

`python make.py check FOLDER ...` loads folders that kiln wrote of them, each under the name of the one it was, and compares.
"""

import json, pathlib, sys
import torch
from transformers import (AutoConfig, BertConfig, BertForMaskedLM, BertForSequenceClassification, BertForTokenClassification, BertModel,
                          DistilBertConfig, DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel, PreTrainedTokenizerFast,
                          RobertaConfig, RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel)

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from kept import gradients, numbers, save, stirred, wave, word_pieces

still = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
small = dict(vocab_size=40, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, max_position_embeddings=32, **still)
distil = dict(vocab_size=40, dim=12, n_layers=2, n_heads=3, hidden_dim=20, max_position_embeddings=32, dropout=0.0, attention_dropout=0.0,
              seq_classif_dropout=0.0)
roberta = dict(small, max_position_embeddings=34, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2)
three = dict(id2label={0: "bad", 1: "so, so", 2: "good"}, label2id={"bad": 0, "so, so": 1, "good": 2})
models = {
    "bert": (BertModel, BertConfig(**small)),
    "bert-classes": (BertForSequenceClassification, BertConfig(**small, **three)),
    "bert-each": (BertForSequenceClassification, BertConfig(**small, **three, problem_type="multi_label_classification")),
    "bert-number": (BertForSequenceClassification, BertConfig(**small, num_labels=1, hidden_act="relu")),
    "bert-tokens": (BertForTokenClassification, BertConfig(**small, **three, hidden_act="gelu_new")),
    "bert-masked": (BertForMaskedLM, BertConfig(**small)),
    "distilbert": (DistilBertModel, DistilBertConfig(**distil)),
    "distilbert-classes": (DistilBertForSequenceClassification, DistilBertConfig(**distil, **three)),
    "distilbert-masked": (DistilBertForMaskedLM, DistilBertConfig(**distil)),
    "roberta": (RobertaModel, RobertaConfig(**roberta)),
    "roberta-classes": (RobertaForSequenceClassification, RobertaConfig(**roberta)),
    "roberta-masked": (RobertaForMaskedLM, RobertaConfig(**roberta)),
}
texts = [["a fine film", None], ["the actor was good , but the story was a very long waste of time !", None], ["is it good ?", "it is not"],
         ["films", None], ["it was unheard of", "a waste"]]


def run(kind, model, codes, mask, types):
    inputs = dict(input_ids=codes, attention_mask=mask, output_hidden_states=True)
    if kind != "distilbert":
        inputs["token_type_ids"] = types
    found = model(**inputs)
    steps = found.hidden_states[-1]
    return steps, found.logits if hasattr(found, "logits") else steps


def computed(name, model, codes, mask, types):
    return run(name.split("-")[0], model, torch.tensor(codes), torch.tensor(mask), torch.tensor(types))


def seen(out, mask):
    """Outputs without those of padding."""
    return out * torch.tensor(mask)[:, :, None] if out.dim() == 3 else out


def make(name):
    kind, config = models[name]
    torch.manual_seed(1)
    model = stirred(kind(config), len(name))
    if name.startswith("roberta"):
        tokenizer = word_pieces("<pad>", "<unk>", "<s>", "</s>", "<mask>", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], second_type=0)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
    else:
        tokenizer = word_pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
    codes = torch.randint(5, 37, (2, 9))
    mask = torch.ones_like(codes)
    codes[1, 6:], mask[1, 6:] = fast.pad_token_id, 0
    types = torch.zeros_like(codes)
    if config.model_type == "bert":
        types[0, 4:] = 1
    inputs = [tensor.tolist() for tensor in (codes, mask, types)]
    steps, out = computed(name, model, *inputs)
    out = seen(out, inputs[1])
    expected = dict(zip(("codes", "mask", "types"), inputs), shape=list(out.shape), out=numbers(out), gradients=gradients(model, (out * wave(out)).sum()), texts=[])
    for first, second in texts:
        row = fast(first, second, return_tensors="pt", return_token_type_ids=True)
        with torch.no_grad():
            steps, out = run(config.model_type, model, row.input_ids, row.attention_mask, row.token_type_ids)
        if out.dim() == 2:
            out = out.sigmoid() if name == "bert-each" else out if name == "bert-number" else out.softmax(-1)
        expected["texts"].append(dict(first=first, second=second, codes=row.input_ids[0].tolist(), embedding=numbers(steps[0].mean(0)),
                                      said=numbers(out[0]) if out.dim() == 2 else None))
    save(model, HERE / name, expected, tokenizer)


def check(folder):
    folder = pathlib.Path(folder)
    name = folder.name
    expected = json.loads((HERE / name / "expected.json").read_text())
    model, info = models[name][0].from_pretrained(folder, output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    _, out = computed(name, model.eval(), expected["codes"], expected["mask"], expected["types"])
    far = (seen(out, expected["mask"]).flatten() - torch.tensor(expected["out"])).abs().max().item()
    print(f"{name}: {far:.1e}")
    assert far < 1e-5, far


if sys.argv[1:2] == ["check"]:
    for folder in sys.argv[2:]:
        check(folder)
else:
    for name in models:
        make(name)
