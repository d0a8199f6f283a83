from __future__ import annotations

import errno
import os
import pickle
import struct
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold

from skdisentangle import SparseSharedDisentangler, SparseSharedDisentanglerCV
from skdisentangle.files.file_format import FORMAT, pack, unpack
from skdisentangle.heads import SparseTaskHead
from skdisentangle.inspection import identifiability_report

from ..conftest import quick

pytest.importorskip("safetensors")

DATA = Path(__file__).parent.parent / "data"
pytestmark = pytest.mark.usefixtures("short_fits")

NAMES = list("abcdefgh")
NPY = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}"


def make_net(n_features, n_components):
    """A user's module, with buffers, one of integers."""
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 12),
        torch.nn.BatchNorm1d(12),
        torch.nn.Tanh(),
        torch.nn.Linear(12, n_components),
    )


def strings(kind):
    """Labels of numpy's own strings, of any length."""
    return np.array(["a", "b", "c"], dtype=np.dtypes.StringDType())[kind]


@pytest.fixture(scope="module")
def content(quick_fit, tmp_path_factory):
    """Bytes of a small file."""
    path = tmp_path_factory.mktemp("content") / "model.safetensors"
    quick_fit.save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def partial_content(problem, tmp_path_factory):
    """Bytes of a small file that fitting goes on from."""
    X, Y, _ = problem
    path = tmp_path_factory.mktemp("content") / "partial.safetensors"
    quick().partial_fit(X, Y).save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def head_content(quick_fit, problem, tmp_path_factory):
    """Bytes of a small file of a head."""
    X, *_ = problem
    path = tmp_path_factory.mktemp("content") / "head.safetensors"
    quick_fit.fit_task(X[:60], np.digitize(X[:60, 0], [-0.5, 0.5])).save(path)
    return path.read_bytes()


def through_file(dis, path, **options):
    dis.save(path)
    return type(dis).load(path, **options)


def assert_same(dis, back, X):
    """The same attributes, and the same bits out."""
    assert type(back) is type(dis)
    assert vars(back).keys() == vars(dis).keys()
    np.testing.assert_array_equal(back.transform(X), dis.transform(X))
    assert_same_predictions(dis, back, X)
    for name in ("coef_", "intercept_", "usage_", "active_components_", "loss_curve_"):
        np.testing.assert_array_equal(getattr(back, name), getattr(dis, name))
    plain = dis.get_params()
    for name in ("encoder", "device", "n_threads"):
        del plain[name]
    assert {k: v for k, v in back.get_params().items() if k in plain} == plain


def assert_same_predictions(dis, back, X):
    expected, found = dis.predict(X), back.predict(X)
    assert type(found) is type(expected)
    if hasattr(expected, "equals"):
        assert found.equals(expected)
        assert str(getattr(found, "dtypes", 0)) == str(getattr(expected, "dtypes", 0))
    else:
        assert repr(found.tolist()) == repr(expected.tolist())  # NaN equals NaN
        assert found.dtype == expected.dtype
    if hasattr(dis, "predict_proba"):
        for one, other in zip(dis.predict_proba(X), back.predict_proba(X), strict=True):
            np.testing.assert_array_equal(one, other)


class TestRoundTrip:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"encoder": "linear"},
            {"encoder": "conv", "input_shape": [2, 2, 2], "n_components": "auto"},
            {"solver": "bilevel"},
            {"scale_inputs": False, "cross_fit": 2},
            {"sparsity": "auto", "early_stopping": True, "max_iter": 3},
            {"task_weight": np.arange(1.0, 10), "class_weight": "balanced"},
        ],
        ids=str,
    )
    def test_every_kind_of_fit(self, options, problem, tmp_path):
        X, Y, _ = problem
        dis = quick(**options).fit(X, Y)
        if "task_weight" in options:
            dis.set_params(task_weight=options["task_weight"].tolist())
        back = through_file(dis, tmp_path / "model")
        assert_same(dis, back, X)
        np.testing.assert_array_equal(back._pull, dis._pull)
        assert back._unexplained == dis._unexplained
        assert back._stages == dis._stages

    def test_without_hidden_layers_and_in_single_precision(self, problem, tmp_path):
        X, Y, _ = problem
        dis = quick(hidden_layer_sizes=()).fit(X.astype(np.float32), Y)
        assert_same(dis, through_file(dis, tmp_path / "model"), X.astype(np.float32))

    def test_what_is_made_of_it(self, quick_fit, problem, tmp_path):
        X, Y, factors = problem
        back = through_file(quick_fit, tmp_path / "model")
        assert list(back.get_feature_names_out()) == list(
            quick_fit.get_feature_names_out()
        )
        new = factors[:, 0] > 0.3
        expected, found = (d.fit_task(X[:40], new[:40]) for d in (quick_fit, back))
        np.testing.assert_array_equal(found.coef_, expected.coef_)
        assert str(identifiability_report(back, X)) == str(
            identifiability_report(quick_fit, X)
        )
        assert back.score(X, Y) == quick_fit.score(X, Y)

    def test_goes_on_fitting(self, problem, tmp_path):
        """Adam's memory is in the file, too, so that the bits are the same."""
        X, Y, _ = problem
        dis = quick().partial_fit(X, Y).partial_fit(X, Y)
        back = through_file(dis, tmp_path / "model")
        assert_same(dis, back, X)
        for _ in range(2):
            dis.partial_fit(X, Y)
            back.partial_fit(X, Y)
        np.testing.assert_array_equal(dis.coef_, back.coef_)
        np.testing.assert_array_equal(dis.transform(X), back.transform(X))
        dis = quick(warm_start=True).fit(X, Y)
        back = through_file(dis, tmp_path / "model").fit(X, Y)
        np.testing.assert_array_equal(dis.fit(X, Y).coef_, back.coef_)
        assert "_partial_state" not in vars(back)

    def test_goes_on_with_a_module_of_the_users(self, problem, tmp_path):
        X, Y, _ = problem
        dis = quick(encoder=make_net).partial_fit(X, Y)
        back = through_file(dis, tmp_path / "model", encoder=make_net)
        np.testing.assert_array_equal(
            dis.partial_fit(X, Y).coef_, back.partial_fit(X, Y).coef_
        )

    def test_searches(self, problem, tmp_path):
        X, Y, _ = problem
        options = {"cv": 2, "sparsities": [0.01, 0.1], "max_iter": 3}
        dis = quick(SparseSharedDisentanglerCV, **options).fit(X, Y)
        back = through_file(dis, tmp_path / "model")
        assert_same(dis, back, X)
        for name, values in dis.cv_results_.items():
            np.testing.assert_array_equal(back.cv_results_[name], values)
        assert back.best_index_ == dis.best_index_
        # the class of the file, though the class that it derives from was asked
        found = SparseSharedDisentangler.load(tmp_path / "model")
        assert type(found) is SparseSharedDisentanglerCV
        search = GridSearchCV(quick(max_iter=1), {"sparsity": [0.1]}, cv=2)
        best = search.fit(X, Y).best_estimator_
        assert_same(best, through_file(best, tmp_path / "model"), X)
        with pytest.raises(ValueError, match=r"holds a 'SparseSharedDisentangler'"):
            SparseSharedDisentanglerCV.load(tmp_path / "model")

    @pytest.mark.parametrize(
        "cast",
        [
            lambda k: np.array(["a", "bb", "ccc"])[k],
            lambda k: np.array(["é", "\ud800", '"sha256":"'], dtype=object)[k],
            lambda k: np.array([b"a", b"\xc3\xa9", b"c"])[k],
            strings,
            lambda k: k > 0,
            lambda k: (k > 0).astype(object),
            lambda k: k.astype(np.int8) - 1,
            lambda k: k.astype(np.uint64) + 2**63,
            lambda k: k.astype(np.float32),
            lambda k: np.where(k == 0, np.nan, k),
            lambda k: np.array([[1.5, "x", True, None], [2, "y", False, None]], object)[
                np.minimum(k, 1)
            ],
        ],
        ids=range(11),
    )
    def test_labels_of_every_dtype(self, cast, problem, tmp_path):
        X, Y, _ = problem
        if cast is strings and not hasattr(np.dtypes, "StringDType"):
            pytest.skip("numpy has no StringDType")
        labels = cast(Y[:, 2].astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a task without labels
            dis = quick(max_iter=2).fit(X, labels)
        back = through_file(dis, tmp_path / "model")
        assert_same(dis, back, X)
        for one, other in zip(dis.tasks_, back.tasks_, strict=True):
            assert one.outputs == other.outputs
            np.testing.assert_array_equal(one.classes, other.classes)
            if one.classes is not None:
                assert one.classes.dtype == other.classes.dtype

    @pytest.mark.filterwarnings("ignore:Tasks left out:UserWarning")
    def test_data_frames(self, problem, tmp_path):
        X, Y, _ = problem
        kind = Y[:, 2].astype(int)
        text = np.array(["a", "bb", "ccc"])[kind]
        frame = pd.DataFrame(
            {
                "str": text,
                "object": text.astype(object),
                "string": pd.array(text, dtype="string[pyarrow]"),
                "category": pd.Categorical(text, ["ccc", "bb", "a", "z"], ordered=True),
                "numbers": pd.Categorical(kind),
                "int": kind,
                "Int": pd.array(kind, dtype="Int64"),
                "bool": kind > 0,
                "boolean": pd.array(kind > 0, dtype="boolean"),
                "arrow": pd.array(kind, dtype="int64[pyarrow]"),
                "none": [None] * len(X),
                "one": ["x"] * len(X),
                5: Y[:, 0],
                ("t", 1): Y[:, 3],
            }
        )
        table = pl.DataFrame(
            {
                "text": text,
                "int": kind,
                "float": Y[:, 0].astype(np.float32),
                "bool": kind > 0,
                "category": pl.Series(text, dtype=pl.Categorical),
                "enum": pl.Series(text, dtype=pl.Enum(["a", "bb", "ccc", "d"])),
                "none": [None] * len(X),
            }
        )
        named = pd.DataFrame(X, columns=NAMES)
        for labels in (frame, frame["category"], table, table["enum"]):
            dis = quick(max_iter=2).fit(named, labels)
            assert_same(dis, through_file(dis, tmp_path / "model"), named)

    def test_names_and_output(self, quick_fit, problem, tmp_path):
        X, Y, _ = problem
        named = pd.DataFrame(X, columns=NAMES)
        dis = quick(max_iter=2).fit(named, Y).set_output(transform="polars")
        back = through_file(dis, tmp_path / "model")
        assert back.transform(named).equals(dis.transform(named))
        with pytest.raises(ValueError, match="feature names"):
            back.transform(named[NAMES[::-1]])

    def test_parameters_that_are_objects_are_left_out_with_a_warning(
        self, problem, tmp_path
    ):
        X, Y, _ = problem
        dis = quick(
            SparseSharedDisentanglerCV, cv=KFold(2), sparsities=[0.1], max_iter=2
        ).fit(X, Y)
        with pytest.warns(UserWarning, match=r"cv=KFold\(n_splits=2"):
            dis.save(tmp_path / "model")
        assert SparseSharedDisentanglerCV.load(tmp_path / "model").cv is None

    def test_device_and_threads_are_of_the_machine(self, quick_fit, tmp_path):
        dis = pickle.loads(pickle.dumps(quick_fit)).set_params(
            n_threads=2, device="cpu"
        )
        back = through_file(dis, tmp_path / "model")
        assert (back.device, back.n_threads) == ("auto", 1)
        back = SparseSharedDisentangler.load(tmp_path / "model", device="cpu")
        assert back.device == "cpu"
        with pytest.raises(ValueError, match="device must be 'auto'"):
            SparseSharedDisentangler.load(tmp_path / "model", device="no_such")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    @pytest.mark.parametrize("there", ["cpu", "cuda"])
    @pytest.mark.parametrize("back", ["cpu", "cuda"])
    def test_between_devices(self, there, back, problem, tmp_path):
        X, Y, _ = problem
        dis = quick(device=there).partial_fit(X, Y)
        found = through_file(dis, tmp_path / "model", device=back)
        np.testing.assert_allclose(found.transform(X), dis.transform(X), rtol=1e-6)
        found.partial_fit(X, Y)

    def test_file_is_small_and_the_same_each_time(self, problem, tmp_path):
        X, Y, _ = problem
        big = np.tile(X, (10, 1))
        dis = quick(max_iter=1, batch_size=512).fit(big, np.tile(Y, (10, 1)))
        dis.save(tmp_path / "one")
        dis.save(tmp_path / "two")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
        assert (tmp_path / "one").stat().st_size < 15_000
        joblib.dump(dis, tmp_path / "model.joblib", compress=3)
        assert (tmp_path / "model.joblib").stat().st_size < 30_000
        np.testing.assert_array_equal(
            joblib.load(tmp_path / "model.joblib").transform(X), dis.transform(X)
        )


@pytest.fixture(scope="module")
def own(problem, tmp_path_factory):
    """File of an estimator with a custom module, and the estimator."""
    X, Y, _ = problem
    path = tmp_path_factory.mktemp("own") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dis = quick(encoder=make_net(8, 6), max_iter=2).fit(X, Y)
    dis.save(path)
    return path, dis


class TestEncodersOfTheUsers:
    def test_load_into_a_module_or_what_makes_one(self, own, problem):
        path, dis = own
        net = make_net(8, 6)
        before = pickle.dumps(net.state_dict())
        for encoder in (net, make_net):
            back = SparseSharedDisentangler.load(path, encoder=encoder)
            assert_same(dis, back, problem[0])
            assert back.encoder is encoder
        assert pickle.dumps(net.state_dict()) == before

    @pytest.mark.parametrize(
        ("encoder", "message"),
        [
            (None, r"custom module, 'torch\.nn.*Sequential'.*encoder="),
            ("mlp", "must be such a module"),
            (torch.nn.Linear(8, 6), "weights do not match the encoder"),
            (torch.nn.Linear(8, 5), r"got \(2, 5\)"),
            (3, "Got 3 instead"),
        ],
    )
    def test_wrong_module(self, own, encoder, message):
        with pytest.raises(ValueError, match=message):
            SparseSharedDisentangler.load(own[0], encoder=encoder)

    def test_none_where_it_is_built_in(self, quick_fit, tmp_path):
        quick_fit.save(tmp_path / "model")
        with pytest.raises(ValueError, match="'mlp', which is built in"):
            SparseSharedDisentangler.load(tmp_path / "model", encoder=make_net)

    def test_state_that_is_no_tensor(self, problem, tmp_path):
        class Odd(torch.nn.Linear):
            def get_extra_state(self):
                return {"code": print}

            def set_extra_state(self, state):
                raise AssertionError("not to be called")

        X, Y, _ = problem
        dis = quick(encoder=Odd(8, 6), max_iter=1).fit(X, Y)
        with pytest.raises(ValueError, match="not a tensor, '_extra_state', a dict"):
            dis.save(tmp_path / "model")
        assert os.listdir(tmp_path) == []


class TestHeads:
    """A head for a new task, in one file with its disentangler."""

    @pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
    def test_predicts_the_same(self, kind, quick_fit, problem, tmp_path):
        X, *_ = problem
        y = X[:, 0]
        if kind == "binary":
            y = pd.Series(np.where(y > 0, "high", "low"), name="level", dtype=object)
        elif kind == "multiclass":
            y = np.digitize(y, [-0.5, 0.5])
        head = quick_fit.fit_task(X[:60], y[:60])
        back = through_file(head, tmp_path / "head.safetensors")
        assert vars(back).keys() == vars(head).keys()
        assert_same_predictions(head, back, X)
        np.testing.assert_array_equal(back.inclusion_, head.inclusion_)
        assert back.support_.tolist() == head.support_.tolist()
        assert back.score(X, y) == head.score(X, y)
        np.testing.assert_array_equal(
            back.disentangler.transform(X), quick_fit.transform(X)
        )
        assert_same_predictions(clone_and_fit(head, X, y), clone_and_fit(back, X, y), X)

    def test_of_frames_and_of_a_frozen_search(self, problem, tmp_path):
        X, Y, _ = problem
        frame = pd.DataFrame(X, columns=NAMES[: X.shape[1]])
        search = SparseSharedDisentanglerCV(
            3, sparsities=[0.1], max_iter=2, random_state=0
        )
        fitted = FrozenEstimator(search.fit(frame, Y))
        y = pd.Series(X[:, 0], index=frame.index, name="level")
        head = SparseTaskHead(fitted, task_type="regression").fit(frame, y)
        back = through_file(head, tmp_path / "head.safetensors")
        assert type(back.disentangler) is SparseSharedDisentanglerCV
        assert back.task_type == "regression"
        assert back.feature_names_in_.tolist() == list(frame.columns)
        assert_same_predictions(head, back, frame)

    def test_encoder_and_device_are_of_the_caller(self, own, problem, tmp_path):
        X, *_ = problem
        _, dis = own
        dis = pickle.loads(pickle.dumps(dis)).set_params(device="cpu")
        head = dis.fit_task(X, X[:, 0])
        path = tmp_path / "head.safetensors"
        head.save(path)
        with pytest.raises(ValueError, match=r"Give load\(\) a module"):
            SparseTaskHead.load(path)
        back = SparseTaskHead.load(path, encoder=make_net, device="cpu")
        assert back.disentangler.device == back.disentangler_.device == "cpu"
        assert_same_predictions(head, back, X)

    def test_not_fitted(self, quick_fit, tmp_path):
        with pytest.raises(NotFittedError):
            SparseTaskHead(quick_fit).save(tmp_path / "head.safetensors")

    def test_each_class_loads_its_own(self, head_content, content, tmp_path):
        with pytest.raises(ValueError, match="holds a 'SparseTaskHead'"):
            load_bytes(head_content, tmp_path)
        with pytest.raises(ValueError, match="holds a 'SparseSharedDisentangler'"):
            load_bytes(content, tmp_path, SparseTaskHead)
        document, arrays = unpack(head_content)
        del document["sha256"]
        nested = {**document, "disentangler": document}
        with pytest.raises(ValueError, match="not another head"):
            load_bytes(pack(nested, arrays), tmp_path, SparseTaskHead)
        document["disentangler"]["estimator"] = "SparseTaskHead"
        with pytest.raises(ValueError, match="cannot be loaded"):
            load_bytes(pack(document, arrays), tmp_path, SparseTaskHead)


def clone_and_fit(head, X, y):
    frozen = FrozenEstimator(head.disentangler)
    return SparseTaskHead(frozen, task_type=head.task_type).fit(X[:30], y[:30])


class TestSave:
    def test_wrong_arguments(self, quick_fit, tmp_path):
        with pytest.raises(NotFittedError):
            quick().save(tmp_path / "model")
        for path in (3, None, b"model"):
            with pytest.raises(TypeError, match="path must be a str or path-like"):
                quick_fit.save(path)
            with pytest.raises(TypeError, match="path must be a str or path-like"):
                SparseSharedDisentangler.load(path)
        with pytest.raises(FileNotFoundError, match="no_such"):
            quick_fit.save(tmp_path / "no_such" / "model")
        with pytest.raises(OSError, match="directory"):
            quick_fit.save(tmp_path)

    def test_parameters_changed_since_the_fit(self, quick_fit, tmp_path):
        changed = pickle.loads(pickle.dumps(quick_fit)).set_params(
            hidden_layer_sizes=(9,)
        )
        with pytest.raises(ValueError, match=r"cannot be saved: its weights"):
            changed.save(tmp_path / "model")
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        "labels",
        [
            lambda k: pd.DataFrame({"a": pd.arrays.SparseArray(k)}),
            lambda k: pl.DataFrame({"a": pl.Series(k).cast(pl.Decimal(9, 2))}),
            lambda k: pd.Series(k, name=pd.Timestamp("2026-01-01")),
        ],
    )
    def test_labels_that_cannot_be_kept(self, labels, problem, tmp_path):
        X, Y, _ = problem
        dis = quick(max_iter=1).fit(X, labels(Y[:, 2].astype(int)))
        with pytest.raises(ValueError, match=r"cannot be saved"):
            dis.save(tmp_path / "model")

    def test_what_was_there_stays_if_the_disk_is_full(
        self, quick_fit, tmp_path, monkeypatch
    ):
        path = tmp_path / "model"
        path.write_bytes(b"before")

        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            quick_fit.save(path)
        assert path.read_bytes() == b"before"
        assert os.listdir(tmp_path) == ["model"]

    def test_without_safetensors(self, quick_fit, content, tmp_path, monkeypatch):
        (tmp_path / "model").write_bytes(content)
        monkeypatch.setitem(sys.modules, "safetensors", None)
        message = r"pip install 'skdisentangle\[files\]'"
        with pytest.raises(ImportError, match=message):
            quick_fit.save(tmp_path / "other")
        with pytest.raises(ImportError, match=message):
            SparseSharedDisentangler.load(tmp_path / "model")


class Bomb:
    """A pickle of it leaves a trace when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def load_bytes(content, tmp_path, kind=SparseSharedDisentangler):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return kind.load(path)


@pytest.mark.parametrize("name", ["model.pkl", "model.PICKLE", "model.joblib"])
def test_names_of_pickles_are_refused(name, quick_fit, tmp_path):
    with pytest.raises(ValueError, match=r"is the name of a pickle.*'model\.safetens"):
        quick_fit.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


class TestHostileFiles:
    def test_pickles_are_not_run(self, tmp_path):
        trace = str(tmp_path / "trace")
        path = tmp_path / "model.safetensors"
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path.write_bytes(pickle.dumps(Bomb(trace), protocol=protocol))
            with pytest.raises(ValueError, match=r"model\.safetensors' cannot be load"):
                SparseSharedDisentangler.load(path)
        for write, message in (
            (lambda: joblib.dump(Bomb(trace), path), "pickle"),
            (lambda: joblib.dump(Bomb(trace), path, compress=3), "compressed"),
            (lambda: torch.save(Bomb(trace), path), "zip archive.*torch.save"),
            (lambda: path.write_bytes(NPY), "array of numpy.save"),
        ):
            write()
            with pytest.raises(ValueError, match=message):
                SparseSharedDisentangler.load(path)
        assert not Path(trace).exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "cut short.*0 bytes"),
            (b"\x10", "cut short.*1 bytes"),
            (struct.pack("<Q", 2**63) + b"{" * 99, "99|107 bytes"),
            (struct.pack("<Q", 90) + b"{" * 99, "not that of a safetensors file"),
            (struct.pack("<Q", 90) + b"[" * 99, "not a safetensors file"),
            (b"<html>not found</html>", "not a safetensors file"),
            (b"x,y,colour\n1,2,red\n", "not a safetensors file"),
            (struct.pack("<Q", 100_000) + b'{"a":' * 20_000, "damaged|recursion"),
            (struct.pack("<Q", 2) + b"{}", "damaged or different safetensors file"),
        ],
        ids=range(9),
    )
    def test_other_content(self, content, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            load_bytes(content, tmp_path)

    def test_other_safetensors_file(self, tmp_path):
        from safetensors.numpy import save

        data = save({"a": np.zeros(3)}, {"format": "pt"})
        with pytest.raises(
            ValueError, match=r"different safetensors file.*'skdisentangle'"
        ):
            load_bytes(data, tmp_path)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no_such"):
            SparseSharedDisentangler.load(tmp_path / "no_such")
        with pytest.raises(OSError, match=r"this is a folder.*" + tmp_path.name):
            SparseSharedDisentangler.load(tmp_path)
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / "pipe")
            with pytest.raises(OSError, match=r"no regular file.*pipe"):
                SparseSharedDisentangler.load(tmp_path / "pipe")
            with pytest.raises(OSError, match="no regular file"):
                SparseSharedDisentangler.load("/dev/zero")

    def test_of_a_later_version(self, content, tmp_path):
        document, arrays = unpack(content)
        del document["sha256"]
        later = {**document, "format": FORMAT + 1, "version": "9.9"}
        with pytest.raises(ValueError, match=r"format 2, .*'9\.9'.*later version"):
            load_bytes(pack(later, arrays), tmp_path)
        later = {**document, "version": "9.9"}
        later["parameters"] = {**document["parameters"], "new": 1}
        with pytest.raises(ValueError, match=r"parameter 'new'.*written by '9\.9'"):
            load_bytes(pack(later, arrays), tmp_path)

    def test_of_an_earlier_version_with_fewer_parameters(self, content, tmp_path):
        document, arrays = unpack(content)
        del document["sha256"], document["parameters"]["cross_fit"]
        assert load_bytes(pack(document, arrays), tmp_path).cross_fit is None


def changed(array, value):
    """A copy whose last number is another."""
    array = np.array(array)
    array.flat[-1] = value
    return array


class TestNumbersOutOfRange:
    """Files whose checksum is right, and that hold what no fit can have written."""

    @staticmethod
    def check(content, tmp_path, change, message, kind=SparseSharedDisentangler):
        document, arrays = unpack(content)
        del document["sha256"]
        change(document, arrays)
        with pytest.raises(ValueError, match=message):
            load_bytes(pack(document, arrays), tmp_path, kind)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(
        "name",
        [
            "coef",
            "intercept",
            "usage",
            "spread",
            "pull",
            "inputs.mean",
            "inputs.scale",
            "moments.mean",
            "moments.var",
            "components.mean",
            "components.scale",
            "components.sign",
            "body.0.weight",
            "body.2.bias",
        ],
    )
    def test_not_finite(self, name, value, content, tmp_path):
        def change(document, arrays):
            arrays[name] = changed(arrays[name], value)

        self.check(content, tmp_path, change, f"{name.removeprefix('body.')}' should")

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("usage", -0.1, r"'usage' should be finite, at least 0; got -0\.1"),
            ("spread", -1.0, "'spread' should be finite, at least 0"),
            ("inputs.scale", -1.0, "'inputs.scale' should be finite, at least 0"),
            ("moments.var", -1.0, "'moments.var' should be finite, at least 0"),
            ("components.scale", 0.0, "'components.scale' should be above zero"),
            ("components.scale", -1.0, "'components.scale' should be above zero"),
            ("components.sign", 0.5, "'components.sign' should be 1 or -1"),
            ("components.sign", 2.0, "'components.sign' should be 1 or -1"),
            ("components.order", 99, "names components that do not exist"),
            ("components.order", -1, "names components that do not exist"),
        ],
    )
    def test_arrays(self, name, value, message, content, tmp_path):
        def change(document, arrays):
            arrays[name] = changed(arrays[name], value)

        self.check(content, tmp_path, change, message)

    def test_a_component_twice(self, content, tmp_path):
        def change(document, arrays):
            order = arrays["components.order"]
            arrays["components.order"] = changed(order, int(order[0]))

        self.check(content, tmp_path, change, "names a component twice")

    def test_signs_of_zero_are_of_the_first_version(self, content, tmp_path):
        def change(document, arrays):
            document["version"] = "0.2.0"
            arrays["components.sign"] = changed(arrays["components.sign"], 0.0)

        self.check(content, tmp_path, change, "should be 1 or -1")

    @pytest.mark.parametrize(
        ("where", "name", "value", "message"),
        [
            ((), "n_rows", -5, "'n_rows' should be finite, at least 1; got -5"),
            ((), "n_rows", 0, "'n_rows' should be finite, at least 1"),
            ((), "weight", -1.0, "'weight' should be finite, at least 0"),
            ((), "weight", {"float": "nan"}, "'weight' should be finite"),
            (("attributes",), "sparsity_", -0.1, "'sparsity_' should be finite, at le"),
            (("attributes",), "sharing_", {"float": "inf"}, "'sharing_' should be fin"),
            (("attributes",), "input_noise_", True, "'input_noise_' should be a float"),
            (("attributes",), "_unexplained", -0.1, "'_unexplained' should be finite"),
            (("attributes",), "n_iter_", -1, "'n_iter_' should be finite, at least 0"),
            (("attributes",), "loss_curve_", "x", "'loss_curve_' should be numbers"),
            (("attributes",), "validation_scores_", [None], "should be numbers"),
            (("attributes",), "_stages", [[0, "settling"]], "should be pairs"),
            (("tasks", "columns", 0), "scale", 0.0, "'scale' should be above zero"),
            (("tasks", "columns", 0), "scale", -2.0, "'scale' should be above zero"),
            (
                ("tasks", "columns", 0),
                "scale",
                {"float": "nan"},
                "'scale' should be ab",
            ),
            (("tasks", "columns", 0), "mean", {"float": "inf"}, "'mean' should be fin"),
        ],
    )
    def test_values(self, where, name, value, message, content, tmp_path):
        def change(document, arrays):
            for key in where:
                document = document[key]
            document[name] = value

        self.check(content, tmp_path, change, message)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("head.coef", np.nan, "'head.coef' should be finite"),
            ("head.intercept", np.inf, "'head.intercept' should be finite"),
            ("head.inclusion", np.nan, "'head.inclusion' should be finite"),
            ("head.inclusion", -0.5, "'head.inclusion' should be finite, at least 0"),
            ("head.inclusion", 1.5, "should be probabilities; got 1.5"),
            ("head.support", 99, "'head.support' names components that do not exist"),
            ("coef", np.nan, "'coef' should be finite"),
            ("components.sign", 3.0, "should be 1 or -1"),
        ],
    )
    def test_heads(self, name, value, message, head_content, tmp_path):
        def change(document, arrays):
            arrays[name] = changed(arrays[name], value)

        self.check(head_content, tmp_path, change, message, SparseTaskHead)

    def test_a_component_twice_in_a_head(self, head_content, tmp_path):
        def change(document, arrays):
            arrays["head.support"] = np.array([0, 0])

        message = "'head.support' names a component twice"
        self.check(head_content, tmp_path, change, message, SparseTaskHead)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("theta", np.nan),
            ("mean", np.inf),
            ("var", -1.0),
            ("variance", -1.0),
            ("n_labels", -1.0),
            ("optimizer.0.exp_avg", np.nan),
            ("optimizer.0.exp_avg_sq", -1.0),
            ("optimizer.0.step", -1.0),
        ],
    )
    def test_what_fitting_goes_on_from(self, name, value, partial_content, tmp_path):
        name = f"partial.{name}"

        def change(document, arrays):
            arrays[name] = changed(arrays[name], value)

        self.check(partial_content, tmp_path, change, f"{name}' should be finite")

    def test_passes_are_counted_from_zero(self, partial_content, tmp_path):
        def change(document, arrays):
            document["partial"]["n_steps"] = -3

        self.check(partial_content, tmp_path, change, "'n_steps' should be finite")

    def test_thousands_of_layers_fail_at_once(self, content, tmp_path):
        def change(document, arrays):
            document["parameters"]["hidden_layer_sizes"] = {"tuple": [1] * 10_000}

        started = time.perf_counter()
        message = "has 10,000 layers.*do not match its weights"
        self.check(content, tmp_path, change, message)
        assert time.perf_counter() - started < 2

    def test_a_linear_encoder_has_no_layers(self, problem, tmp_path):
        X, Y, _ = problem
        dis = quick(encoder="linear", hidden_layer_sizes=(9,) * 40, n_components=2)
        dis.fit(X, Y)
        assert_same(dis, through_file(dis, tmp_path / "model"), X)


class TestFirstVersion:
    """Files that version 0.1.0 wrote; ``tests/data/make.py`` shows how."""

    def test_they_are_as_they_were(self):
        """But for components that no task uses, which it kept as columns of zeros."""
        with np.load(DATA / "expected.npz") as expected:
            X = expected["X"]
            frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
            with pytest.warns(
                UserWarning, match="no longer exist.*active_only=False, .*penalty="
            ):
                dis = SparseSharedDisentangler.load(DATA / "frame.safetensors")
            before = expected["frame"]
            np.testing.assert_allclose(
                dis.transform(frame), before[:, before.any(0)], rtol=1e-9, atol=1e-12
            )
            found = dis.predict(frame)
            assert found["shape"].tolist() == expected["shape"].tolist()
            assert found["shape"].dtype == "category"
            np.testing.assert_allclose(found["size"], expected["size"], rtol=1e-9)
            with pytest.warns(UserWarning, match="are ignored"):
                dis = SparseSharedDisentangler.load(DATA / "partial.safetensors")
            np.testing.assert_allclose(
                dis.transform(X), expected["partial"], rtol=1e-9, atol=1e-12
            )
            # It does not say how noisy its tasks were.
            assert dis._unexplained is None
            assert dis.fit_task(X[:20], X[:20, 0]).score(X, X[:, 0]) > 0
            dis.partial_fit(X, X[:, :2])
        assert sum(path.stat().st_size for path in DATA.iterdir()) < 100_000
