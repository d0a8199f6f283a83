"""Makes the files of this folder, which are to stay as the first version wrote them.

Run from the root: ``python -m tests.data.make``. A new format gets files beside these.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from skdisentangle import SparseSharedDisentangler

HERE = Path(__file__).parent


def main() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(200, 2))
    X = factors @ rng.normal(size=(2, 4))
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    labels = pd.DataFrame(
        {
            "size": factors[:, 0],
            "large": factors[:, 0] > 0.5,
            "shape": pd.Categorical(
                np.array(["dot", "cross", "star"])[
                    np.digitize(factors[:, 1], [-0.5, 0.5])
                ]
            ),
            "kind": np.where(factors[:, 1] > 0, "round", "square"),
            "count": pd.array(np.digitize(factors[:, 1], [0, 1]), dtype="Int64"),
        }
    )
    options = {"n_components": 3, "hidden_layer_sizes": (8,), "random_state": 0}
    dis = SparseSharedDisentangler(**options, max_iter=100).fit(frame, labels)
    dis.save(HERE / "frame.safetensors")
    partial = SparseSharedDisentangler(**options)
    for _ in range(30):
        partial.partial_fit(X, X[:, :2])
    partial.save(HERE / "partial.safetensors")
    rows = frame[:20]
    predicted = dis.predict(rows)
    np.savez_compressed(
        HERE / "expected.npz",
        X=rows.to_numpy(),
        frame=dis.transform(rows),
        shape=predicted["shape"].to_numpy().astype("U"),
        size=predicted["size"],
        partial=partial.transform(rows.to_numpy()),
    )


if __name__ == "__main__":
    main()
