"""
Features of all rows, written to disk
=====================================

A model is fitted once, on the rows that have labels; its features are wanted for all rows
there are, perhaps more than memory holds, in a job that may be killed at any time.
``extract_features`` reads a file block by block, writes shards, and goes on where it
stopped when it is called again. The same from a shell: ``skdisentangle extract``.
"""

# %%
# A fitted model in a file, and rows in another.
import tempfile
import warnings
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.extraction import extract_features, verify_features

problem = make_multitask_factors(
    50_000, n_factors=3, n_tasks=30, task_types="regression", random_state=0
)
labelled = slice(1000)
dis = SparseSharedDisentangler(n_components=10, random_state=0)
dis.fit(problem.X[labelled], problem.Y[labelled])

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
joblib.dump(dis, folder / "model.joblib")
np.save(folder / "rows.npy", problem.X)
print(f"model: {(folder / 'model.joblib').stat().st_size / 2**20:.1f} MB")
print(f"rows: {(folder / 'rows.npy').stat().st_size / 2**20:.1f} MB")

# %%
# Extract, in shards of 10,000 rows.
arguments = (folder / "model.joblib", folder / "rows.npy", folder / "features")
manifest = extract_features(*arguments, rows_per_shard=10_000)
for shard in manifest["shards"]:
    print(f"{shard['file']}: {shard['rows']} rows, SHA-256 {shard['sha256'][:12]}...")

# %%
# As after a crash: a shard is gone. ``verify_features`` notices, and the same command
# writes the missing one again and leaves the others alone; the result is byte-identical.
lost = folder / "features" / manifest["shards"][2]["file"]
before = lost.read_bytes()
lost.unlink()
try:
    verify_features(folder / "features")
except ValueError as error:
    print("verify:", str(error).replace(str(folder), "..."))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    extract_features(*arguments, rows_per_shard=10_000)
print("extract:", str(told[0].message).replace(str(folder), "..."))
verify_features(folder / "features", input=folder / "rows.npy")
print("the same bits again:", lost.read_bytes() == before)

# %%
# What comes out are plain files, to be mapped and used by anything. Each feature goes with
# one factor, on 49,000 rows that never had a label.
shards = [folder / "features" / shard["file"] for shard in manifest["shards"]]
features = np.concatenate([np.load(path, mmap_mode="r") for path in shards])
figure, axes = plt.subplots(
    problem.factors.shape[1],
    features.shape[1],
    figsize=(7, 6.4),
    sharex=True,
    sharey=True,
    layout="constrained",
    squeeze=False,
)
for (i, j), ax in np.ndenumerate(axes):
    ax.hexbin(
        features[1000:, j],
        problem.factors[1000:, i],
        gridsize=40,
        bins="log",
        cmap="Blues",
        extent=(-4, 4, -4, 4),
    )
    if i == len(axes) - 1:
        ax.set_xlabel(f"feature {j}")
    if j == 0:
        ax.set_ylabel(f"factor {i}")
plt.show()
temporary.cleanup()
