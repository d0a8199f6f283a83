"""Images as rows of ``encoder="conv"``."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_sprites
from skdisentangle.extraction import extract_features
from skdisentangle.inspection import TraversalDisplay
from skdisentangle.rows import blocks
from skdisentangle.rows.images import FlatImages

SPRITES = make_sprites(150, size=16, color=True, random_state=0)
IMAGES = SPRITES.images.astype(np.float32) / 255
LABELS = SPRITES.target[:, :3]


def quick(**options):
    settings = {"max_iter": 3, "tol": 0, "random_state": 0, "task_types": "regression"}
    return SparseSharedDisentangler(6, encoder="conv", **settings | options)


@pytest.fixture
def fitted():
    return quick(sparsity=0, sharing=0).fit(IMAGES, LABELS)


@pytest.mark.filterwarnings("ignore:The fit was still improving")
class TestConvolutions:
    def test_images_give_what_their_flattened_rows_give(self, fitted):
        rows = np.moveaxis(IMAGES, 3, 1).reshape(150, -1)
        other = clone(fitted).set_params(input_shape=(3, 16, 16)).fit(rows, LABELS)
        assert fitted.input_shape_ == (3, 16, 16)
        np.testing.assert_array_equal(fitted.transform(IMAGES), other.transform(rows))
        np.testing.assert_array_equal(fitted.predict(rows), other.predict(IMAGES))

    def test_bytes_are_numbers(self, fitted):
        whole = SPRITES.images
        other = clone(fitted).fit(whole, LABELS).transform(whole)
        assert other.dtype == np.float32
        exact = clone(fitted).fit(whole.astype(np.float32), LABELS)
        np.testing.assert_array_equal(other, exact.transform(whole.astype(np.float32)))

    def test_a_memory_map_is_read_in_pieces(self, fitted, tmp_path, monkeypatch):
        np.save(tmp_path / "images.npy", IMAGES)
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        sizes = []
        read = FlatImages.__getitem__

        def reading(self, rows):
            found = read(self, rows)
            sizes.append(len(found))
            return found

        monkeypatch.setattr(FlatImages, "__getitem__", reading)
        monkeypatch.setattr(blocks, "BUFFER_VALUES", 40 * 768)
        monkeypatch.setattr(blocks, "BLOCK_VALUES", 10 * 768)
        monkeypatch.setattr(blocks, "CHUNK_VALUES", 20 * 768)
        np.testing.assert_allclose(
            fitted.transform(mapped), fitted.transform(IMAGES), rtol=1e-5, atol=1e-6
        )
        dis = clone(fitted).fit(mapped, LABELS)
        assert dis.transform(mapped).shape == (150, 6)
        assert max(sizes) < 50

    def test_folds_of_images(self, fitted):
        dis = clone(fitted).set_params(cross_fit=2)
        assert dis.fit_transform(IMAGES, LABELS).shape == (150, 6)

    def test_images_of_other_containers(self, fitted):
        expected = clone(fitted).fit(IMAGES, LABELS).transform(IMAGES)
        for images in (list(IMAGES), torch.from_numpy(IMAGES)):
            found = clone(fitted).fit(images, LABELS).transform(images)
            np.testing.assert_array_equal(found, expected)

    def test_grey_images_need_no_channels(self, fitted):
        grey = IMAGES.mean(3)
        one, other = (clone(fitted).fit(X, LABELS) for X in (grey, grey[..., None]))
        assert one.input_shape_ == (1, 16, 16)
        np.testing.assert_array_equal(one.transform(grey), other.transform(grey))

    def test_images_of_several_sizes_are_an_error(self):
        with pytest.raises(ValueError, match="images of one size; its items differ"):
            quick().fit([*IMAGES[:-1], IMAGES[-1][:8]], LABELS)

    def test_channels_come_last(self):
        with pytest.raises(ValueError, match=r"Give numpy\.moveaxis\(X, 1, 3\)"):
            quick().fit(np.moveaxis(IMAGES, 3, 1), LABELS)

    def test_files_know_the_shape(self, fitted, tmp_path):
        fitted.save(tmp_path / "model.safetensors")
        again = SparseSharedDisentangler.load(tmp_path / "model.safetensors")
        assert tuple(again.input_shape_) == (3, 16, 16)
        np.testing.assert_array_equal(again.transform(IMAGES), fitted.transform(IMAGES))

    def test_a_stream_of_images(self):
        dis = quick().partial_fit(IMAGES[:75], LABELS[:75])
        dis.partial_fit(IMAGES[75:], LABELS[75:])
        assert dis.transform(IMAGES).shape == (150, 6)

    def test_features_of_a_file_of_images(self, fitted, tmp_path):
        joblib.dump(fitted, tmp_path / "model.joblib")
        np.save(tmp_path / "images.npy", IMAGES)
        extract_features(
            tmp_path / "model.joblib", tmp_path / "images.npy", tmp_path / "features"
        )
        parts = sorted((tmp_path / "features").glob("*.npy"))
        found = np.concatenate([np.load(part) for part in parts])
        np.testing.assert_allclose(
            found, fitted.transform(IMAGES), rtol=1e-5, atol=1e-6
        )

    def test_images_along_a_component_are_those_of_the_rows(self, fitted):
        rows = np.moveaxis(IMAGES, 3, 1).reshape(150, -1)
        one, other = (
            TraversalDisplay.from_estimator(fitted, X) for X in (IMAGES, rows)
        )
        np.testing.assert_array_equal(one.images, other.images)

    def test_rows_without_a_shape_are_an_error(self):
        rows = IMAGES.reshape(150, -1)
        with pytest.raises(
            ValueError, match=r"must be images .*input_shape=\(channels"
        ):
            quick().fit(rows, LABELS)

    def test_images_of_another_size_are_an_error(self, fitted):
        with pytest.raises(ValueError, match=r"images of input_shape=\(3, 16, 16\)"):
            fitted.transform(IMAGES[:, :8])
        with pytest.raises(ValueError, match=r"images of input_shape=\(1, 16, 16\)"):
            quick(input_shape=(1, 16, 16)).fit(IMAGES, LABELS)

    def test_a_failed_fit_keeps_the_shape(self, fitted):
        with pytest.raises(ValueError, match="row for each"):
            fitted.fit(IMAGES[:, :8], LABELS[:20])
        assert fitted.input_shape_ == (3, 16, 16)

    @pytest.mark.parametrize("encoder", ["mlp", "linear"])
    def test_other_encoders_take_no_images(self, encoder):
        with pytest.raises(ValueError, match="dim 4"):
            quick().set_params(encoder=encoder).fit(IMAGES, LABELS)
