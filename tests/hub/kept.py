"""What the programs that make tiny models share: weights that all count, numbers to keep, gradients in short, tokenizers."""

import json, pathlib, shutil
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, decoders


def stirred(model, seed):
    """The model, with norms, biases and single weights that all count."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()


def numbers(tensor):
    return [float("%.8g" % x) for x in tensor.detach().flatten().tolist()]


def wave(like):
    """Weights of outputs in a loss: the sine of their places."""
    return torch.sin(torch.arange(like.numel(), dtype=like.dtype)).reshape(like.shape)


def gradients(model, loss, named=lambda name: name):
    """Of each tensor, by the name that its file has (`named` of the one in memory), three sums over its gradient."""
    model.zero_grad()
    loss.backward()
    kept = {}
    for name, parameter in model.named_parameters():
        g = (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).double().flatten()
        at = torch.arange(g.numel(), dtype=torch.float64)
        kept[named(name)] = [float("%.10g" % x) for x in ((g * at.cos()).sum(), (g * at.sin()).sum(), (g * g).sum())]
    return kept


def save(model, folder, expected, tokenizer=None):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


WORDS = "a fine film waste of time the good bad movie was is it not very ##s ##ed ##ing long short end story actor and but , . ! ? i you we".split()


def word_pieces(pad, unknown, first, last, mask, order, second_type=1):
    vocabulary = {token: code for code, token in enumerate(order + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(order)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B:{second_type} {last}:{second_type}",
        special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])])
    return tokenizer
