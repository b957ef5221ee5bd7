"""Makes reference.json: what transformers keeps of random logits by each option and several, and the probabilities then."""

import itertools, json, random, pathlib
import torch
from transformers.generation.logits_process import (
    MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

random.seed(1)
cases = []
settings = [(1.0, 0, 1.0, 0.0, 1.0)]
settings += [(t, k, p, m, r) for t, k, p, m, r in itertools.product([0.7, 1.6], [0, 4], [1.0, 0.8], [0.0, 0.15], [1.0, 1.3])]
settings += [(1.0, 1, 0.5, 0.0, 0.8), (0.3, 3, 0.999, 0.5, 2.0)]
for temperature, top_k, top_p, min_p, penalty in settings:
    logits = random.sample([round(-5 + i * 0.013 + random.random() * 0.01, 4) for i in range(800)], 12)  # no two equal
    seen = [random.randrange(12) for _ in range(5)]
    x, ids = torch.tensor([logits], dtype=torch.float64), torch.tensor([seen])
    for use, made in [(penalty != 1.0, lambda: RepetitionPenaltyLogitsProcessor(penalty)), (temperature != 1.0, lambda: TemperatureLogitsWarper(temperature)),
                      (top_k > 0, lambda: TopKLogitsWarper(top_k)), (top_p < 1.0, lambda: TopPLogitsWarper(top_p)), (min_p > 0.0, lambda: MinPLogitsWarper(min_p))]:
        if use:
            x = made()(ids, x)
    cases.append(dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=penalty, seen=seen, logits=logits,
                      probabilities=[round(p, 9) for p in x.softmax(-1)[0].tolist()]))
lines = ",\n".join(json.dumps(case) for case in cases)
pathlib.Path(__file__).with_name("reference.json").write_text(f"[\n{lines}\n]\n")
