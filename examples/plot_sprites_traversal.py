"""
What does a component of an image mean?
=======================================

Small images of a sprite, drawn from five factors: shape, size, orientation and position.
The fit sees images and sixty tasks, each on one to three of the factors, and nothing
else. To see what a component came to mean, look at images from its low to its high
values that are alike in all other components.
"""

# %%
# Images and tasks. ``encoder="conv"`` takes each row for an image of ``input_shape``.
import matplotlib.pyplot as plt

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_sprites, tasks_from_factors
from skdisentangle.inspection import (
    FactorCodeDisplay,
    InputEffectDisplay,
    TraversalDisplay,
)

sprites = make_sprites(4000, size=32, shapes=("square", "ellipse"), random_state=0)
tasks = tasks_from_factors(
    sprites.target,
    categorical=sprites.categorical,
    periods=sprites.periods,
    task_types="regression",
    random_state=0,
)
dis = SparseSharedDisentangler(
    n_components=10, encoder="conv", input_shape=sprites.input_shape, random_state=0
)
dis.fit(sprites.data[:3000], tasks.Y[:3000])

# %%
# Along each row one thing should change: position, size, and so on. The images are those
# of the data, as there is no decoder: where the data have no image that differs in one
# component only, a nearby one has to do.
TraversalDisplay.from_estimator(dis, sprites.data)
plt.show()

# %%
# As the factors are known here, the reading can be checked. An orientation is an angle,
# which takes two components, as on a circle; here they stand for its sine and cosine. The
# shape says after which angle a sprite looks the same again, so that it counts, too.
FactorCodeDisplay.from_estimator(
    dis, sprites.data[3000:], sprites.target[3000:], factor_names=sprites.factor_names
)
plt.show()

# %%
# And which pixels move a component? Near the border there never is anything.
InputEffectDisplay.from_estimator(dis, sprites.data[3000:], max_samples=300)
plt.show()
