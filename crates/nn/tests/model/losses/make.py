"""Reference values of losses, made with PyTorch: run `python make.py > values.jsonl` beside this file.

A case: a name that the Rust test knows, the operands, the loss, and the gradient in the first operand. f64 throughout.
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)


def tensor(t):
    return {"shape": list(t.shape), "whole": not t.is_floating_point(),
            "data": [float("%.17g" % x) for x in t.detach().double().reshape(-1).tolist()]}


def case(name, f, *operands):
    first = operands[0].clone().requires_grad_()
    loss = f(first, *operands[1:])
    loss.sum().backward()
    print(json.dumps({"name": name, "operands": [tensor(x) for x in operands], "loss": tensor(loss.detach()),
                      "gradient": tensor(first.grad)}))


x, t = torch.randn(5, 4), torch.randn(5, 4)
labels = torch.tensor([0, 3, 1, 2, 3])
weights = torch.rand(5) + 0.2
sides = torch.randint(0, 2, (5, 4)) * 2.0 - 1
targets01 = torch.rand(5, 4)
classes = torch.rand(4) + 0.5


def weighted(loss):
    shape = [5] + [1] * (loss.dim() - 1)
    w = weights.reshape(shape).expand_as(loss)
    return (w * loss).sum() / w.sum()


for reduction in ["mean", "sum", "none"]:
    case("mse " + reduction, lambda a, b: F.mse_loss(a, b, reduction=reduction), x, t)
    case("smooth_l1 " + reduction, lambda a, b: F.smooth_l1_loss(a, b, beta=0.7, reduction=reduction), x, t)
    case("cross_entropy " + reduction, lambda a, b: F.cross_entropy(a, b, reduction=reduction), x, labels)
    case("cross_entropy_classes " + reduction, lambda a, b, w: F.cross_entropy(
        a, b, weight=w, label_smoothing=0.1, ignore_index=3, reduction=reduction), x, labels, classes)
case("mse weighted", lambda a, b, w: weighted(F.mse_loss(a, b, reduction="none")), x, t, weights)
case("cross_entropy weighted", lambda a, b, w: weighted(F.cross_entropy(a, b, reduction="none")), x, labels, weights)
case("mae", F.l1_loss, x, t)
case("huber", lambda a, b: F.huber_loss(a, b, delta=0.6), x, t)
case("log_cosh", lambda a, b: torch.log(torch.cosh(a - b)).mean(), x, t)
case("quantile", lambda a, b: torch.maximum(0.9 * (b - a), -0.1 * (b - a)).mean(), x, t)
case("hinge", lambda a, b: torch.relu(1 - a * b).mean(), x, sides)
case("poisson", F.poisson_nll_loss, x, torch.randint(0, 9, (5, 4)).double())
case("poisson_full", lambda a, b: F.poisson_nll_loss(a, b, log_input=False, full=True), torch.rand(5, 4) + 0.3,
     torch.randint(0, 9, (5, 4)).double())
case("bce", F.binary_cross_entropy_with_logits, x, targets01)
case("bce_positive", lambda a, b, w: F.binary_cross_entropy_with_logits(a, b, pos_weight=w), x, targets01, classes)
case("kl", lambda a, b: F.kl_div(F.log_softmax(a, -1), b, reduction="batchmean"), x, torch.softmax(t, -1))
case("kl_log", lambda a, b: F.kl_div(F.log_softmax(a, -1), b, reduction="batchmean", log_target=True), x,
     torch.log_softmax(t, -1))
case("nll", lambda a, b, w: F.nll_loss(F.log_softmax(a, -1), b, weight=w), x, labels, classes)
case("multi_margin", F.multi_margin_loss, x, labels)
case("multi_margin_2", lambda a, b: F.multi_margin_loss(a, b, p=2, margin=0.7), x, labels)


def focal(a, b):
    ce = F.cross_entropy(a, b, reduction="none")
    return (ce * (1 - torch.exp(-ce)) ** 2).mean()


def sigmoid_focal(a, b):
    p, ce = torch.sigmoid(a), F.binary_cross_entropy_with_logits(a, b, reduction="none")
    p_t = p * b + (1 - p) * (1 - b)
    return ((0.25 * b + 0.75 * (1 - b)) * ce * (1 - p_t) ** 2).mean()


def dice(a, b):
    p, b = torch.sigmoid(a).flatten(1), b.flatten(1)
    return (1 - (2 * (p * b).sum(1) + 1) / (p.sum(1) + b.sum(1) + 1)).mean()


case("focal", focal, x, labels)
case("focal_binary", sigmoid_focal, x, (sides + 1) / 2)
case("dice", dice, torch.randn(3, 2, 4), torch.randint(0, 2, (3, 2, 4)).double())
pair = torch.tensor([1, -1, 1, -1, -1])
case("cosine_embedding", lambda a, b, y: F.cosine_embedding_loss(a, b, y, margin=0.1), x, t, pair)
case("triplet", lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=0.8), x, t, torch.randn(5, 4))
case("contrastive", lambda a, b, y: torch.where(y > 0, ((a - b) ** 2).sum(1), torch.relu(
    2.5 - ((a - b) ** 2).sum(1).sqrt()) ** 2).mean(), x, t, (pair + 1) // 2)
log_p = torch.log_softmax(torch.randn(9, 4, 5), -1)
words = torch.tensor([[1, 2, 2, 0], [3, 1, 4, 2], [1, 1, 0, 0], [4, 4, 4, 4]])
for reduction in ["mean", "sum", "none"]:
    case("ctc " + reduction, lambda a, b, i, o: F.ctc_loss(a, b, i, o, reduction=reduction), log_p, words,
         torch.tensor([9, 8, 9, 9]), torch.tensor([3, 4, 2, 4]))
case("ctc zero", lambda a, b, i, o: F.ctc_loss(a, b, i, o, reduction="sum", zero_infinity=True), log_p, words,
     torch.tensor([9, 2, 9, 5]), torch.tensor([3, 4, 1, 4]))
case("ctc empty", lambda a, b, i, o: F.ctc_loss(a, b, i, o, reduction="none"), log_p, words,
     torch.tensor([9, 8, 9, 9]), torch.tensor([0, 4, 2, 1]))
