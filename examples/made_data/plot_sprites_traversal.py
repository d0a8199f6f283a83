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
# Here the factors are known. So we can ask which factor each component follows. An
# orientation is an angle, which takes two components, as on a circle: its sine and cosine.
# The shape decides after which angle a sprite looks the same again, so it counts too.
display = FactorCodeDisplay.from_estimator(
    dis, sprites.data[3000:], sprites.target[3000:], factor_names=sprites.factor_names
)
plt.show()

# %%
# Name each component after the factor that it follows. On your own data you choose the names,
# after a look at the next picture.
followed = display.importance.argmax(axis=1)
dis.set_component_names(
    [
        f"{number}: {sprites.factor_names[factor]}"
        for number, factor in enumerate(followed)
    ]
)
print(*dis.component_names_, sep=", ")

# %%
# Along each row one thing changes. The images are those of the data, as there is no decoder:
# where the data have no image that differs in one component only, a nearby one has to do. The
# last column compares averages over many images: from low to high, blue places get brighter and
# orange places get darker.
TraversalDisplay.from_estimator(dis, sprites.data)
plt.show()

# %%
# And which pixels move a component? A component of position rises with pixels on one side
# and falls with those on the other. One of size changes in the same way with all of them. The
# maps of shape and orientation are pale: what a pixel does depends on where the sprite is.
InputEffectDisplay.from_estimator(dis, sprites.data[3000:])
plt.show()
