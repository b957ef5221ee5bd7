"""ONNX's own tests: writes the cases of its Python package as files, runs them, and holds the table in a document beside what came out.

python onnx_cases.py FOLDER PROGRAM DOCUMENT
"""

import collections
import os
import pathlib
import subprocess
import sys
import warnings

warnings.filterwarnings("ignore")

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case import node
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

folder, program, document = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
stored = pathlib.Path(onnx.__file__).parent / "backend/test/data"


def message(value, port):
    kind = port.type
    if isinstance(value, TensorProto):
        return value
    if kind.HasField("sequence_type"):
        return numpy_helper.from_list(value, port.name)
    if kind.HasField("optional_type"):
        return numpy_helper.from_optional(value, port.name)
    return numpy_helper.from_array(np.asarray(value), port.name)


operators = {}
for case in node.collect_testcases(None):
    own = folder / case.name
    own.mkdir(parents=True)
    (own / "model.onnx").write_bytes(case.model.SerializeToString())
    # An expanded case is the operator's own function; it counts for the operator it is named after, where that has a case itself.
    operators[case.name] = case.model.graph.node[0].op_type
    graph = case.model.graph
    for number, sets in enumerate(case.data_sets):
        data = own / f"test_data_set_{number}"
        data.mkdir()
        for what, values, ports in zip(("input", "output"), sets, (graph.input, graph.output)):
            for at, value in enumerate(values):
                (data / f"{what}_{at}.pb").write_bytes(message(value, ports[at]).SerializeToString())


def run(folders):
    out = subprocess.run([program, *map(str, folders)], check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in out.splitlines()]


def of(name):
    plain = name.split("_expanded")[0]
    return operators.get(plain, operators[name])


results = run(sorted(folder.iterdir()))
models = {kind: run(sorted(path for path in (stored / kind).iterdir() if path.is_dir()))
          for kind in ("simple", "pytorch-operator", "pytorch-converted")}
failed = [row for row in results + sum(models.values(), []) if row[1] == "failed"]
for row in failed:
    print(f"{row[0]} failed: {row[2][:300]}")

counts = collections.defaultdict(collections.Counter)
for name, how, _ in results:
    counts[of(name)][how] += 1
total = collections.Counter(how for _, how, _ in results)
lines = [f"Tests of operators in onnx {onnx.__version__}: {total['passed']} passed, {total['failed']} failed, {total['drawn']} draw at random and have the shapes and types that they should, {total['unclaimed']} not claimed.", ""]
for kind, rows in models.items():
    found = collections.Counter(how for _, how, _ in rows)
    lines.append(f"Stored models, {kind}: {found['passed']} passed, {found['failed']} failed, {found['unclaimed']} not claimed.  ")
lines += ["", "| operator | passed | failed | not claimed |", "|---|---|---|---|"]
some = sorted(name for name in counts if counts[name]["passed"] or counts[name]["failed"])
# All operators that ONNX and ONNX Runtime have, by domain.
schemas = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas()}
schemas |= {(schema.domain, schema.name) for schema in runtime.get_all_operator_schema() if schema.domain == "com.microsoft"}
asked = [f"{domain}:{name}" for domain, name in sorted(schemas)]
unknown = subprocess.run([program, "--known", *asked], check=True, capture_output=True, text=True).stdout.split()
by_domain = collections.defaultdict(list)
for one in unknown:
    domain, name = one.split(":")
    by_domain[domain].append(name)
lines += [f"| {name} | {counts[name]['passed']} | {counts[name]['failed']} | {counts[name]['unclaimed'] or ''} |" for name in some]
for domain in sorted({domain for domain, _ in schemas}):
    all_ = sum(own == domain for own, _ in schemas)
    missing = by_domain[domain]
    said = f"Of `{domain or 'ai.onnx'}` {all_ - len(missing)} of {all_} operators are known"
    lines += ["", said + (": all but " + ", ".join(missing) + "." if missing else ".")]
fresh = "\n".join(lines) + "\n"

text = document.read_text()
start, end = "<!-- cases -->\n", "<!-- end -->"
before, rest = text.split(start)
after = rest.split(end)[1]
print("\n".join(lines[:6]))
if os.environ.get("UPDATE_DOCS"):
    document.write_text(before + start + fresh + end + after)
elif rest.split(end)[0] != fresh:
    sys.exit(f"{document} doesn't say what came out; run `UPDATE_DOCS=1 scripts/onnx.sh` and look at the difference")
if failed or total["passed"] < 1700:
    sys.exit(1)
