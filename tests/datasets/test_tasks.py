"""Tasks on known factors, and synthetic rows."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle.datasets import (
    expand_factors,
    make_multitask_factors,
    tasks_from_classes,
    tasks_from_factors,
)


@pytest.fixture(scope="module")
def factors():
    rng = np.random.default_rng(0)
    return np.column_stack(
        [
            rng.normal(size=3000),
            rng.integers(3, size=3000),
            rng.uniform(0, 360, size=3000),
            rng.uniform(size=3000),
        ]
    )


KINDS = {"categorical": (1,), "periods": {2: 360.0}}


def residual_share(columns, value):
    design = np.column_stack([columns, np.ones(len(columns))])
    fitted = design @ np.linalg.lstsq(design, value, rcond=None)[0]
    return np.var(value - fitted) / np.var(value)


class TestExpandFactors:
    def test_columns_and_groups(self, factors):
        columns, groups = expand_factors(factors, **KINDS)
        assert groups.tolist() == [0, 1, 1, 1, 2, 2, 3]
        assert np.array_equal(columns[:, 0], factors[:, 0])
        assert np.array_equal(columns[:, 1:4].argmax(1), factors[:, 1])
        assert columns[:, 1:4].sum(1).tolist() == [1.0] * 3000
        back = np.rad2deg(np.arctan2(columns[:, 5], columns[:, 4])) % 360
        assert back == pytest.approx(factors[:, 2])

    def test_period_of_each_row(self):
        quarter = np.array([[0.0], [90.0], [90.0], [90.0]])
        columns, _ = expand_factors(quarter, periods={0: [90, 90, 360, np.nan]})
        expected = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
        assert columns == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("kinds", "message"),
        [
            ({"categorical": None}, "categorical must hold column numbers; got None"),
            ({"categorical": 1}, "categorical must hold column numbers; got 1"),
            ({"periods": [360.0]}, r"periods must be a mapping .*got \[360.0\]"),
        ],
    )
    def test_wrong_types(self, factors, kinds, message):
        with pytest.raises(TypeError, match=message):
            expand_factors(factors, **kinds)

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames_and_text(self, library):
        frame = pytest.importorskip(library).DataFrame(
            {"size": [1.0, 2.0, 4.0], "kind": ["b", "a", "b"]}
        )
        columns, groups = expand_factors(frame, categorical=np.array([1]))
        assert columns.tolist() == [[1, 0, 1], [2, 1, 0], [4, 0, 1]]
        assert groups.tolist() == [0, 1, 1]
        with pytest.raises(ValueError, match=r"columns \[1\] hold text"):
            expand_factors(frame)

    def test_negative_columns_count_from_the_end(self, factors):
        one = expand_factors(factors, categorical=(-3,), periods={-2: 360.0})
        other = expand_factors(factors, **KINDS)
        assert np.array_equal(one[0], other[0])

    @pytest.mark.parametrize(
        ("kinds", "message"),
        [
            ({"categorical": (4,)}, r"categorical must hold column numbers.*got \[4\]"),
            ({"periods": {-5: 1.0}}, "periods must hold column numbers"),
            ({"periods": {2: 0.0}}, r"periods\[2\] must be a positive number"),
            ({"periods": {2: [1.0, 2.0]}}, r"one for each of the 3000 rows"),
            ({"periods": {2: np.nan}}, r"periods\[2\] must be"),
            ({"periods": {2: [np.nan] * 3000}}, r"periods\[2\] must be"),
            ({"periods": {2: np.inf}}, r"periods\[2\] must be"),
            ({"periods": {2: None}}, r"periods\[2\] must be .*got None"),
            ({"periods": {2: []}}, r"periods\[2\] must be"),
            ({"periods": {2: 1.0, -2: 2.0}}, "must not name a column twice"),
            ({"categorical": [False, True, False, False]}, "must hold column numbers"),
            (
                {"periods": {1: 3.0}, "categorical": (1,)},
                "nor one that is in categorical; got columns .1.",
            ),
        ],
    )
    def test_wrong_kinds(self, factors, kinds, message):
        with pytest.raises(ValueError, match=message):
            expand_factors(factors, **kinds)


class TestTasksFromFactors:
    def test_a_task_is_made_of_its_support_alone(self, factors):
        tasks = tasks_from_factors(
            factors, task_types="regression", random_state=1, **KINDS
        )
        columns, groups = expand_factors(factors, **KINDS)
        for labels, support in zip(tasks.Y.T, tasks.supports, strict=True):
            inside = np.isin(groups, np.flatnonzero(support))
            assert residual_share(columns[:, inside], labels) == pytest.approx(
                0.01, abs=0.003
            )
            for factor in np.flatnonzero(support):
                rest = inside & (groups != factor)
                assert residual_share(columns[:, rest], labels) > 0.04
            assert np.var(labels) == pytest.approx(1.01, abs=0.02)

    def test_tasks_see_different_directions_of_a_category_and_an_angle(self, factors):
        tasks = tasks_from_factors(
            factors,
            support_size=1,
            task_types="regression",
            noise=0.0,
            random_state=0,
            **KINDS,
        )
        for factor, n_dimensions in ((0, 1), (1, 2), (2, 2)):
            labels = tasks.Y[:, tasks.supports[:, factor]]
            spectrum = np.linalg.svd(labels - labels.mean(0), compute_uv=False)
            assert (spectrum > 1e-6 * spectrum[0]).sum() == n_dimensions

    def test_sizes_and_types(self, factors):
        tasks = tasks_from_factors(
            factors,
            n_tasks=40,
            support_size=(2, 3),
            task_types={"multiclass": 1, "binary": 2, "regression": 1},
            n_classes=5,
            random_state=0,
            **KINDS,
        )
        assert set(tasks.supports.sum(1)) == {2, 3}
        types = np.array(tasks.task_types)
        assert [(types == t).sum() for t in ("multiclass", "binary")] == [10, 20]
        for labels, kind in zip(tasks.Y.T, types, strict=True):
            n_values = len(np.unique(labels))
            assert n_values == {"multiclass": 5, "binary": 2}.get(kind, 3000)

    def test_mixed_is_half_and_half(self, factors):
        tasks = tasks_from_factors(factors, n_tasks=10, random_state=0)
        assert sorted(tasks.task_types) == ["binary"] * 5 + ["regression"] * 5

    def test_types_as_given(self, factors):
        types = ["binary", "regression", "multiclass"]
        tasks = tasks_from_factors(factors, n_tasks=3, task_types=types, **KINDS)
        assert tasks.task_types == types

    def test_logistic_labels_are_noisy_and_thresholds_are_not(self, factors):
        options = {"support_size": 1, "task_types": "binary", "random_state": 0}
        sharp = tasks_from_factors(factors[:, :1], noise=0.0, **options)
        soft = tasks_from_factors(factors[:, :1], link="logistic", **options)

        def overlap(labels):
            value = factors[:, 0]
            sign = 1 if value[labels == 1].mean() > value[labels == 0].mean() else -1
            one, zero = sign * value[labels == 1], sign * value[labels == 0]
            return np.mean(one < zero.max())

        assert all(overlap(labels) == 0 for labels in sharp.Y.T)
        assert all(overlap(labels) > 0.1 for labels in soft.Y.T)

    def test_missing_and_wrong_labels(self, factors):
        options = {"random_state": 0, **KINDS}
        clean = tasks_from_factors(factors, **options)
        half = tasks_from_factors(factors, missing=0.5, **options)
        there = ~np.isnan(half.Y)
        assert there.mean() == pytest.approx(0.5, abs=0.01)
        assert np.array_equal(half.Y[there], clean.Y[there])
        wrong = tasks_from_factors(factors, flip_y=0.2, n_tasks=1, **options)
        right = tasks_from_factors(factors, n_tasks=1, **options)
        assert np.mean(wrong.Y != right.Y) == pytest.approx(0.2, abs=0.03)
        assert wrong.Y.mean() == pytest.approx(right.Y.mean(), abs=0.1)

    @pytest.mark.parametrize("categorical", [(), (1,)])
    def test_a_constant_factor_has_no_effect(self, factors, categorical):
        constant = np.column_stack([factors[:, 0], np.full(3000, 0.1)])
        tasks = tasks_from_factors(
            constant,
            task_types="regression",
            categorical=categorical,
            random_state=0,
        )
        for labels, support in zip(tasks.Y.T, tasks.supports, strict=True):
            expected = 1.01 if support[0] else 0.01
            assert np.var(labels) == pytest.approx(expected, rel=0.15)

    def test_classes_have_no_gaps(self):
        two = np.repeat([[0.0], [1.0]], 50, axis=0)
        tasks = tasks_from_factors(
            two, task_types="multiclass", noise=0.0, n_classes=5, random_state=0
        )
        for labels in tasks.Y.T:
            assert np.unique(labels).tolist() == [0, 1]

    def test_one_row_and_one_task(self):
        tasks = tasks_from_factors(
            [[1.0, 2.0]], n_tasks=1, task_types="regression", random_state=0
        )
        assert np.isfinite(tasks.Y).all()
        assert tasks.supports.sum() in (1, 2)

    def test_random_state(self, factors):
        before = np.random.get_state()[1].copy()
        one = tasks_from_factors(factors, random_state=3).Y
        assert np.array_equal(one, tasks_from_factors(factors, random_state=3).Y)
        assert not np.array_equal(one, tasks_from_factors(factors).Y)
        state = np.random.RandomState(3)
        first = tasks_from_factors(factors, random_state=state).Y
        assert not np.array_equal(
            first, tasks_from_factors(factors, random_state=state).Y
        )
        assert np.array_equal(before, np.random.get_state()[1])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_tasks": 0}, "n_tasks must be an integer of at least 1; got 0"),
            ({"support_size": 5}, "support_size must be .* between 1 and 4"),
            ({"support_size": (2, 1)}, r"support_size .*got \(2, 1\)"),
            ({"task_types": "quantile"}, r"must be among .*got \['quantile'\]"),
            ({"task_types": ["binary"]}, "each of the 60 tasks; got 1"),
            ({"task_types": {"binary": 0}}, "not all 0"),
            (
                {"link": "probit"},
                "link must be 'threshold' or 'logistic'; got 'probit'",
            ),
            ({"noise": -1}, "noise must be at least 0; got -1"),
            ({"flip_y": 1.0}, "flip_y must be at least 0 and less than 1; got 1.0"),
            ({"missing": -0.1}, "missing must be at least 0"),
            ({"n_classes": 1}, "n_classes must be an integer of at least 2"),
            (
                {"n_classes": 3001, "task_types": "multiclass"},
                "n_classes must be at most 3000.*got 3001",
            ),
            ({"n_tasks": True}, "n_tasks must be an integer of at least 1; got True"),
            ({"support_size": 1.5}, "support_size must be .*got 1.5"),
            ({"support_size": (1, 2, 3)}, "support_size must be .*got"),
            ({"support_size": None}, "support_size must be .*got None"),
            ({"noise": np.nan}, "noise must be at least 0; got nan"),
            ({"noise": None}, "noise must be at least 0; got None"),
            ({"missing": "half"}, "missing must be .*got 'half'"),
            ({"task_types": {"binary": np.nan}}, "share of each type"),
            ({"task_types": {"binary": 1, "quantile": 0}}, r"got \['quantile'\]"),
            ({"random_state": "x"}, "'x' cannot be used to seed"),
        ],
    )
    def test_wrong_arguments(self, factors, options, message):
        with pytest.raises(ValueError, match=message):
            tasks_from_factors(factors, **options)


class TestMakeMultitaskFactors:
    def test_shapes(self):
        made = make_multitask_factors(
            50, n_factors=4, n_features=9, n_tasks=7, random_state=0
        )
        assert made.X.shape == (50, 9)
        assert made.Y.shape == (50, 7)
        assert made.factors.shape == (50, 4)
        assert made.supports.shape == (7, 4)
        assert len(made.task_types) == 7

    def test_correlation(self):
        made = make_multitask_factors(20_000, correlation=0.6, random_state=0)
        off = np.corrcoef(made.factors.T)[~np.eye(6, dtype=bool)]
        assert off == pytest.approx(np.full(30, 0.6), abs=0.03)
        matrix = np.array([[1.0, -0.5], [-0.5, 1.0]])
        made = make_multitask_factors(
            20_000, n_factors=2, support_size=1, correlation=matrix, random_state=0
        )
        assert np.corrcoef(made.factors.T) == pytest.approx(matrix, abs=0.03)

    @pytest.mark.parametrize("mixing", ["linear", "mlp", "polynomial"])
    def test_mixing_keeps_the_factors(self, mixing):
        """All are there, and in plain sight only if the mixing is linear."""
        made = make_multitask_factors(
            4000, mixing=mixing, n_features=40, random_state=0
        )
        shares = [residual_share(made.X, f) for f in made.factors.T]
        assert made.X.std() == pytest.approx(1.0, abs=0.01)
        if mixing == "linear":
            assert max(shares) < 1e-9
        elif mixing == "polynomial":
            assert np.linalg.matrix_rank(made.X - made.X.mean(0)) == 27
            assert max(shares) < 1e-9  # 40 columns undo 27 products
        else:
            assert min(shares) > 0.001

    def test_labels_follow_the_factors(self):
        made = make_multitask_factors(4000, task_types="regression", random_state=0)
        for labels, support in zip(made.Y.T, made.supports, strict=True):
            assert residual_share(made.factors[:, support], labels) < 0.02

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_samples": 1}, "n_samples must be an integer of at least 2; got 1"),
            ({"n_features": 5}, "n_features must be an integer of at least 6; got 5"),
            ({"mixing": "polynomial", "n_features": 12}, "at least 13; got 12"),
            ({"mixing": "cubic"}, "mixing must be 'linear', 'mlp' or 'polynomial'"),
            ({"correlation": 1.0}, "positive definite .a number between -0.2 and 1"),
            ({"correlation": np.eye(3)}, r"matrix of shape \(6, 6\)"),
            ({"n_factors": 2, "support_size": 3}, "support_size .*between 1 and 2"),
            ({"correlation": "high"}, "correlation must be a number or"),
        ],
    )
    def test_wrong_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            make_multitask_factors(**{"n_samples": 20, **options})


class TestTasksFromClasses:
    def test_rows_of_other_classes_are_not_labelled(self):
        y = np.random.default_rng(0).integers(5, size=200)
        tasks = tasks_from_classes(y, n_tasks=7, n_classes=3, random_state=0)
        assert tasks.Y.shape == (200, 7)
        assert tasks.task_types == ["multiclass"] * 7
        for labels, classes in zip(tasks.Y.T, tasks.classes, strict=True):
            assert len(set(classes)) == 3
            inside = np.isin(y, classes)
            assert np.array_equal(labels[inside], y[inside])
            assert np.isnan(labels[~inside]).all()

    def test_no_subset_again_before_all_were_drawn(self):
        tasks = tasks_from_classes(range(4), n_tasks=14, random_state=0)
        drawn = [tuple(classes) for classes in tasks.classes]
        assert len(set(drawn[:6])) == len(set(drawn[6:12])) == 6
        assert tasks.task_types[0] == "binary"

    @pytest.mark.parametrize(
        ("y", "known"),
        [
            (["b", "a", None, "b"], ["b", "a", None, "b"]),
            (["b", "a", float("nan"), "b"], ["b", "a", None, "b"]),
            ([True, False, None, True], [True, False, None, True]),
            (np.array(["b", "a"]), ["b", "a"]),
            (np.array([2, 7]), [2.0, 7.0]),
        ],
    )
    def test_labels_of_any_kind(self, y, known):
        tasks = tasks_from_classes(y, n_tasks=2)
        assert tasks.Y[:, 1].tolist() == known
        assert tasks.classes[0].tolist() == sorted({k for k in known if k is not None})

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_series(self, library):
        library = pytest.importorskip(library)
        tasks = tasks_from_classes(library.Series([1, None, 3]), n_tasks=1)
        assert tasks.Y[[0, 2], 0].tolist() == [1.0, 3.0]
        assert np.isnan(tasks.Y[1, 0])
        tasks = tasks_from_classes(library.Series(["x", None, "y"]), n_tasks=1)
        assert tasks.Y[:, 0].tolist() == ["x", None, "y"]

    def test_large_ids_stay_apart(self):
        """As floats, eight of them would be three."""
        y = 10**17 + np.arange(80) // 10
        tasks = tasks_from_classes(y, n_tasks=28, random_state=0)
        assert set(np.unique(tasks.classes).tolist()) == set(y.tolist())
        for column, pair in zip(tasks.Y.T, tasks.classes, strict=True):
            inside = np.isin(y, pair.astype(np.int64))
            assert column[inside].tolist() == y[inside].tolist()
            assert set(column[~inside].tolist()) == {None}

    def test_the_same_seed_draws_the_same(self):
        one, two = (tasks_from_classes(range(9), random_state=3) for _ in range(2))
        assert np.array_equal(one.classes, two.classes)

    @pytest.mark.parametrize(
        ("y", "options", "message"),
        [
            ([1, "a"], {}, "y must hold labels of one kind; got numbers, strings"),
            ([1, 2.5], {}, "y must hold classes, .*got 2.5"),
            ([1, np.inf], {}, "y must hold classes, .*got inf"),
            ([1, 1], {}, "n_classes must be at most 1, .*got 2"),
            ([1, 2], {"n_classes": 1}, "n_classes must be an integer of at least 2"),
            ([1, 2], {"n_tasks": 0}, "n_tasks must be an integer of at least 1"),
        ],
    )
    def test_wrong_arguments(self, y, options, message):
        with pytest.raises(ValueError, match=message):
            tasks_from_classes(y, **options)
