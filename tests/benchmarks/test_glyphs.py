"""Glyphs of the benchmarks, with fonts that matplotlib brings along."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PIL")
matplotlib = pytest.importorskip("matplotlib")
glyphs = pytest.importorskip("benchmarks._glyphs")

FOLDER = matplotlib.get_data_path()
FAMILIES = {
    "Sans": glyphs.Family(
        "fonts-dejavu-core",
        [
            ("DejaVuSans.ttf", "DejaVuSans-Oblique.ttf"),
            ("DejaVuSans-Bold.ttf", "DejaVuSans-BoldOblique.ttf"),
        ],
    ),
    "Serif": glyphs.Family(
        "fonts-dejavu-extra",
        [
            ("DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf"),
            ("DejaVuSerif-Bold.ttf", "DejaVuSerif-BoldItalic.ttf"),
        ],
    ),
}


def load(n_samples=2000, **options):
    return glyphs.load_glyphs(n_samples, fonts=FOLDER, families=FAMILIES, **options)


@pytest.fixture(scope="module")
def drawn():
    return load(seed=1, size=64)


def test_contents(drawn):
    assert drawn.data.shape == (2000, 64 * 64)
    assert drawn.data.dtype == np.uint8
    assert np.shares_memory(drawn.data, drawn.images)
    assert drawn.input_shape == (1, 64, 64)
    assert drawn.categorical == (0, 3)
    assert drawn.periods == {}
    assert drawn.factor_names[:3] == ["family", "weight", "slant"]
    for column, n_classes in enumerate([2, 2, 2, 62]):
        assert np.unique(drawn.target[:, column]).tolist() == list(range(n_classes))
    size, rotation = drawn.target[:, 4:].T
    assert size.min() >= 0.6
    assert size.max() <= 1
    assert np.abs(rotation).max() <= 30
    correlation = np.corrcoef(drawn.target.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.1


def border(images):
    sides = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    return np.stack(sides, axis=-1)


def test_each_glyph_is_there_whole_and_in_the_middle(drawn):
    images = drawn.images
    assert images.max(axis=(1, 2)).min() > 150
    # these fonts are wider than those of the benchmark, for which size 1 just fits
    assert not border(images[drawn.target[:, 4] < 0.85]).any()
    letter = np.isin(drawn.target[:, 3], [glyphs.CHARACTERS.index(c) for c in "OIo0"])
    pixels = np.arange(64) + 0.5
    for image in images[letter]:  # symmetric ones: the centroid is the middle
        for axis in (0, 1):
            middle = image.sum(axis=axis) @ pixels / image.sum()
            assert abs(middle - 32) < 0.6


def principal_axis(image):
    """Angle in degrees from upright, counter-clockwise, of the longest axis."""
    y, x = np.nonzero(image > 127)
    _, axes = np.linalg.eigh(np.cov(np.stack([x, -y])))
    right, up = axes[:, 1] * np.sign(axes[1, 1])
    return -np.degrees(np.arctan2(right, up))


@pytest.mark.parametrize("weight", [0, 1])
@pytest.mark.parametrize("slant", [0, 1])
def test_rotation_slant_and_size_show(weight, slant):
    """In the letter l, a bar in the sans-serif family."""
    size = np.linspace(0.6, 1, 12)
    rotation = np.linspace(-30, 30, 12)
    bar = [0, weight, slant, glyphs.CHARACTERS.index("l")]
    factors = np.column_stack([np.tile(bar, (12, 1)), size, rotation])
    images = glyphs.render_glyphs(factors, size=48, fonts=FOLDER, families=FAMILIES)
    lean = rotation - [principal_axis(image) for image in images]
    if slant:
        assert lean.min() > 6  # to the right
    else:
        assert np.abs(lean).max() < 3
    # ink goes with the area
    ink = images.sum(axis=(1, 2)) / size**2
    np.testing.assert_allclose(ink, ink.mean(), rtol=0.03)


def every_glyph(n_families, n_weights):
    grid = np.indices((n_families, n_weights, 2, 62)).reshape(4, -1).T
    return np.column_stack([grid, np.ones(len(grid)), np.zeros(len(grid))])


def test_every_font_and_character_has_its_own_image():
    factors = every_glyph(2, 2)
    images = glyphs.render_glyphs(factors, fonts=FOLDER, families=FAMILIES)
    assert len(np.unique(images.reshape(496, -1), axis=0)) == 496
    ink = images.reshape(2, 2, 2, 62, -1).sum(axis=-1, dtype=float)
    assert (ink[:, 1].mean(axis=-1) > 1.2 * ink[:, 0].mean(axis=-1)).all()


def test_same_seed_same_images():
    first, again, other = load(50, seed=3), load(50, seed=3), load(50, seed=4)
    np.testing.assert_array_equal(first.data, again.data)
    np.testing.assert_array_equal(first.target, again.target)
    assert not np.array_equal(first.target, other.target)


def test_missing_fonts_say_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="fonts-lato fonts-inter") as raised:
        glyphs.load_glyphs(10, fonts=tmp_path)
    for part in ("fonts-roboto-unhinted", "dpkg-deb -x", "SKDISENTANGLE_FONTS"):
        assert part in str(raised.value)
    only_sans = {"Sans": FAMILIES["Sans"], "Other": glyphs.FAMILIES["Lato"]}
    with pytest.raises(FileNotFoundError) as raised:
        glyphs.load_glyphs(10, fonts=FOLDER, families=only_sans)
    assert "fonts-lato" in str(raised.value)
    assert "dejavu" not in str(raised.value)
    monkeypatch.setenv("SKDISENTANGLE_FONTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        glyphs.load_glyphs(10)
    monkeypatch.setenv("SKDISENTANGLE_FONTS", str(FOLDER))
    assert len(glyphs.load_glyphs(10, families=FAMILIES).data) == 10


def test_the_six_weights_are_files_of_all_families():
    assert [len(family.files) for family in glyphs.FAMILIES.values()] == [6, 6, 6]
    assert glyphs.FAMILIES["Lato"].files[2] == ("Lato-Regular.ttf", "Lato-Italic.ttf")
    assert glyphs.FAMILIES["Inter"].files[5][1] == "Inter-BlackItalic.otf"


def test_no_glyph_of_the_benchmark_is_cut_off():
    """All of them, at the largest size, turned to either end."""
    try:
        assert len(set(glyphs.find_fonts())) == 36
    except FileNotFoundError:
        pytest.skip("the Debian packages of the fonts are not installed")
    factors = every_glyph(3, 6)
    for rotation in (-30, 0, 30):
        factors[:, 5] = rotation
        images = glyphs.render_glyphs(factors)
        assert images.max(axis=(1, 2)).min() > 50
        assert border(images).max() < 10, rotation
    ink = images.reshape(3, 6, -1).sum(axis=-1, dtype=float)
    assert (np.diff(ink, axis=1) > 0).all()  # heavier by every weight
