"""Tokenizers of every usual kind, trained and written by the library `tokenizers`, with what it makes of odd texts.

    tokenizer_cases.py FOLDER COUNT

writes NAME.json and NAME.cases for each kind, COUNT texts each, which kiln's tests read.

    tokenizer_cases.py FOLDER

reads what kiln wrote there of its own pieces, and looks whether the library comes to the same codes.
"""

import io, json, pathlib, random, sys

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

folder = pathlib.Path(sys.argv[1])
if len(sys.argv) == 2:
    wrong = total = 0
    for path in sorted(folder.glob("*.codes")):
        tokenizer = Tokenizer.from_file(str(path.with_suffix(".own.json")))
        cases = json.loads(path.read_text())
        differing = [text for text, codes in cases if tokenizer.encode(text).ids != codes]
        print(f"{path.stem}: {len(cases)} texts, {len(differing)} wrong", *map(repr, differing[:3]))
        wrong, total = wrong + len(differing), total + len(cases)
    sys.exit(wrong > 0 or total < 100)
count = int(sys.argv[2])
here = pathlib.Path(__file__).parent.parent
corpus = [line for page in sorted(here.glob("docs/*.md")) for line in page.read_text().splitlines()]
corpus += ["Ünïcödé naïve café, 中文字符 日本語テキスト한국어 русский текст ελληνικά עברית العربية हिन्दी 😀👩‍👩‍👧 ½ ² ﬁ Å"] * 20

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace("{1,3}", "")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def charsmap():
    """SentencePiece's map of characters, out of a model that it trains: a message within a message."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=model, vocab_size=300, hard_vocab_limit=False,
                                             normalization_rule_name="nmt_nfkc", minloglevel=2)

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value

        while at < len(data):
            key = varint()
            if key & 7 == 2:
                size = varint()
                yield key >> 3, data[at:at + size]
                at += size
            elif key & 7 == 0:
                yield key >> 3, varint()
            else:
                at += 4 if key & 7 == 5 else 8

    specification = next(value for field, value in fields(model.getvalue()) if field == 3)
    return next(value for field, value in fields(specification) if field == 2)


def trained(model, trainer, normalizer=None, pre_tokenizer=None):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def byte_bpe(pre_tokenizer, normalizer=None, special=(), **model):
    suffix = {key: value for key, value in model.items() if key == "end_of_word_suffix"}
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=list(special), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **suffix)
    tokenizer = trained(models.BPE(**model), trainer, normalizer, pre_tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def split_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def piece_bpe(**model):
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=2500, special_tokens=special, show_progress=False)
    tokenizer = trained(models.BPE(unk_token="<unk>", fuse_unk=True, **model), trainer, pre_tokenizer=pre_tokenizers.Metaspace())
    tokenizer.pre_tokenizer = None
    # What was special for training alone is a piece like others.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    data["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(data))


def unigram(normalizer, pre_tokenizer, **options):
    trainer = trainers.UnigramTrainer(vocab_size=1500, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer = trained(models.Unigram(), trainer, normalizer, pre_tokenizer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    if options:
        data = json.loads(tokenizer.to_str())
        data["model"].update(options)
        data["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
        tokenizer = Tokenizer.from_str(json.dumps(data))
    return tokenizer


def word_piece(lowercase, strip_accents=None):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=special, show_progress=False)
    tokenizer = trained(models.WordPiece(unk_token="[UNK]"), trainer,
                        normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents), pre_tokenizers.BertPreTokenizer())
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def kinds():
    gpt2 = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), special=["<|endoftext|>"])
    yield "gpt2", gpt2

    roberta = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), special=["<s>", "<pad>", "</s>", "<unk>"])
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    yield "roberta", roberta

    llama3 = byte_bpe(split_bytes(LLAMA3), special=["<|begin_of_text|>", "<|eot_id|>"], ignore_merges=True)
    llama3.post_processor = processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", 0)])])
    yield "llama3", llama3

    yield "qwen", byte_bpe(split_bytes(QWEN), normalizers.NFC(), special=["<|im_start|>", "<|im_end|>"])
    yield "o200k", byte_bpe(split_bytes(O200K))

    clip = byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
                    normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
                    special=["<|startoftext|>", "<|endoftext|>"], unk_token="<|endoftext|>", end_of_word_suffix="</w>")
    clip.decoder = decoders.BPEDecoder()
    yield "clip", clip

    llama2 = piece_bpe(byte_fallback=True)
    llama2.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama2.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    llama2.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    yield "llama2", llama2

    mistral = piece_bpe(byte_fallback=True)
    mistral.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    mistral.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    yield "mistral", mistral

    gemma = piece_bpe(byte_fallback=True)
    gemma.normalizer = normalizers.Replace(" ", "▁")
    gemma.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    gemma.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    yield "gemma", gemma

    yield "pieces without bytes", piece_bpe()

    uncased = word_piece(True)
    uncased.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                           special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    yield "bert uncased", uncased
    cased = word_piece(False)
    cased.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    cased.enable_truncation(20)
    cased.enable_padding(length=24, pad_id=0, pad_token="[PAD]")
    yield "bert cased, cut and filled", cased
    yield "bert with accents", word_piece(True, False)

    mapped = normalizers.Precompiled(charsmap())
    yield "t5", unigram(normalizers.Sequence([mapped, normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]), pre_tokenizers.Metaspace())
    albert = normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
                                   normalizers.StripAccents(), normalizers.Lowercase(), mapped])
    yield "albert", unigram(albert, pre_tokenizers.Metaspace(prepend_scheme="first"))
    yield "unigram with bytes", unigram(normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]), pre_tokenizers.Metaspace(prepend_scheme="never"), byte_fallback=True)

    word = trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=500, special_tokens=["[UNK]"], show_progress=False),
                   normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()]), pre_tokenizers.Whitespace())
    word.add_tokens([AddedToken("single", single_word=True), AddedToken("left", lstrip=True), AddedToken("right", rstrip=True),
                     AddedToken("Both", lstrip=True, rstrip=True, normalized=False), AddedToken("café"), AddedToken("naïve", normalized=False)])
    yield "words with added tokens", word

    cuts = [pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()]),
            pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(), pre_tokenizers.CharDelimiterSplit("e")]),
            pre_tokenizers.Sequence([pre_tokenizers.Punctuation("merged_with_next"), pre_tokenizers.FixedLength(4)]),
            pre_tokenizers.Sequence([pre_tokenizers.Split("a", "merged_with_previous"), pre_tokenizers.Split(Regex(r"\d+|[aeiou]"), "merged_with_next")]),
            pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\w+"), "contiguous", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=True)])]
    for at, cut in enumerate(cuts):
        tokenizer = trained(models.BPE(unk_token="?", continuing_subword_prefix="##"),
                            trainers.BpeTrainer(vocab_size=800, special_tokens=["?"], continuing_subword_prefix="##", show_progress=False), None, cut)
        yield f"cuts {at}", tokenizer


letters = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", ".,;:!?'\"()[]{}<>/\\|-_=+*&^%$#@~`",
           " \t\n\r\u00a0\u2003\u3000\u200b\u200d\ufeff\u0085\u2028", "éüñçßøåÆŒşğıİǅ", "абвгдежзиЙЁ", "αβγσςΣΩ", "中文字符漢字かなカナー", "한국어가나다",
           "אבגד", "ابتث", "हिन्दीक्ष", "ไทย", "😀👩👧🇩🇪🏳️\u200d", "½²³Ⅷ٣४①", "\u0301\u0308\u0327\u20dd", "ﬁﬂ㎏ℌ™…－ｱ", "\x00\x01\x07\x1b\x7f\u0080\ufffd\ue000"]
words = ["the ", " the", "don't", "WE'LL", "it's", "naïve", "café", "single", "left", "right", "Both", "kiln", "  ", "\n\n", " \n ", "1234567", "3.14",
         "<s>", "</s>", "<mask>", "[MASK]", "[SEP]", "<|endoftext|>", "<|im_start|>", "<0x41>", "http://a.b/c?d=e", "def f(x):\n    return x\n", "``", "''", "▁"]


def odd(rng):
    kind = rng.random()
    if kind < 0.25:
        return "".join(rng.choice(rng.choice(letters)) for _ in range(rng.randrange(30)))
    if kind < 0.5:
        return "".join(rng.choice(words) if rng.random() < 0.5 else rng.choice(rng.choice(letters)) for _ in range(rng.randrange(12)))
    if kind < 0.75:
        line = rng.choice(corpus)
        start = rng.randrange(len(line) + 1)
        return line[start:start + rng.randrange(200)]
    runs = []
    for _ in range(rng.randrange(8)):
        row = rng.choice(letters)
        runs.append("".join(rng.choice(row) for _ in range(rng.randrange(1, 8))))
    return rng.choice(["", " "]).join(runs)


total = 0
for name, tokenizer in kinds():
    rng = random.Random(name)
    cases = []
    for _ in range(count):
        text, second = odd(rng), odd(rng)
        case = {"text": text, "second": second}
        for key, encoded in [("one", tokenizer.encode(text)), ("pair", tokenizer.encode(text, second)),
                             ("plain", tokenizer.encode(text, add_special_tokens=False))]:
            case[key] = [encoded.ids, encoded.type_ids, encoded.attention_mask]
        case["decoded"] = [tokenizer.decode(case["pair"][0], skip_special_tokens=skip) if case["pair"][0] else "" for skip in (True, False)]
        cases.append(case)
    tokenizer.save(str(folder / f"{name}.json"))
    (folder / f"{name}.cases").write_text(json.dumps(cases))
    total += len(cases)
print(f"{total} texts")
