"""Suites "shift" and "transfer": on a small set, and how their tables count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from benchmarks import _features, _peers, shift, transfer
from benchmarks._features import (
    BESIDE,
    CORAL,
    OURS,
    RAW,
    Training,
    class_subsets,
    group_weights,
    numeric,
    refit_head,
)
from benchmarks._peers import missing_peer
from benchmarks._real import RealSet, groups_of
from benchmarks._tables import duel, half_width, interval
from skdisentangle import SparseSharedDisentangler


def _real_set(n=360, few=False):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, 3))
    X = (factors @ rng.normal(size=(3, 8))).astype(np.float32)
    domain = np.where(np.arange(n) % 2, "b", "a")
    X[domain == "b"] += 0.3
    if few:
        letters = np.array(list("pqrstu"))
        number = (factors[:, 0] > 0) * 3 + np.digitize(factors[:, 1], [-0.5, 0.5])
        Y = pd.DataFrame({"letter": letters[number], "size": factors[:, 2]})
        types = {"letter": "multiclass", "size": "regression"}
        return RealSet("small", X, Y, types, {"half": domain}, "letter")
    values = factors @ rng.normal(size=(3, 12))
    Y = pd.DataFrame({f"label {i}": values[:, i] for i in range(12)})
    Y.iloc[::5, 0] = np.nan
    for i in range(4):
        Y[f"label {i + 4}"] = (values[:, i + 4] > 0).astype(int)
    types = {name: "binary" if Y[name].nunique() == 2 else "regression" for name in Y}
    return RealSet("small", X, Y, types, {"half": domain})


@pytest.fixture(params=[False, True], ids=["many labels", "few labels"])
def small(request, monkeypatch):
    real = _real_set(few=request.param)
    for module in (shift, transfer):
        monkeypatch.setattr(module, "loaded", lambda name: real)
    monkeypatch.setattr(_features, "N_COMPONENTS", 6)
    monkeypatch.setattr(_peers, "STEPS", 5)
    monkeypatch.setattr(
        _features,
        "SparseSharedDisentangler",
        lambda *args, **settings: SparseSharedDisentangler(
            *args, **{"max_iter": 8} | settings
        ),
    )
    return real


# Other packages use what is deprecated; ours are tested without this elsewhere.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("method", _features.METHODS)
def test_every_method_goes_through_both_suites(method, small):
    if (absent := missing_peer(method)) is not None:
        pytest.skip(absent)
    shifted = shift.run("small", method, 0)
    new = transfer.run("small", method, 0)
    if method in ("lda", "nca") and small.classes is None:
        assert shifted["found"] == new["found"] == {}
        return
    if method not in transfer.ABLE:
        assert new["found"] == {}
    for result in shifted["found"].values():
        assert set(result) == {"half a", "half b"}
        for one in result.values():
            assert set(one["labels"]) == set(small.Y)
            assert np.isfinite(list(one["labels"].values())).all()
            assert 0 < one["features"] <= 8 + 6
    for scores in new["found"].values():
        expected = {"1", "5", "10", "50"}
        assert "10" in scores
        assert set(scores) <= expected
        assert all(-1 <= value <= 1 for found in scores.values() for value in found)


def test_raw_columns_carry_over_to_the_other_domain(small):
    found = shift.run("small", "raw", 0)["found"][RAW]
    for one in found.values():
        for chosen, inside, outside in one["labels"].values():
            assert min(chosen, inside, outside) > 0.6


def test_what_is_held_out_is_not_in_the_fit():
    many, few = _real_set(), _real_set(few=True)
    fit, tasks, types, (rows, new, new_types, pool, test) = transfer.problem(many, 0)
    assert not set(types) & set(new_types)
    assert set(types) | set(new_types) == set(many.Y)
    assert set(rows[pool]) == set(fit)
    assert not set(rows[pool]) & set(rows[test])
    assert list(tasks) == list(types)
    assert list(new) == list(new_types)
    fit, tasks, types, (rows, new, new_types, pool, test) = transfer.problem(few, 0)
    known, unknown = few.Y["letter"].iloc[fit], few.Y["letter"].iloc[rows]
    assert not set(known) & set(unknown)
    assert not set(pool) & set(test)
    assert len(tasks) == len(fit)
    assert len(new) == len(rows)


def test_a_label_that_is_left_out_is_a_new_task():
    few = _real_set(few=True)
    fit, tasks, types, (rows, new, new_types, pool, test) = transfer.problem(
        few, 0, "letter"
    )
    assert set(types) == set(tasks) == {"size"}
    assert list(new) == [f"is {letter}" for letter in "pqrstu"] == list(new_types)
    assert (new.sum(axis=1) == 1).all()
    assert set(rows[pool]) == set(fit)
    assert not set(rows[pool]) & set(rows[test])


def test_labels_are_drawn_in_equal_numbers_from_the_pool():
    labels = np.array([0] * 5 + [1] * 50)
    known = np.ones(55, dtype=bool)
    known[0] = False
    rng = np.random.default_rng(0)
    pool = np.arange(0, 40)
    rows = transfer.draw(labels, known, "binary", 3, pool, rng)
    assert np.bincount(labels[rows]).tolist() == [3, 3]
    assert 0 not in rows
    assert rows.max() < 40
    assert transfer.draw(labels, known, "binary", 5, pool, rng) is None
    numbers = np.arange(55.0)
    assert len(transfer.draw(numbers, known, "regression", 10, pool, rng)) == 10
    same = np.zeros(55)
    assert transfer.draw(same, known, "regression", 10, pool, rng) is None


def test_a_subset_is_half_of_the_classes():
    labels = np.repeat(list("abcdef"), 3)
    tasks = class_subsets(labels, 4, 0)
    for column in tasks:
        chosen = {label for label, is_in in zip(labels, tasks[column]) if is_in}  # noqa: B905
        assert len(chosen) == 3
        assert tasks[column].sum() == 9


def test_tasks_as_numbers_leave_missing_labels_at_the_mean():
    tasks = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", "y", "z"]})
    values = numeric(tasks, {"a": "regression", "b": "multiclass"})
    assert values.shape == (3, 4)
    assert values[1, 0] == 0
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-12)


def test_labels_of_a_fit_have_components_of_their_own():
    real = _real_set()
    training = Training(real.X, real.Y, real.types, None, 0)
    features = _features.ours(training)["ours, the label's own components"]
    n_columns = features.transform(real.X).shape[1]
    sizes = [len(features.columns(name, n_columns)) for name in real.Y]
    assert min(sizes) < n_columns
    assert len(features.columns("unknown", n_columns)) == n_columns


def _result(chosen, inside, outside):
    one = {"labels": {"y": [chosen, inside, outside]}, "features": 3, "seconds": 1.0}
    return {"half a": one, "half b": one}


def test_the_baseline_is_picked_without_a_look_at_the_target():
    found = {
        RAW: {0: _result(0.7, 0.7, 0.9)},
        "PCA": {0: _result(0.8, 0.6, 0.1)},
        OURS: {0: _result(0.9, 0.9, 0.9)},
        "ours, sparsity chosen": {0: _result(0.95, 0.9, 0.9)},
    }
    assert shift.picked_baseline(found, 0, "half a") == "PCA"
    # What is told more than the others is no baseline, however good it is.
    for name in ("raw columns, groups weighted", CORAL):
        found[name] = {0: _result(1.0, 1.0, 1.0)}
        assert shift.picked_baseline(found, 0, "half a") == "PCA"
    # The target of one shift is in the source of the other.
    found[RAW][0]["half b"] = _result(1.0, 0.7, 0.9)["half b"]
    assert shift.picked_baseline(found, 0, "half a") == "PCA"
    assert shift.picked_baseline(found, 0, "half b") == RAW


def _rows(name="watch"):
    scores = {RAW: 0.5, "PCA": 0.504, CORAL: 0.7, OURS: 0.6, BESIDE: 0.503}
    methods = dict(zip(scores, ("raw", "pca", "skada", "ours", "ours"), strict=True))
    return [
        {
            "set": name,
            "method": methods[variant],
            "seed": seed,
            "seconds": 1.0,
            "machine": "some",
            "found": {variant: _result(0.5, 0.5, score + 0.01 * seed)},
        }
        for variant, score in scores.items()
        for seed in (5000, 5001)
    ]


def test_tables_of_the_shift():
    text = shift.section(_rows())
    assert "| raw columns |  | 4 / 0 / 0 | +0.100 | 0 / 4 / 0 | +0.003 |" in text
    assert "| PCA |  | 4 / 0 / 0 | +0.096 | 0 / 4 / 0 | -0.001 |" in text
    assert "| CORAL | target's rows | 0 / 0 / 4 | -0.100 | 0 / 0 / 4 | -0.197 |" in text
    # picked is the best on the source of those that are told nothing more
    assert "| watch | ours | raw columns | +0.100" in text
    assert "Seeds 5000 to 5001" in text
    assert shift.section([]) == ""
    # a row of fewer seeds than the others says so
    assert "| PCA (1 of 2 seeds) |" in shift.section(
        [row for row in _rows() if (row["method"], row["seed"]) != ("pca", 5001)]
    )


def test_tables_of_new_tasks():
    rows = [
        row
        | {
            "found": {v: {"5": [s], "10": [s + 0.2]} for v, s in found.items()},
            "features": dict.fromkeys(found, 7),
        }
        for row, found in (
            (
                {"set": "yeast", "method": "raw", "seed": 5000, "machine": ""},
                {RAW: 0.5},
            ),
            (
                {"set": "yeast", "method": "ours", "seed": 5000, "machine": ""},
                {OURS: 0.6},
            ),
        )
    ]
    text = transfer.section(rows)
    assert "| yeast | ours | +0.100" in text
    assert "| raw columns | 2 / 0 / 0 | +0.100 |" in text
    assert "| raw columns | 0.500 | 0.700 | 7 |" in text
    # rows of earlier reports do not say how many columns there were
    for row in rows:
        del row["features"]
    assert "| raw columns | 0.500 | 0.700 |  |" in transfer.section(rows)
    assert transfer.section([]) == ""


def test_numbers_of_labels_are_paired_within_a_seed():
    # Only the second seed has both numbers.
    found = {
        RAW: {0: {5: 0.5}, 1: {5: 0.5, 10: 0.6}, 2: {10: 0.0}},
        OURS: {0: {5: 0.9}, 1: {5: 0.6, 10: 0.8}, 2: {10: 1.0}},
    }
    assert transfer.gaps(found, OURS, RAW, 5, 10) == pytest.approx([0.15])
    assert transfer.gaps(found, OURS, RAW, 5) == pytest.approx([0.4, 0.1])


def test_an_interval_is_that_of_student():
    # 2.776 is the 97.5% quantile with four degrees of freedom.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert half_width(values) == pytest.approx(2.776 * np.sqrt(2.5 / 5), rel=1e-3)
    assert interval(values).startswith("+3.000 (+1.037 to +4.963)")
    assert np.isnan(half_width([1.0]))


def test_wins_ties_and_losses():
    assert duel([0.1, 0.005, -0.0049, -0.1, 0.2]) == ["2 / 2 / 1", "+0.040"]
    assert duel([]) == ["", ""]


# -- heads that are told the domains, methods that see the target, other packages -----------


def test_heads_that_are_told_the_domains_of_the_source(monkeypatch):
    real = _real_set()
    real.domains = {"third": np.array(list("abc"))[np.arange(len(real.X)) % 3]}
    monkeypatch.setattr(shift, "loaded", lambda name: real)
    monkeypatch.setattr(shift, "WITH_GROUP_HEADS", {RAW: list(shift.GROUP_HEADS)})
    found = shift.run("small", "raw", 0)["found"]
    assert [(row, shift.told(row)) for row in found] == [
        (RAW, ""),
        (f"{RAW}, groups weighted", "source's domains"),
        (f"{RAW}, last layer refit", "source's domains"),
    ]
    for result in found.values():
        assert shift.worst(result) > 0.6


def test_groups_of_a_source_are_domains_in_it_if_there_are_several():
    side, wearer = np.array(list("llrr")), np.array(list("abab"))
    real = RealSet("", np.zeros((4, 1)), None, {}, {"side": side, "wearer": wearer})
    assert groups_of(real, wearer == "a") is side
    assert groups_of(real, side == "l") is wearer
    assert groups_of(real, (side == "l") & (wearer == "a")) is None


def test_groups_weigh_the_same():
    labels = np.array([0] * 6 + [1] * 4)
    groups = np.array(list("aaaabbabbb"))
    weight = group_weights(labels, groups, "binary")
    pairs = [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    totals = [weight[(labels == y) & (groups == g)].sum() for y, g in pairs]
    np.testing.assert_allclose(totals, 10 / 4)
    weight = group_weights(labels.astype(float), groups, "regression")
    np.testing.assert_allclose([weight[groups == g].sum() for g in "ab"], 5)


def test_weights_and_refits_do_not_look_at_what_goes_with_the_label():
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=1600)
    place = np.where(rng.random(1600) < 0.97, label, 1 - label)
    place[1200:] = 1 - label[1200:]
    Z = np.column_stack([label, 3 * place]) + rng.normal(0, 0.4, (1600, 2))
    groups = np.array(["land", "water"])[place]
    fit, choose, new = np.split(np.arange(1600), [800, 1200])
    known = [(Z[rows], label[rows], groups[rows]) for rows in (fit, choose)]

    def accuracy(head):
        model, _ = head("binary", known, 0)
        return model.score(Z[new], label[new])

    assert accuracy(shift._plain) < 0.6
    assert min(map(accuracy, shift.GROUP_HEADS.values())) > 0.75
    # A half without one of the classes chooses nothing.
    few = np.flatnonzero(label == 0)[:20]
    few = np.append(few, np.flatnonzero(label == 1)[0])
    model, score = refit_head("binary", Z[few], label[few], np.ones(21), 0)
    assert np.isnan(score)
    assert _features.INVERSE_STRENGTHS[1] == model["head"].C


def test_rows_of_the_target_may_be_transformed_in_another_way():
    X, target = np.arange(6.0).reshape(3, 2), np.array([False, True, False])
    plain = _features.Features(lambda rows: -rows)
    np.testing.assert_array_equal(plain.of(X, target), -X)
    two = _features.Features(lambda rows: -rows, transform_target=lambda rows: rows + 1)
    np.testing.assert_array_equal(two.of(X, target), [[-0, -1], [3, 4], [-4, -5]])


def test_blocks_in_equal_shares():
    """A label of the one column that is a block, beside a hundred others, from ten rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 101))
    label = (X[:, 0] > 0).astype(int)
    rows = np.concatenate([np.flatnonzero(label == c)[:5] for c in (0, 1)])
    scores = {}
    for first in (None, 1):
        features = _features.Features(lambda rows: rows, first=first)
        scaler = features.scaler(X.shape[1])
        Z = scaler.fit_transform(X)
        if first:
            np.testing.assert_allclose(Z.var(axis=0).sum(), 2 * 100)
            np.testing.assert_allclose(Z[:, 0].var(), 100)
        model, _ = _features.best_head(
            "binary",
            (X[rows], label[rows]),
            (X[200:300], label[200:300]),
            scaler=scaler,
        )
        scores[first] = model.score(X[300:], label[300:])
    assert scores[1] > scores[None] + 0.1


def test_a_network_for_all_tasks_at_once(monkeypatch):
    monkeypatch.setattr(_peers, "STEPS", 300)
    real = _real_set()
    real.Y["class"] = np.array(list("xyz"))[np.digitize(real.Y["label 1"], [-1, 1])]
    real.types["class"] = "multiclass"
    seen = []

    def descend(losses, features, shared):
        seen.append((len(losses), tuple(features.shape)))
        _peers.mean_descent(losses, features, shared)

    def fitted(**changes):
        transform = _peers.joint_network(real.X, real.Y, real.types, 6, 0, **changes)
        return transform(real.X)

    Z = fitted(descend=descend)
    assert seen == [(13, (128, 6))] * _peers.STEPS
    np.testing.assert_array_equal(Z, fitted())  # the seed says it all
    assert not np.array_equal(Z, fitted(noise=0.3))
    y = real.Y["label 2"]
    assert LinearRegression().fit(Z[:200], y[:200]).score(Z[200:], y[200:]) > 0.9


def test_missing_labels_have_no_loss():
    real = _real_set()
    (kind, outputs, values, known), *_ = _peers.as_targets(real.Y, real.types)
    assert (kind, outputs) == ("regression", 1)
    np.testing.assert_array_equal(known.numpy(), real.Y["label 0"].notna())
    scores = values[:, None].clone()
    scores[~known] = 100.0
    assert _peers.task_loss(kind, scores, values, known) == 0
    assert _peers.task_loss(kind, scores[~known], values[~known], known[~known]) == 0


def test_what_is_not_installed_is_named(monkeypatch):
    peers = {"other": (("json", "no_such_package"), "no-such-package==1")}
    monkeypatch.setattr(_peers, "PEERS", peers)
    assert _peers.missing_peer("raw") is None
    said = _peers.missing_peer("other")
    assert "no Python package no_such_package" in said
    assert "pip install no-such-package==1 torch==" in said
