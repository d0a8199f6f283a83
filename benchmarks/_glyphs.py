"""Characters in several fonts, drawn from factors: what, in which font, how large.

The fonts are those of three Debian packages and are not part of this repository.
Either install the packages, or unpack them into a folder, which needs no root::

    apt-get download fonts-lato fonts-inter fonts-roboto-unhinted
    for package in fonts-*.deb; do dpkg-deb -x $package fonts; done
    export SKDISENTANGLE_FONTS=$PWD/fonts
"""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
#: The weights that all three families have, upright and italic, from light to heavy.
WEIGHTS = ("Thin", "Light", "Regular", "Medium", "Bold", "Black")
#: Em of size 1, as a share of the image: the widest character just fits, even turned.
EM = 0.72
SMALLEST = 0.6
ROTATION = 30.0
#: Glyphs are turned and scaled at this multiple of the resolution.
OVERSAMPLING = 4


class Family(NamedTuple):
    """A Debian package, and the files (upright, italic) of each weight."""

    package: str
    files: list[tuple[str, str]]


def _family(package, pattern):
    italics = [f"{weight}Italic".replace("Regular", "") for weight in WEIGHTS]
    pairs = zip(WEIGHTS, italics, strict=True)
    return Family(package, [(pattern.format(u), pattern.format(i)) for u, i in pairs])


FAMILIES = {
    "Lato": _family("fonts-lato", "Lato-{}.ttf"),
    "Inter": _family("fonts-inter", "Inter-{}.otf"),
    "Roboto": _family("fonts-roboto-unhinted", "Roboto-{}.ttf"),
}

DESCR = """\
One white character on black, centred at the middle of its bounding box. Columns of
`target`: family (unordered), weight (0 is the lightest), slant (0 upright, 1 italic),
character (A to Z, a to z, 0 to 9; unordered), size (share of the largest), rotation
(degrees, counter-clockwise as seen). All are independent and uniform.
Some images hardly tell their character: I and l are much alike, and C and c, O and o and
others differ in little but size.
"""


def load_glyphs(n_samples, *, size=32, seed=0, fonts=None, families=FAMILIES):
    """Draw characters in random fonts, sizes and rotations.

    Parameters
    ----------
    n_samples : int
        Number of images.
    size : int, default=32
        Height and width of an image in pixels.
    seed : int, default=0
        For the factors.
    fonts : path or None, default=None
        Folder with the font files, at any depth. None is the environment variable
        ``SKDISENTANGLE_FONTS``, or else ``/usr/share/fonts``.
    families : dict of str to Family, default=FAMILIES
        The families of the first factor, all with the same number of weights.

    Returns
    -------
    glyphs : Bunch
        ``data`` (n_samples, size * size) and ``images`` (n_samples, size, size) of
        uint8; ``target`` (n_samples, 6), whose columns are described in ``DESCR``;
        ``factor_names``, ``input_shape``, ``categorical``, ``periods`` (empty: the
        rotation stays within 30 degrees of upright).

    Raises
    ------
    FileNotFoundError
        If a font is missing; the message says what to install.
    """
    rng = np.random.default_rng(seed)
    n_weights = len(next(iter(families.values())).files)
    n_classes = (len(families), n_weights, 2, len(CHARACTERS))
    factors = np.column_stack(
        [rng.integers(n, size=n_samples) for n in n_classes]
        + [
            rng.uniform(SMALLEST, 1, size=n_samples),
            rng.uniform(-ROTATION, ROTATION, size=n_samples),
        ]
    )
    images = render_glyphs(factors, size=size, fonts=fonts, families=families)
    return Bunch(
        data=images.reshape(n_samples, -1),
        images=images,
        target=factors,
        factor_names=["family", "weight", "slant", "character", "size", "rotation"],
        input_shape=(1, size, size),
        categorical=(0, 3),
        periods={},
        DESCR=DESCR,
    )


def render_glyphs(factors, *, size=32, fonts=None, families=FAMILIES):
    """Images of given factors, uint8 of shape (n_samples, size, size)."""
    from PIL import ImageFont

    paths = find_fonts(fonts, families)
    n_weights = len(paths) // (2 * len(families))
    family, weight, slant, character = factors[:, :4].astype(int).T
    font_number = (family * n_weights + weight) * 2 + slant
    images = np.zeros((len(factors), size, size), dtype=np.uint8)
    em = round(OVERSAMPLING * EM * size)
    for number in np.unique(font_number):
        font = ImageFont.truetype(
            str(paths[number]), em, layout_engine=ImageFont.Layout.BASIC
        )
        masks = {}
        for row in np.flatnonzero(font_number == number):
            mask = masks.get(character[row])
            if mask is None:
                mask = _mask(font, CHARACTERS[character[row]])
                masks[character[row]] = mask
            images[row] = _turn(mask, size, *factors[row, 4:])
    return images


def find_fonts(folder=None, families=FAMILIES):
    """Paths of all fonts: by family, then weight, then upright before italic."""
    if folder is None:
        folder = os.environ.get("SKDISENTANGLE_FONTS", "/usr/share/fonts")
    found = {path.name: path for path in sorted(Path(folder).rglob("*.[ot]tf"))}
    names = {
        name: family.package
        for family in families.values()
        for pair in family.files
        for name in pair
    }
    missing = [name for name in names if name not in found]
    if missing:
        packages = " ".join(dict.fromkeys(names[name] for name in missing))
        raise FileNotFoundError(
            f"fonts: {len(missing)} of {len(names)} files, such as {missing[0]}, are not "
            f"in {str(folder)!r} or below it. Install the Debian packages {packages} "
            f"('apt-get install {packages}'), or unpack them without root ('apt-get "
            f"download {packages}', then 'dpkg-deb -x FILE.deb FOLDER' for each) and "
            "give that folder as fonts or as environment variable SKDISENTANGLE_FONTS."
        )
    return [found[name] for name in names]


def _mask(font, character):
    """The character alone, with a black border for interpolation."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (3 * font.size, 3 * font.size))
    draw = ImageDraw.Draw(canvas)
    draw.text((font.size, font.size), character, fill=255, font=font)
    left, top, right, bottom = canvas.getbbox()
    return canvas.crop((left - 2, top - 2, right + 2, bottom + 2))


def _turn(mask, size, scale, rotation):
    """Scale by `scale`, turn by `rotation` degrees, centre, and reduce to `size`."""
    from PIL import Image

    cos, sin = (
        np.cos(np.deg2rad(rotation)) / scale,
        np.sin(np.deg2rad(rotation)) / scale,
    )
    side = OVERSAMPLING * size
    middle = side / 2
    # for each pixel of the result, where it comes from
    coefficients = (
        cos,
        -sin,
        mask.width / 2 - (cos - sin) * middle,
        sin,
        cos,
        mask.height / 2 - (sin + cos) * middle,
    )
    turned = mask.transform(
        (side, side),
        Image.Transform.AFFINE,
        coefficients,
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(turned.reduce(OVERSAMPLING))
