"""Makes `said.json`: what transformers' pipelines say of masked pieces and of the tags of words, by the folders that `make.py` made.

    pip install torch transformers; python said.py
"""

import json, pathlib
import torch
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, PreTrainedTokenizerFast, pipeline

HERE = pathlib.Path(__file__).parent
MASKED = ["a [MASK] film", "the movie was not [MASK] and the [MASK] was bad"]
# Words of one piece and of several ("times" is time and ##s, "endeding" three).
SENTENCES = ["a fine film", "the times was endeding, but not the actors.", "it is movies"]


def tokenizer(name, mask):
    own = PreTrainedTokenizerFast(tokenizer_file=str(HERE / name / "tokenizer.json"), mask_token=mask)
    own.model_max_length = 30
    return own


def masked(name, mask):
    model = AutoModelForMaskedLM.from_pretrained(HERE / name, dtype=torch.float32).eval()
    fill = pipeline("fill-mask", model=model, tokenizer=tokenizer(name, mask), top_k=4)
    said = []
    for text in MASKED:
        text = text.replace("[MASK]", mask)
        found = fill(text)
        found = [found] if isinstance(found[0], dict) else found
        said.append([text, [[[one["token_str"], one["score"]] for one in each] for each in found]])
    return said


def tags(name):
    model = AutoModelForTokenClassification.from_pretrained(HERE / name, dtype=torch.float32).eval()
    own = tokenizer(name, "[MASK]")
    said = []
    for text in SENTENCES:
        each = {}
        for rule, ours in [("first", "first"), ("average", "mean"), ("max", "max")]:
            find = pipeline("token-classification", model=model, tokenizer=own, aggregation_strategy=rule, ignore_labels=[])
            # Words, before those of one kind beside each other are joined.
            out = own(text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True)
            offsets, special = out.pop("offset_mapping")[0].numpy(), out.pop("special_tokens_mask")[0].numpy()
            with torch.no_grad():
                scores = torch.softmax(model(input_ids=out["input_ids"]).logits[0], -1).numpy()
            gathered = find.gather_pre_entities(text, out["input_ids"][0].numpy(), scores, offsets, special, find._postprocess_params["aggregation_strategy"])
            words = find.aggregate_words(gathered, find._postprocess_params["aggregation_strategy"])
            each[ours] = [[text[w["start"]:w["end"]], w["entity"], float(w["score"])] for w in words]
        said.append([text, each])
    return said


found = {"masked": {"bert-masked": masked("bert-masked", "[MASK]"), "roberta-masked": masked("roberta-masked", "<mask>"),
                    "distilbert-masked": masked("distilbert-masked", "[MASK]")}, "tags": {"bert-tokens": tags("bert-tokens")}}
(HERE / "said.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
