"""Data sets with known factors, benchmarks of distribution shift, and tasks on them."""

from ._camelyon17 import load_camelyon17
from ._cars3d import fetch_cars3d
from ._civilcomments import load_civilcomments
from ._domain_folders import load_office_home, load_pacs, load_vlcs
from ._dsprites import fetch_dsprites
from ._factors import make_multitask_factors
from ._images import read_images
from ._mpi3d import fetch_mpi3d
from ._shapes3d import fetch_shapes3d
from ._smallnorb import fetch_smallnorb
from ._sprites import make_sprites, render_sprites
from ._tasks import expand_factors, tasks_from_classes, tasks_from_factors
from ._waterbirds import load_waterbirds

__all__ = [
    "expand_factors",
    "fetch_cars3d",
    "fetch_dsprites",
    "fetch_mpi3d",
    "fetch_shapes3d",
    "fetch_smallnorb",
    "load_camelyon17",
    "load_civilcomments",
    "load_office_home",
    "load_pacs",
    "load_vlcs",
    "load_waterbirds",
    "make_multitask_factors",
    "make_sprites",
    "read_images",
    "render_sprites",
    "tasks_from_classes",
    "tasks_from_factors",
]
