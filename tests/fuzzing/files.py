"""Damaged and forged files, and a folder of files for the command line."""

from __future__ import annotations

import contextlib
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import pandas as pd

from skdisentangle.cli import main
from skdisentangle.files.file_format import NO_CHECKSUM, checksum_place, pack, unpack

from .building import evaluate
from .models import fitted_model

__all__ = ["damaged", "damaged_model", "make_folder", "model_bytes"]

DATA = Path(__file__).parent.parent / "data"


@lru_cache
def model_bytes(kind):
    """What ``save`` writes of a model; or what it once wrote, for the name of a file."""
    if kind.endswith(".safetensors"):
        return (DATA / kind).read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        fitted_model(kind).save(path)
        return path.read_bytes()


def damaged(data, steps):
    """Bytes with some flipped, lost, added or all of them replaced."""
    for kind, place, *more in steps:
        place %= len(data) + 1
        if kind == "cut":
            data = data[:place]
        elif kind == "drop":
            data = data[:place] + data[place + more[0] :]
        elif kind == "insert":
            data = data[:place] + more[0] + data[place:]
        elif kind == "copy":
            data = data[:place] + data[more[0] % (len(data) + 1) :]
        elif kind == "all":
            data = more[0]
        elif place < len(data):
            flipped = bytes([data[place] ^ (1 << more[0])])
            data = data[:place] + flipped + data[place + 1 :]
    return data


def forged(document, steps):
    """A document of JSON with other values, at places that numbers lead to."""
    for path, text in steps:
        holder, key, part = None, None, document
        for number in path:
            if not isinstance(part, (dict, list)) or not part:
                break
            keys = sorted(part) if isinstance(part, dict) else range(len(part))
            holder, key = part, keys[number % len(keys)]
            part = holder[key]
        if holder is not None and text is None:
            del holder[key]
        elif holder is not None:
            holder[key] = evaluate(text)


def _with_header(data, change):
    size = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _sealed(data):
    """The same with the right checksum, if there is a place for it."""
    try:
        start, stop = checksum_place(data, 8 + int.from_bytes(data[:8], "little"))
    except ValueError:
        return data
    blank = data[:start] + NO_CHECKSUM.encode() + data[stop:]
    checksum = hashlib.sha256(blank).hexdigest().encode()
    return data[:start] + checksum + data[stop:]


def damaged_model(case):
    """Bytes of a file of a model, as a case describes them."""
    data = model_bytes(case["model"])
    if case.get("forged") or case.get("arrays"):
        document, arrays = unpack(data)
        del document["sha256"]
        forged(document, case.get("forged", ()))
        for number, text in case.get("arrays", ()):
            name = sorted(arrays)[number % len(arrays)]
            with np.errstate(all="ignore"):
                arrays[name] = np.asarray(evaluate(text)(arrays[name]))
        data = pack(document, arrays)
    if "header" in case:
        data = _with_header(data, lambda head: b"{" + case["header"] + head[1:])
    if "document" in case:
        start = rb"{\"sha256\""
        odd = case["document"].replace(b'"', rb"\"")
        data = _with_header(
            data, lambda head: head.replace(start, b"{" + odd + start[1:])
        )
    data = damaged(data, case.get("damage", ()))
    return _sealed(data) if case["sealed"] else data


@lru_cache
def _folder():
    """Contents of the files of a good folder, by their names in it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        X = rng.normal(size=(40, 4))
        table = pd.DataFrame(X, columns=list("abcd"))
        table["size"], table["kind"] = X[:, 0], np.where(X[:, 1] > 0, "x", "y")
        table.loc[::5, "kind"] = None
        np.save(folder / "rows.npy", X)
        rows = table[list("abcd")]
        rows.to_csv(folder / "rows.csv", index=False)
        rows.to_parquet(folder / "rows.parquet")
        rows.to_feather(folder / "rows.arrow")
        table.to_csv(folder / "table.csv", index=False)
        table.to_parquet(folder / "table.parquet")
        joblib.dump(fitted_model("array"), folder / "model.joblib")
        fitted_model("array").save(folder / "model.safetensors")
        for output, more in (("features", []), ("shards", ["--rows-per-shard", "9"])):
            paths = [str(folder / n) for n in ("model.joblib", "rows.npy", output)]
            with contextlib.redirect_stdout(None):
                assert main(["extract", *paths, *more, "--quiet"]) == 0
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }


def make_folder(folder, case):
    """Write the files that the command line gets, those damaged that a case says."""
    for name, data in _folder().items():
        steps = case["files"].get(name)
        if steps is not None and name.endswith(".json"):
            manifest = json.loads(data)
            forged(manifest, steps)
            data = json.dumps(manifest).encode()
        elif steps is not None:
            data = damaged(data, steps)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (folder / "odd.csv").write_bytes(case["text"])
