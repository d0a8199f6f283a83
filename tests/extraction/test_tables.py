"""Labels out of CSV files, and what is missing there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyarrow")

from skdisentangle.extraction.readers import read_table
from skdisentangle.extraction.tables import MISSING, labels_of_text


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        (["1", "-2", "+3"], "int64", [1, -2, 3]),
        (["1", None, "3"], "float64", [1.0, None, 3.0]),
        (["100000000000000001", "2", "3"], "int64", [10**17 + 1, 2, 3]),
        (["100000000000000001", None, "3"], "Int64", [10**17 + 1, None, 3]),
        (["9223372036854775809", "2"], "uint64", [2**63 + 1, 2]),
        (["9223372036854775809", None], "UInt64", [2**63 + 1, None]),
        (["9223372036854775809", "-2"], "object", [2**63 + 1, -2]),
        (["1" + "0" * 29 + "1", "2"], "object", [10**30 + 1, 2]),
        (["001", "002", "10"], "str", ["001", "002", "10"]),
        (["0", "-0", "10"], "int64", [0, 0, 10]),
        (["0.5", "1", " 2e3 "], "float64", [0.5, 1.0, 2000.0]),
        (["true", "False", "TRUE"], "bool", [True, False, True]),
        (["true", None], "boolean", [True, None]),
        (["1", "2", "3a"], "str", ["1", "2", "3a"]),
        (["1_0", "2"], "str", ["1_0", "2"]),
        ([" a", "b "], "str", [" a", "b "]),
        (["2020-01-01", "1"], "str", ["2020-01-01", "1"]),
        ([None, None], "float64", [None, None]),
    ],
)
def test_labels_are_the_numbers_that_all_of_them_are(cells, dtype, values):
    texts = pd.Series(cells, dtype="str" if pd.__version__ >= "3" else object, name="t")
    labels = labels_of_text(texts)
    kind = object if dtype == "str" and pd.__version__ < "3" else dtype
    assert labels.dtype == kind
    assert labels.name == "t"
    assert [None if pd.isna(v) else v for v in labels] == values


def test_a_cell_that_must_be_a_mistake_is_named():
    with pytest.raises(ValueError, match=r"'t' holds numbers and, in row 3, 'oops'\."):
        labels_of_text(pd.Series(["0.5", None, "oops", "1"], name="t"))


def test_what_is_missing_for_pandas_is_missing(tmp_path):
    """In labels of any kind, quoted or not, and in features."""
    path = tmp_path / "rows.csv"
    cells = [*MISSING, "x", "y", "'NA'", "none"]
    path.write_text("x,word\n" + "".join(f"{i},{c}\n" for i, c in enumerate(cells)))
    X, labels = read_table(path, ["word"])
    expected = pd.read_csv(path)
    assert labels["word"].isna().tolist() == expected["word"].isna().tolist()
    assert labels["word"].isna().sum() == len(MISSING)
    assert X["x"].tolist() == list(range(len(cells)))
    lines = [f"{cell},1" for cell in MISSING]
    path.write_text("\n".join(["x,y", "2.5,0", *lines]))
    with pytest.raises(ValueError, match=f"'x' lacks numbers in {len(MISSING)} rows"):
        read_table(path, ["y"])


def test_a_fraction_after_the_first_block_stays_one(tmp_path, monkeypatch):
    monkeypatch.setattr("skdisentangle.extraction.tables.BLOCK_BYTES", 256)
    path = tmp_path / "rows.csv"
    frame = pd.DataFrame({"x": np.arange(200), "y": np.arange(200) * 1.0, "z": "7"})
    frame.loc[199, "y"], frame.loc[199, "z"] = 0.5, "007"
    frame.to_csv(path, index=False)
    _, labels = read_table(path, ["y", "z"])
    assert labels["y"].tolist() == frame["y"].tolist()
    assert labels["z"].tolist() == ["7"] * 199 + ["007"]
