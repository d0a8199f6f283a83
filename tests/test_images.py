"""Image files of all kinds: their pixels, alike from both of the readers, or an error."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image, ImageOps

from skdisentangle.backbones import ImageEmbedder
from skdisentangle.datasets import read_images

#: Gives the pixels themselves, channel by channel.
PIXELS = ImageEmbedder(
    torch.nn.Flatten(), image_size=None, mean=(0, 0, 0), std=(1, 1, 1), device="cpu"
)

COLOUR = np.random.default_rng(0).integers(256, size=(6, 4, 3), dtype=np.uint8)


def embedded(X, shape):
    """Pixels that a backbone gets of the one image in X."""
    values = np.rint(PIXELS.transform(X) * 255).astype(np.uint8)
    return np.moveaxis(values.reshape(3, *shape), 0, -1)


def read(path):
    """Pixels of a file, by every way that there is to read it."""
    pixels = read_images([path])[0]
    np.testing.assert_array_equal(embedded([path], pixels.shape[:2]), pixels)
    with Image.open(path) as image:
        np.testing.assert_array_equal(embedded([image], pixels.shape[:2]), pixels)
    return pixels


def refusals(X):
    """What both readers say of a file that they refuse."""
    said = []
    for reader in (read_images, PIXELS.transform):
        with pytest.raises(ValueError, match=r"^(paths|X)\[0\] must be") as caught:
            reader(X)
        said.append(str(caught.value))
    assert said[0].removeprefix("paths") == said[1].removeprefix("X")
    return said[0]


def grey(pixels):
    """The one channel of an image whose channels are alike."""
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


# -- bits ----------------------------------------------------------------------------


def deep_files(folder):
    """A ramp over all of 16 bits, in every way that Pillow can write or read it."""
    ramp = np.linspace(0, 65535, 24).round().astype(np.uint16).reshape(6, 4)
    files = {
        "a.png": (Image.fromarray(ramp), "I;16"),
        "a.tif": (Image.fromarray(ramp), "I;16"),
        "wide.tif": (Image.fromarray(ramp.astype(np.int32)), "I"),
    }
    for name, (image, _) in files.items():
        image.save(folder / name)
    (folder / "a.pgm").write_bytes(b"P5\n4 6\n65535\n" + ramp.astype(">u2").tobytes())
    # what a camera of another byte order writes
    content = bytearray(b"MM\0\x2a\0\0\0\x08\0\x09")
    tags = [(256, 4), (257, 6), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1)]
    for tag, value in [*tags, (278, 6), (279, 48)]:
        content += np.array([tag, 3, 0, 1, value, 0], dtype=">u2").tobytes()
    content += bytes(4) + ramp.astype(">u2").tobytes()
    (folder / "big.tif").write_bytes(content)
    return ramp, [*files, "a.pgm", "big.tif"]


def test_sixteen_bits_are_mapped_linearly(tmp_path):
    ramp, names = deep_files(tmp_path)
    expected = np.rint(ramp / 65535 * 255)
    assert (expected.min(), expected.max(), expected[0, 1]) == (0, 255, 11)
    for name in names:
        np.testing.assert_array_equal(grey(read(tmp_path / name)), expected)
    with Image.open(tmp_path / "big.tif") as image:
        assert image.mode == "I;16B"


def test_every_value_of_sixteen_bits(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    found = grey(read(tmp_path / "a.png")).ravel()
    np.testing.assert_array_equal(found, np.rint(np.arange(65536) / 257))


def test_a_transparent_value_of_sixteen_bits_is_white(tmp_path):
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", 300)),
        (b"IDAT", zlib.compress(struct.pack(">BHHH", 0, 0, 300, 65535))),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    (tmp_path / "a.png").write_bytes(content)
    assert grey(read(tmp_path / "a.png")).tolist() == [[0, 255, 255]]


def test_floats_are_from_zero_to_one(tmp_path):
    values = np.array([[0, 0.25, 0.5], [0.75, 0.999, 1]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = grey(read(tmp_path / "a.tif"))
    assert found.tolist() == [[0, 64, 128], [191, 255, 255]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 1.5]], np.float32), "from 0.0 to 1.5"),
        (np.array([[0, 200]], np.float32), "from 0.0 to 200.0"),
        (np.array([[0, np.nan]], np.float32), "from nan to nan"),
        (np.array([[0, 70_000]], np.int32), "from 0 to 70000"),
        (np.array([[-1, 0]], np.int32), "from -1 to 0"),
    ],
)
def test_values_outside_are_refused(values, said, tmp_path):
    Image.fromarray(values).save(tmp_path / "outside.tif")
    message = refusals([tmp_path / "outside.tif"])
    assert said in message
    assert "outside.tif" in message
    with (
        Image.open(tmp_path / "outside.tif") as image,
        pytest.raises(ValueError, match=r"^X\[0\] must be .*outside\.tif") as caught,
    ):
        PIXELS.transform([image])
    assert said in str(caught.value)


def test_one_bit(tmp_path):
    bits = np.eye(4, dtype=bool)
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(bits).save(tmp_path / name)
        np.testing.assert_array_equal(grey(read(tmp_path / name)), bits * 255)


# -- colours -------------------------------------------------------------------------


def test_grey_and_colour(tmp_path):
    for name in ("a.png", "a.tif", "a.bmp", "a.ppm", "a.webp"):
        Image.fromarray(COLOUR).save(tmp_path / name, lossless=True)
        np.testing.assert_array_equal(read(tmp_path / name), COLOUR)
    Image.fromarray(COLOUR[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey(read(tmp_path / "grey.png")), COLOUR[..., 0])


def palette_image():
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 0])
    return image


def test_palettes(tmp_path):
    opaque = [[10, 20, 30], [200, 100, 0], [0, 0, 0]]
    for name in ("a.png", "a.gif", "a.bmp"):
        palette_image().save(tmp_path / name)
        assert read(tmp_path / name)[0].tolist() == opaque
    # one colour that is clear, as in a GIF too, and a share for each colour
    white = [[10, 20, 30], [255, 255, 255], [0, 0, 0]]
    for name in ("b.png", "b.gif"):
        palette_image().save(tmp_path / name, transparency=1)
        assert read(tmp_path / name)[0].tolist() == white
    palette_image().save(tmp_path / "c.png", transparency=bytes([255, 0, 51]))
    shares = [[10, 20, 30], [255, 255, 255], [204, 204, 204]]
    assert read(tmp_path / "c.png")[0].tolist() == shares


def test_alpha_is_laid_on_white(tmp_path):
    """Of any form: at 0 it is white, at 255 the colour, and linear between."""
    alpha = np.array([0, 1, 64, 128, 254, 255], dtype=np.uint8)[:, None]
    alpha = np.broadcast_to(alpha, (6, 4))
    mixed = COLOUR * (alpha[..., None] / 255) + 255 * (1 - alpha[..., None] / 255)
    for name in ("a.png", "a.tif", "a.webp"):
        image = Image.fromarray(np.dstack([COLOUR, alpha]))
        image.save(tmp_path / name, lossless=True, exact=True)
        np.testing.assert_array_equal(read(tmp_path / name), np.rint(mixed))
    image = Image.fromarray(np.dstack([COLOUR[..., 0], alpha]))
    assert image.mode == "LA"
    image.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        grey(read(tmp_path / "grey.png")), np.rint(mixed[..., 0])
    )


def test_a_transparent_colour_is_white(tmp_path):
    image = Image.fromarray(COLOUR)
    image.save(tmp_path / "a.png", transparency=tuple(COLOUR[2, 1].tolist()))
    expected = COLOUR.copy()
    expected[2, 1] = 255
    np.testing.assert_array_equal(read(tmp_path / "a.png"), expected)
    bits = Image.fromarray(np.array([[True, False]]))
    bits.save(tmp_path / "bits.png", transparency=0)
    assert grey(read(tmp_path / "bits.png")).tolist() == [[255, 255]]


def test_modes_that_no_file_has():
    """Colours that are multiplied by alpha, and a palette beside alpha; all are clear."""
    clear = Image.new("RGBA", (4, 6), (10, 10, 10, 0))
    beside = Image.new("PA", (4, 6), (1, 0))
    beside.putpalette([0, 0, 0, 10, 10, 10])
    for image in (clear.convert("LA").convert("La"), clear.convert("RGBa"), beside):
        pixels = embedded([image], (6, 4))
        np.testing.assert_array_equal(pixels, np.full((6, 4, 3), 255))


def test_a_palette_with_alpha():
    image = Image.new("RGBA", (4, 6), (10, 10, 10, 0)).quantize()
    assert image.palette.mode == "RGBA"
    np.testing.assert_array_equal(embedded([image], (6, 4)), np.full((6, 4, 3), 255))


def test_cmyk_is_converted_by_pillow(tmp_path):
    ink = np.zeros((8, 8, 4), dtype=np.uint8)
    ink[..., 0], ink[4:, :, 3] = 255, 255  # cyan, and black below
    image = Image.frombytes("CMYK", (8, 8), ink.tobytes())
    for name in ("a.tif", "a.jpg"):
        image.save(tmp_path / name, quality=100)
        with Image.open(tmp_path / name) as stored:
            assert stored.mode == "CMYK"
            expected = np.asarray(stored.convert("RGB"))
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(found[:4], [[[0, 255, 255]] * 8] * 4, atol=6)
        np.testing.assert_allclose(found[4:], 0, atol=6)


# -- orientation, frames ---------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg", "deep.png"])
def test_orientation(orientation, name, tmp_path):
    """The upright image is what comes out, whatever way it is stored."""
    upright = np.zeros((16, 24, 3), dtype=np.uint8)
    upright[:8, :8], upright[8:, 16:] = 255, 100
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),  # to be turned a quarter clockwise
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    if name == "deep.png":
        deep = stored[..., 0].astype(np.uint16) * 257
        image = Image.fromarray(np.ascontiguousarray(deep))
    image.save(tmp_path / name, exif=exif, lossless=True)
    tolerance = 8 if name == "a.jpg" else 0
    np.testing.assert_allclose(
        read(tmp_path / name).astype(int), upright, atol=tolerance
    )


def test_turned_before_it_is_resized(tmp_path):
    wide = np.zeros((8, 32, 3), dtype=np.uint8)
    wide[:, 16:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(wide)).save(tmp_path / "a.png", exif=exif)
    small = read_images([tmp_path / "a.png"], size=(2, 8))[0]
    expected = Image.fromarray(wide).resize((8, 2), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small, np.asarray(expected))
    assert (small[:, 0].max(), small[:, -1].min()) == (0, 255)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_of_several_frames(name, tmp_path):
    frames = [Image.new("RGB", (4, 6), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(
        tmp_path / name, save_all=True, append_images=frames[1:], lossless=True
    )
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 3
    np.testing.assert_array_equal(
        read(tmp_path / name), np.broadcast_to([255, 0, 0], (6, 4, 3))
    )


# -- damaged files, names --------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.gif", "a.tif", "a.bmp", "a.webp", "deep.png"]
)
def test_cut_off_files_are_named(name, tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if name == "deep.png":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    image.save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for share in (0, 0.001, 0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        assert f"cannot decode {str(tmp_path / name)!r}" in refusals([tmp_path / name])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_are_images_or_named(tmp_path, monkeypatch):
    """Whatever Pillow raises for some changed bytes, the message has the name."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged"
    seeds = []
    for kind in ("PNG", "GIF", "BMP", "PPM", "TGA", "PCX", "SGI", "DDS"):
        stream = io.BytesIO()
        Image.fromarray(COLOUR).save(stream, kind)
        seeds.append(stream.getvalue())
    said = []
    for _ in range(40):
        for seed in seeds:
            content = bytearray(seed)
            for place in rng.integers(min(len(content), 100), size=3):
                content[place] = rng.integers(256)
            path.write_bytes(content)
            try:
                read_images([path])
            except ValueError as error:
                said.append(str(error))
    assert len(said) > 50
    assert all(repr(str(path)) in message for message in said)


def test_an_image_larger_than_pillow_takes_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(COLOUR).save(tmp_path / "bomb.png")
    assert "bomb.png" in refusals([tmp_path / "bomb.png"])


ODD = ["a b.png", "ünïcode 图.png", "line\nbreak.png", "'quoted\".png", "%s {x}.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not have")
@pytest.mark.parametrize("name", ODD)
def test_odd_names(name, tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / name, "PNG")
    np.testing.assert_array_equal(read(tmp_path / name), COLOUR)
    np.testing.assert_array_equal(read(os.fspath(tmp_path / name)), COLOUR)
    (tmp_path / name).write_text("text")
    message = refusals([tmp_path / name])
    assert repr(str(tmp_path / name)) in message
    assert "\n" not in message


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_name_that_is_not_unicode(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    with open(path, "wb") as file:
        Image.fromarray(COLOUR).save(file, "PNG")
    np.testing.assert_array_equal(read(path), COLOUR)


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        for reader in (read_images, PIXELS.transform):
            with pytest.raises(
                OSError, match=r"\[0\] must be .* cannot read"
            ) as caught:
                reader([path])
            assert repr(str(path)) in str(caught.value)
    assert r"'nul\x00l.png': embedded null" in refusals(["nul\0l.png"])


def test_exif_that_is_damaged_is_named(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\0\0no TIFF at all")
    assert "a.png" in refusals([tmp_path / "a.png"])


def test_pillow_agrees_where_it_has_a_say(tmp_path):
    """A photograph as most are: turned, in JPEG, in colour."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), expected)
