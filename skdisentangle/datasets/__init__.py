"""Data with known factors, and tasks on them."""

from ._cars3d import fetch_cars3d
from ._dsprites import fetch_dsprites
from ._factors import make_multitask_factors
from ._mpi3d import fetch_mpi3d
from ._shapes3d import fetch_shapes3d
from ._smallnorb import fetch_smallnorb
from ._sprites import make_sprites, render_sprites
from ._tasks import expand_factors, tasks_from_classes, tasks_from_factors

__all__ = [
    "expand_factors",
    "fetch_cars3d",
    "fetch_dsprites",
    "fetch_mpi3d",
    "fetch_shapes3d",
    "fetch_smallnorb",
    "make_multitask_factors",
    "make_sprites",
    "render_sprites",
    "tasks_from_classes",
    "tasks_from_factors",
]
