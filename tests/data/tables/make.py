"""Makes the files in this folder: one table in every kind of file that kiln reads, written by the programs that people use. Needs pandas,
openpyxl, xlsxwriter, pyarrow, polars and zstandard."""

import datetime as dt
import gzip
import pathlib
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

HERE = pathlib.Path(__file__).parent
ROWS = 90

frame = pd.DataFrame({
    "amount": [np.nan if i % 13 == 5 else 1000.25 + 40.5 * (i * 7 % 50) + 900 * (i % 2) for i in range(ROWS)],
    "count": [i * 11 % 17 for i in range(ROWS)],
    "town": [["Köln", "Bonn", "Ulm"][i % 3] for i in range(ROWS)],
    "day": [dt.datetime(2020, 1, 1) + dt.timedelta(days=17 * i) for i in range(ROWS)],
    "seen": [dt.datetime(2021, 3, 1, 8, 30, 5) + dt.timedelta(hours=7 * i) for i in range(ROWS)],
    "paid": [i % 4 != 0 for i in range(ROWS)],
    "code": [f"A{i % 5:04d}" for i in range(ROWS)],
    "level": [["low", "high"][i % 2] for i in range(ROWS)],
})


def at(name):
    return str(HERE / name)


frame.to_csv(at("plain.csv"), index=False)
plain = (HERE / "plain.csv").read_bytes()
text = plain.decode()
(HERE / "tabs.tsv").write_text(text.replace(",", "\t"))
(HERE / "bars.psv").write_text(text.replace(",", "|"))
(HERE / "utf-16.tab").write_bytes(text.replace(",", "\t").encode("utf-16"))
rows = frame.copy()
for name in ["day", "seen"]:
    rows[name] = rows[name].dt.strftime("%Y-%m-%dT%H:%M:%S")
rows.to_json(at("lines.jsonl"), orient="records", lines=True, force_ascii=False)
rows.to_json(at("lines.ndjson"), orient="records", lines=True)
rows.to_json(at("list.json"), orient="records")
(HERE / "packed.csv.gz").write_bytes(gzip.compress(plain, mtime=0))
(HERE / "packed.csv.zst").write_bytes(zstandard.compress(plain))
with zipfile.ZipFile(at("one.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in [("data/plain.csv", plain), ("README.md", b"about"), ("__MACOSX/data/._plain.csv", b"x")]:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)

frame.to_excel(at("pandas.xlsx"), index=False)
frame.to_excel(at("offset.xlsx"), index=False, engine="xlsxwriter", startrow=3, startcol=2)
book = openpyxl.Workbook()
sheet = book.active
sheet["A1"] = "Report of the year"
sheet.append([])
sheet.append(list(frame.columns))
for row in frame.itertuples(index=False):
    sheet.append([None if isinstance(cell, float) and np.isnan(cell) else cell for cell in row])
for number in range(4, ROWS + 4):
    sheet.cell(number, 4).number_format = "dd.mm.yyyy"
    if sheet.cell(number, 1).value is None:
        sheet.cell(number, 1).value = "#N/A"
book.save(at("titled.xlsm"))

frame.to_parquet(at("snappy.parquet"))
frame.to_parquet(at("lz4.parquet"), compression="lz4")
frame.to_parquet(at("gzip.parquet"), compression="gzip")
pq.write_table(pa.Table.from_pandas(frame), at("zstd.parquet"), data_page_version="2.0", compression="zstd")
coded = frame.copy()
coded["town"] = coded["town"].astype("category")
coded.to_parquet(at("coded.parquet"), compression=None)
pl.from_pandas(frame).write_parquet(at("polars.parquet"))

frame.to_feather(at("lz4.feather"), compression="lz4")
frame.to_feather(at("zstd.feather"), compression="zstd")
coded.to_feather(at("coded.feather"), compression="uncompressed")
pl.from_pandas(frame).write_ipc(at("polars.arrow"), compression="zstd")
with pa.ipc.new_stream(at("stream.arrows"), pa.Table.from_pandas(coded).schema) as stream:
    for start in range(0, ROWS, 40):
        stream.write_table(pa.Table.from_pandas(coded[start : start + 40], preserve_index=False))
