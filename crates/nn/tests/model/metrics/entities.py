"""Entities of random sentences, made with seqeval: run `python entities.py > entities.jsonl` beside this file."""

import json
import random
import warnings

warnings.filterwarnings("ignore")

from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

rng = random.Random(5)
tags = ["O"] + [f"{letter}-{kind}" for letter in "BIES" for kind in ("PER", "LOC")]
bio = ["O"] + [f"{letter}-{kind}" for letter in "BI" for kind in ("PER", "LOC", "ORG")]
for pool in (bio, bio, tags):
    for _ in range(6):
        truth, said = [], []
        for _ in range(rng.randint(1, 4)):
            own = [rng.choice(pool) for _ in range(rng.randint(1, 9))]
            truth.append(own)
            said.append([tag if rng.random() < 0.7 else rng.choice(pool) for tag in own])
        report = classification_report(truth, said, output_dict=True, zero_division=0)
        averages = ("micro avg", "macro avg", "weighted avg")
        kinds = {kind: [own["precision"], own["recall"], int(own["support"])] for kind, own in report.items() if kind not in averages}
        figures = [score(truth, said, zero_division=0) for score in (precision_score, recall_score, f1_score)]
        found = [[list(entity) for entity in get_entities(own)] for own in truth]
        print(json.dumps({"truth": truth, "said": said, "all": figures, "kinds": kinds, "entities": found}))
