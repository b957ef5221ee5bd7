"""Makes `packing.json`: numbers, and the bytes that other libraries pack them in.

    pip install gguf; python packing.py libggml-base.so

The `gguf` package packs all formats but those whose scales have scales, which ggml's library does (compiled without fused multiply-adds:
`-ffp-contract=off`).
"""

import ctypes, json, pathlib, sys
import gguf, numpy
from gguf import GGMLQuantizationType as Kind

HERE = pathlib.Path(__file__).parent
library = ctypes.CDLL(sys.argv[1])
random = numpy.random.default_rng(11)
rows = random.standard_normal((4, 256)).astype(numpy.float32)
# Thick tails, only numbers above zero, groups of zeros, one large number among small ones, and numbers that differ by magnitudes.
rows = numpy.concatenate([0.02 * rows, rows[:1] ** 3, numpy.abs(rows[1:2]), rows[2:3] * (numpy.arange(256) % 96 >= 32), 1e-3 * rows[3:4]])
rows[7, 100] = 4.0
rows = numpy.concatenate([rows, numpy.exp(2 * random.standard_normal((1, 256))), numpy.zeros((1, 256)), numpy.full((1, 256), -0.5)])
# Kept in 16 bits, and without zeros below zero: which of two zeros is the least is nobody's.

rows = rows.astype(numpy.float16).astype(numpy.float32) + numpy.float32(0)

def packed(kind):
    if kind not in (Kind.Q4_K, Kind.Q5_K, Kind.Q6_K):
        return gguf.quantize(rows, kind).tobytes()
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = ctypes.create_string_buffer(rows.size // numbers * size)
    pack = getattr(library, f"quantize_{kind.name.lower().replace('k', 'K')}")
    pack.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    pack.restype = ctypes.c_size_t
    assert pack(rows.ctypes.data, blocks, rows.shape[0], rows.shape[1], None) == len(blocks)
    return blocks.raw

kinds = [Kind.F16, Kind.BF16, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K]
found = {kind.name: packed(kind).hex() for kind in kinds}
(HERE / "packing.json").write_text(json.dumps(found) + "\n")
