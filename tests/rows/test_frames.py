from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skdisentangle.rows.frames import check_cells

from ..conftest import quick

N = 20
X = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 3)), columns=list("abc"))
Y = X.to_numpy() @ np.ones((3, 2))


@pytest.mark.parametrize(
    "values",
    [
        [f"R-{row}" for row in range(N)],
        pd.Categorical(["x", "y"] * (N // 2)),
        pd.date_range("2020", periods=N),
        pd.to_timedelta(np.arange(N), unit="D"),
        pd.array(["x", None] * (N // 2), dtype="string"),
        [[1.0]] * N,
    ],
)
def test_columns_that_are_not_numbers_are_named(values):
    message = (
        "in the column 'place'. Drop or encode such columns, for instance with One"
    )
    with pytest.raises(ValueError, match=message):
        quick().fit(X.assign(place=values), Y)


@pytest.mark.parametrize(
    "values", [[1.0, np.nan], [1.0, None], pd.array([1, None], dtype="Int64")]
)
def test_columns_with_missing_cells_are_named(values):
    holed = X.assign(b=pd.Series(values).repeat(N // 2).to_numpy())
    with pytest.raises(ValueError, match=r"NaN in the column 'b'\. Impute"):
        quick().fit(holed, Y)
    fitted = quick().fit(X, Y)
    with pytest.raises(ValueError, match="NaN in the column 'b'"):
        fitted.transform(holed)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(holed[["b", "a", "c"]])


def test_frames_of_polars():
    frame = pl.DataFrame({"kind": ["x"] * N, "a": [1, None] * (N // 2), "b": range(N)})
    with pytest.raises(
        ValueError, match=r"column 'kind'\. Drop .* column 'a'\. Impute"
    ):
        quick().fit(frame, Y)


def test_of_many_columns_five_are_named():
    frame = X.assign(**{f"text{number}": "x" for number in range(8)}, a=np.nan)
    with pytest.raises(
        ValueError, match=r"columns 'text0', .* 'text4' and 3 more\. Drop"
    ):
        quick().fit(frame, Y)


def test_nothing_is_said_of_columns_that_can_be_used():
    good = X.assign(
        d=True, e=["1", "2"] * (N // 2), f=pd.Categorical([1, 2] * (N // 2))
    )
    for rows in (good, pl.DataFrame({"a": [1, 2]}), np.full((2, 2), np.nan), [["a"]]):
        check_cells(rows)
    with pytest.raises(ValueError, match="infinity"):
        quick().fit(X.assign(a=np.inf), Y)
