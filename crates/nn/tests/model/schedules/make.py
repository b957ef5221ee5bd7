"""Learning rates of 60 steps, made with torch.optim.lr_scheduler: run `python make.py > values.json` beside this file."""

import json
import warnings

import torch
from torch.optim import lr_scheduler as s

warnings.simplefilter("ignore")


def rates(make, feed=None):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimizer)
    found = []
    for step in range(60):
        if feed is None:
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        else:
            schedule.step(feed[step])
            found.append(optimizer.param_groups[0]["lr"])
    return found


losses = [1.0 / (1 + i) + 0.3 * ((i * 7) % 5) / 5 + (0.4 if i > 25 else 0) for i in range(60)]
print(json.dumps({
    "losses": losses,
    "step": rates(lambda o: s.StepLR(o, 7, 0.5)),
    "multi_step": rates(lambda o: s.MultiStepLR(o, [5, 20, 21], 0.3)),
    "exponential": rates(lambda o: s.ExponentialLR(o, 0.93)),
    "polynomial": rates(lambda o: s.PolynomialLR(o, 40, 2.0)),
    "linear": rates(lambda o: s.LinearLR(o, 0.2, 0.9, 30)),
    "cosine": rates(lambda o: s.CosineAnnealingLR(o, 59, 0.1)),
    "restarts": rates(lambda o: s.CosineAnnealingWarmRestarts(o, 6, 2, 0.05)),
    "restarts_equal": rates(lambda o: s.CosineAnnealingWarmRestarts(o, 9)),
    "one_cycle": rates(lambda o: s.OneCycleLR(o, 1.0, 61)),
    "one_cycle_straight": rates(lambda o: s.OneCycleLR(o, 1.0, 61, pct_start=0.4, anneal_strategy="linear", div_factor=10,
                                                       final_div_factor=100)),
    "plateau": rates(lambda o: s.ReduceLROnPlateau(o, factor=0.5, patience=3, threshold=0.01, cooldown=2, min_lr=0.05), losses),
    "plateau_max": rates(lambda o: s.ReduceLROnPlateau(o, "max", 0.5, 4), losses),
}))
