"""PACS, VLCS and OfficeHome: one folder per domain, and in it one folder per class."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from .._random import RandomState
from ._layouts import as_objects, find_folder, listing, warn_if_partial
from ._tasks import check_size, tasks_from_classes

__all__ = ["load_office_home", "load_pacs", "load_vlcs"]

#: Ends of the names of files that count as images.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp")

#: Most tasks on class subsets unless the user says how many.
MAX_TASKS = 60


class Layout(NamedTuple):
    """A set of this layout: names, sizes, and where it comes from."""

    title: str
    folders: tuple[str, ...]
    domains: tuple[str, ...]
    n_classes: int
    n_images: int
    source: str
    descr: str


COMMON = """
There is no official split. The protocol leaves one domain out: fit on the other three, hold
back a random fifth of them to choose settings, and score on the domain left out. Average over
the four domains (`sklearn.model_selection.LeaveOneGroupOut` with `groups=bunch.domain`).

I. Gulrajani and D. Lopez-Paz, "In search of lost domain generalization", ICLR 2021, whose code
(DomainBed) takes this layout, https://github.com/facebookresearch/DomainBed.
"""

PACS = Layout(
    "PACS",
    ("PACS", "PACS/kfold", "kfold"),
    ("art_painting", "cartoon", "photo", "sketch"),
    7,
    9_991,
    "The archive is linked from https://dali-dl.github.io/project_iccv2017.html and from "
    "domainbed/scripts/download.py of https://github.com/facebookresearch/DomainBed; its "
    "folder 'kfold' may be renamed 'PACS'.",
    """\
PACS: 9,991 images of 7 classes (dog, elephant, giraffe, guitar, horse, house, person) in 4
domains: 2,048 art paintings, 2,344 cartoons, 1,670 photos, 3,929 sketches; 227 x 227 pixels.

D. Li, Y. Yang, Y.-Z. Song and T. Hospedales, "Deeper, broader and artier domain
generalization", ICCV 2017. Licence: none is stated; published for research.
"""
    + COMMON,
)

VLCS = Layout(
    "VLCS",
    ("VLCS",),
    ("Caltech101", "LabelMe", "SUN09", "VOC2007"),
    5,
    10_729,
    "The archive is linked from domainbed/scripts/download.py of "
    "https://github.com/facebookresearch/DomainBed.",
    """\
VLCS: 10,729 photos of 5 classes (bird, car, chair, dog, person). The 4 domains are their
sources: 1,415 of Caltech101, 2,656 of LabelMe, 3,282 of SUN09, 3,376 of VOC2007.

C. Fang, Y. Xu and D. Rockmore, "Unbiased metric learning: on the utilization of multiple
datasets and web images for softening bias", ICCV 2013. Licence: none is stated for
VLCS; those of the four data sets apply.
"""
    + COMMON,
)

OFFICE_HOME = Layout(
    "OfficeHome",
    ("office_home", "OfficeHomeDataset_10072016"),
    ("Art", "Clipart", "Product", "Real World"),
    65,
    15_588,
    "The archive is linked from https://www.hemanthdv.org/officeHomeDataset.html. The name "
    "'Real World' has a space.",
    """\
OfficeHome: 15,588 images of 65 classes of things in offices and homes, in 4 domains: 2,427
of art, 4,365 of clipart, 4,439 of product photos, 4,357 of the real world.

H. Venkateswara, J. Eusebio, S. Chakraborty and S. Panchanathan, "Deep hashing network for
unsupervised domain adaptation", CVPR 2017. Licence: for non-commercial research and
education only; the images belong to their owners.
"""
    + COMMON,
)


def load_pacs(
    path: str | os.PathLike[str],
    *,
    n_tasks: int | None = None,
    n_classes: int = 2,
    random_state: RandomState = None,
) -> Bunch:
    """Load PACS: 7 classes of images in 4 styles.

    Nothing is downloaded.

    Parameters
    ----------
    path : str or path-like
        The folder that holds ``art_painting``, ``cartoon``, ``photo`` and ``sketch``, each with
        one folder per class, or the folder that contains it as ``PACS`` or, as in the
        archive, ``kfold``.
    n_tasks : int or None, default=None
        Number of tasks on class subsets, see :func:`tasks_from_classes`. None means one per
        subset, but at most 60.
    n_classes : int, default=2
        Classes per such task.
    random_state : int, RandomState or None, default=None
        Seed for the draw of subsets.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        A dictionary with attributes:

        paths : ndarray of str, shape (n_samples,)
            The image files. Read them with :func:`read_images`.
        target : ndarray of int64, shape (n_samples,)
            The class, as an index of `target_names`.
        target_names : list of str
            Their names.
        Y_tasks : ndarray of float64, shape (n_samples, 1 + n_tasks)
            The class, then class subsets, with NaN on rows of other classes.
        task_names, task_types : list of str
            For each column of `Y_tasks`.
        group_tasks : list of str
            Tasks that identify domains or groups: none.
        domain : ndarray of int64, shape (n_samples,)
            The domain, as an index of `domain_names`.
        domain_names : list of str
            Their names.
        DESCR : str
            Description, protocol, licence and citation.

    Raises
    ------
    OSError
        If the folder does not have this layout, or a class has no image in a domain. The
        message says what was found, and what to get from where.
    ValueError, TypeError
        If an argument is not as described.

    Warns
    -----
    UserWarning
        If the number of images differs from the official set.

    Examples
    --------
    >>> from skdisentangle.datasets import load_pacs, read_images
    >>> pacs = load_pacs("data/PACS", random_state=0)  # doctest: +SKIP
    >>> read_images(pacs.paths[:10], size=224).shape  # doctest: +SKIP
    (10, 224, 224, 3)
    """
    return _load(PACS, path, n_tasks, n_classes, random_state)


def load_vlcs(
    path: str | os.PathLike[str],
    *,
    n_tasks: int | None = None,
    n_classes: int = 2,
    random_state: RandomState = None,
) -> Bunch:
    """Load VLCS: 5 classes of photos from 4 data sets.

    Nothing is downloaded.

    Parameters
    ----------
    path : str or path-like
        The folder that holds ``Caltech101``, ``LabelMe``, ``SUN09`` and ``VOC2007``, each with
        one folder per class, or the folder that contains it as ``VLCS``.
    n_tasks, n_classes, random_state
        As in :func:`load_pacs`.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        As from :func:`load_pacs`.

    Raises
    ------
    OSError, ValueError, TypeError
        As in :func:`load_pacs`.

    Warns
    -----
    UserWarning
        If the number of images differs from the official set.
    """
    return _load(VLCS, path, n_tasks, n_classes, random_state)


def load_office_home(
    path: str | os.PathLike[str],
    *,
    n_tasks: int | None = None,
    n_classes: int = 2,
    random_state: RandomState = None,
) -> Bunch:
    """Load OfficeHome: 65 classes of objects in 4 styles.

    Nothing is downloaded.

    Parameters
    ----------
    path : str or path-like
        The folder that holds ``Art``, ``Clipart``, ``Product`` and ``Real World`` (with a
        space), each with one folder per class, or the folder that contains it as
        ``OfficeHomeDataset_10072016`` or ``office_home``.
    n_tasks, n_classes, random_state
        As in :func:`load_pacs`.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        As from :func:`load_pacs`.

    Raises
    ------
    OSError, ValueError, TypeError
        As in :func:`load_pacs`.

    Warns
    -----
    UserWarning
        If the number of images differs from the official set.
    """
    return _load(OFFICE_HOME, path, n_tasks, n_classes, random_state)


def _load(
    layout: Layout,
    path: str | os.PathLike[str],
    n_tasks: int | None,
    n_classes: int,
    random_state: RandomState,
) -> Bunch:
    check_size("n_classes", n_classes, 2)
    folder = find_folder(
        layout.title, path, layout.folders, layout.domains, layout.source
    )
    classes = _class_names(layout, folder)
    paths: list[str] = []
    target: list[int] = []
    domain: list[int] = []
    for d, domain_name in enumerate(layout.domains):
        for c, class_name in enumerate(classes):
            images = _images(folder / domain_name / class_name)
            if not images:
                raise FileNotFoundError(
                    f"{layout.title}: there is no image in "
                    f"{str(folder / domain_name / class_name)!r}; every class must have "
                    "images in every domain. Unpack the archive again."
                )
            paths += images
            target += [c] * len(images)
            domain += [d] * len(images)
    warn_if_partial(layout.title, len(paths), layout.n_images, stacklevel=4)
    labels = np.array(target)
    if n_tasks is None and n_classes <= len(classes):
        n_tasks = min(MAX_TASKS, math.comb(len(classes), n_classes))
    tasks = tasks_from_classes(
        labels,
        n_tasks=MAX_TASKS if n_tasks is None else n_tasks,
        n_classes=n_classes,
        random_state=random_state,
    )
    subsets = [" or ".join(classes[int(c)] for c in row) for row in tasks.classes]
    return Bunch(
        paths=as_objects(paths),
        target=labels,
        target_names=classes,
        Y_tasks=np.column_stack([labels, tasks.Y]),
        task_names=["class", *subsets],
        task_types=["multiclass", *tasks.task_types],
        group_tasks=[],
        domain=np.array(domain),
        domain_names=list(layout.domains),
        DESCR=layout.descr,
    )


def _class_names(layout: Layout, folder: Path) -> list[str]:
    """Names of the classes, which must be those of every domain."""
    found = {
        domain: {
            entry.name
            for entry in os.scandir(folder / domain)
            if entry.is_dir() and not entry.name.startswith(".")
        }
        for domain in layout.domains
    }
    everything = sorted(set().union(*found.values()))
    for domain, names in found.items():
        lacking = set(everything) - names
        if lacking:
            raise FileNotFoundError(
                f"{layout.title}: {str(folder / domain)!r} has no folder "
                f"{listing(lacking)}, which other domains have; every class must be in "
                "every domain. Unpack the archive again."
            )
    if len(everything) != layout.n_classes:
        raise OSError(
            f"{layout.title}: expected one folder per class, {layout.n_classes} in all, in "
            f"the domains in {str(folder)!r}; got {len(everything)}: {listing(everything)}. "
            f"{layout.source}"
        )
    return everything


def _images(folder: Path) -> list[str]:
    return [
        str(folder / name)
        for name in sorted(os.listdir(folder))
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    ]
