"""Sprites show the factors that they come with, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle.datasets import make_sprites, render_sprites

SHAPES = ("square", "ellipse", "heart", "disc")
NAMES = ["shape", "scale", "orientation", "x", "y"]
#: Half the side of the square in a heart of reach 1, and how far the centroid of the
#: heart lies above that of its square.
HEART = 1 / 1.8572769
RISE = 0.4430633 * HEART
AREAS = {
    "square": 2.0,
    "ellipse": 0.6 * np.pi,
    "heart": (4 + np.pi) * HEART**2,
    "disc": 0.64 * np.pi,
}


def random_factors(shape, n_samples=200, seed=0):
    low, high = [0.5, -7.0, 0.0, 0.0], [1.0, 7.0, 1.0, 1.0]
    rng = np.random.default_rng(seed)
    rest = rng.uniform(low, high, size=(n_samples, 4))
    return np.column_stack([np.full(n_samples, SHAPES.index(shape)), rest])


def contains(shape, u, v):
    """Which points, right and up of the centroid, lie in a shape of reach 1."""
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) < np.sqrt(0.5)
    if shape == "ellipse":
        return u**2 + (v / 0.6) ** 2 < 1
    if shape == "disc":
        return np.hypot(u, v) < 0.8
    v = v + RISE
    middle = HEART / np.sqrt(2)
    return (np.abs(u) + np.abs(v) < HEART * np.sqrt(2)) | (
        np.hypot(np.abs(u) - middle, v - middle) < HEART
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [64, 47])
def test_pixels_are_the_share_that_is_covered(shape, size):
    """Against a count of 16 x 16 points in each pixel."""
    factors = random_factors(shape, 8)
    points = (np.arange(16 * size) + 0.5) / 16
    drawn = render_sprites(factors, size=size, shapes=SHAPES).images / 255
    for image, (_, scale, angle, x, y) in zip(drawn, factors, strict=True):
        right = points[None, :] - size / 4 - x * size / 2
        up = -(points[:, None] - size / 4 - y * size / 2)
        turned = (right + 1j * up) * np.exp(-1j * angle)
        turned /= scale * (size / 4 - 0.5)
        inside = contains(shape, turned.real, turned.imag)
        covered = inside.reshape(size, 16, size, 16).mean(axis=(1, 3))
        error = np.abs(image - covered)
        assert error.max() < 0.25
        assert np.sqrt((error**2).mean()) < 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_centroid_and_area_are_those_of_the_factors(shape):
    factors = random_factors(shape)
    images = render_sprites(factors, size=64, shapes=SHAPES).images / 255
    area = images.sum(axis=(1, 2))
    pixels = np.arange(64) + 0.5
    x = images.sum(axis=1) @ pixels / area
    y = images.sum(axis=2) @ pixels / area
    np.testing.assert_allclose(x, 16 + 32 * factors[:, 3], atol=0.05)
    np.testing.assert_allclose(y, 16 + 32 * factors[:, 4], atol=0.05)
    np.testing.assert_allclose(area, AREAS[shape] * (15.5 * factors[:, 1]) ** 2, 0.015)


@pytest.mark.parametrize("shape", SHAPES)
def test_orientation_comes_back_after_its_period_and_not_before(shape):
    factors = random_factors(shape, 20)
    sprites = render_sprites(factors, shapes=SHAPES)
    period = sprites.periods[2][0]

    def change(angle):
        turned = factors + np.array([0, 0, angle, 0, 0])
        images = render_sprites(turned, shapes=SHAPES).images
        difference = images.astype(int) - sprites.images
        return np.abs(difference).max(axis=(1, 2))

    if shape == "disc":
        assert np.isnan(period)
        assert change(1.0).max() <= 1
    else:
        assert change(period).max() <= 1
        for part in (1 / 4, 1 / 3, 1 / 2):
            assert change(period * part).min() > 100
        assert sprites.periods[2].shape == (20,)


def test_pixels_are_continuous_in_the_factors():
    """No jump where a sprite moves on to the next pixel or turns past an angle."""
    for shape in SHAPES:
        for column, (low, high) in {
            1: (0.5, 1),
            2: (0, 7),
            3: (0, 1),
            4: (0, 1),
        }.items():
            factors = np.tile(random_factors(shape, 1, seed=3), (2001, 1))
            factors[:, column] = np.linspace(low, high, 2001)
            images = render_sprites(factors, size=32, shapes=SHAPES).images
            # at most 0.025 pixels a step, 255 levels a pixel
            assert np.abs(np.diff(images.astype(int), axis=0)).max() <= 10


@pytest.mark.parametrize("size", [8, 9, 33])
@pytest.mark.parametrize("shape", SHAPES)
def test_mirrored_factors_give_mirrored_images(shape, size):
    """Nothing is cut off on one side: every shape is symmetric from left to right."""
    factors = random_factors(shape, 300)
    factors[:, 1] = 1
    factors[::2, 2] = 0
    factors[:30, 3] = np.arange(30) % 2
    mirrored = factors * [1, 1, -1, 1, 1]
    mirrored[:, 3] = 1 - factors[:, 3]
    images = render_sprites(factors, size=size, shapes=SHAPES).images.astype(int)
    others = render_sprites(mirrored, size=size, shapes=SHAPES).images
    assert np.abs(images - others[:, :, ::-1]).max() <= 1
    # upside down, too: half a turn, mirrored
    mirrored = factors * [1, 1, -1, 1, 1] + np.array([0, 0, np.pi, 0, 0])
    mirrored[:, 4] = 1 - factors[:, 4]
    others = render_sprites(mirrored, size=size, shapes=SHAPES).images
    assert np.abs(images - others[:, ::-1]).max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_middle_is_white_and_the_border_is_black(shape):
    number = SHAPES.index(shape)
    for size in (9, 33):
        middle = render_sprites([[number, 1, 0, 0.5, 0.5]], size=size, shapes=SHAPES)
        assert middle.images[0, size // 2, size // 2] == 255
        assert not middle.images[0, 0].any()
        assert not middle.images[0, :, 0].any()


def test_draws_are_uniform_and_independent():
    sprites = make_sprites(3000, size=8, color=True, random_state=0, shapes=SHAPES[:3])
    target, periods = sprites.target.copy(), sprites.periods
    assert sprites.factor_names == [*NAMES, "hue"]
    assert sorted(periods) == [2, 5]
    assert periods[5] == 1
    np.testing.assert_allclose(
        periods[2], np.array([np.pi / 2, np.pi, 2 * np.pi])[target[:, 0].astype(int)]
    )
    target[:, 2] /= periods[2]
    target[:, 1] = 2 * target[:, 1] - 1
    target[:, 0] = (target[:, 0] + 0.5) / 3
    assert target.min() >= 0
    assert target.max() <= 1
    np.testing.assert_allclose(target.mean(axis=0), 0.5, atol=0.02)
    correlation = np.corrcoef(target.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.06


def test_a_disc_has_no_orientation():
    sprites = make_sprites(30, shapes=("disc", "heart"), random_state=0)
    disc = sprites.target[:, 0] == 0
    assert disc.any()
    assert not disc.all()
    assert np.isnan(sprites.periods[2][disc]).all()
    assert not sprites.target[disc, 2].any()
    assert (sprites.periods[2][~disc] == 2 * np.pi).all()


@pytest.mark.parametrize("color", [False, True])
def test_contents(color):
    sprites = make_sprites(7, size=20, color=color, random_state=0)
    channels = 3 if color else 1
    assert sprites.input_shape == (channels, 20, 20)
    assert sprites.data.shape == (7, channels * 400)
    assert sprites.data.dtype == sprites.images.dtype == np.uint8
    assert sprites.images.shape == ((7, 20, 20, 3) if color else (7, 20, 20))
    assert np.shares_memory(sprites.data, sprites.images)
    by_channel = sprites.data.reshape(7, *sprites.input_shape)
    for channel in range(channels):
        image = sprites.images[..., channel] if color else sprites.images
        np.testing.assert_array_equal(by_channel[:, channel], image)
    assert sprites.target.shape == (7, 6 if color else 5)
    assert sprites.target.dtype == np.float64
    assert sprites.categorical == (0,)
    assert "target_classes" not in sprites


def test_hue():
    """Primary and mixed colours, and a period of one; the shape is that of grey."""
    hues = np.array([0, 1 / 6, 1 / 3, 2 / 3, 1, -1 / 3, 0.5])
    factors = np.tile([2, 0.8, 0.3, 0.4, 0.6], (len(hues), 1))
    grey = render_sprites(factors).images[0].astype(int)
    images = render_sprites(np.column_stack([factors, hues]), color=True).images
    expected = [
        (1, 0, 0),
        (1, 1, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 0, 0),
        (0, 0, 1),
        (0, 1, 1),
    ]
    for image, rgb in zip(images, expected, strict=True):
        assert np.abs(image - grey[..., None] * np.array(rgb)).max() <= 1


def test_same_seed_same_images_whatever_the_threads():
    first = make_sprites(500, color=True, random_state=3)
    again = make_sprites(500, color=True, random_state=3, n_jobs=2)
    np.testing.assert_array_equal(first.data, again.data)
    np.testing.assert_array_equal(first.target, again.target)
    other = make_sprites(500, color=True, random_state=4)
    assert not np.array_equal(first.target, other.target)


def test_rows_are_drawn_alone_and_given_factors_come_back():
    made = make_sprites(300, random_state=0)
    given = made.target.copy()
    for rows in (slice(0, 1), slice(150, 300), [7, 3, 3]):
        sprites = render_sprites(given[rows])
        np.testing.assert_array_equal(sprites.data, made.data[rows])
        np.testing.assert_array_equal(sprites.target, given[rows])
        assert not np.shares_memory(sprites.target, given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"size": 7}, "size.* 8"),
        ({"size": 16.0}, "size"),
        ({"shapes": ()}, "shapes.*'square'"),
        ({"shapes": "square"}, "shapes"),
        ({"shapes": ("square", "star")}, "shapes.*'star'.*'heart'"),
        ({"shapes": ("square", "square")}, "shapes"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_sprites(**{"n_samples": 3, **options})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 3, "shape is 3 in row 1; expected .* 0 to 2"),
        (0, 0.5, "shape"),
        (1, 0.0, "scale"),
        (1, 1.1, "scale"),
        (3, -0.1, "x is -0.1"),
        (4, 1.5, "y is 1.5"),
        (2, np.nan, "factors contains NaN"),
    ],
)
def test_bad_factors(column, value, message):
    factors = random_factors("square", 3)
    factors[1, column] = value
    with pytest.raises(ValueError, match=message):
        render_sprites(factors)


def test_number_of_factors_goes_with_color():
    factors = random_factors("square", 3)
    with pytest.raises(ValueError, match=r"factors: got 5 columns; expected 6.*hue"):
        render_sprites(factors, color=True)
    with pytest.raises(ValueError, match=r"expected 5 with color=False"):
        render_sprites(np.column_stack([factors, factors[:, 0]]))
