"""Heads of new tasks: the right support from few labels, and good manners."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy.linalg import null_space
from scipy.stats import multivariate_normal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.heads import SparseTaskHead
from skdisentangle.solvers import supports
from skdisentangle.solvers.supports import average_over_supports, head_prior
from skdisentangle.tasks.labels import Labels

N_FACTORS = 5


@pytest.fixture(scope="module")
def world():
    """A disentangler of linearly mixed factors, and rows that it has not seen."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2400, N_FACTORS))
    X = factors @ rng.normal(size=(N_FACTORS, 12))
    Y = np.empty((len(X), 30))
    for task in range(Y.shape[1]):
        support = rng.choice(N_FACTORS, size=1 + task % 2, replace=False)
        value = factors[:, support] @ rng.uniform(0.5, 1.5, size=len(support))
        Y[:, task] = value > 0 if task % 2 else value
    dis = SparseSharedDisentangler(
        8, encoder="linear", batch_size=256, max_iter=100, random_state=0
    )
    dis.fit(X[:1000], Y[:1000])
    new_X, new_factors = X[1000:], factors[1000:]
    both = np.corrcoef(new_factors.T, dis.transform(new_X)[:, :N_FACTORS].T)
    match = np.abs(both[:N_FACTORS, N_FACTORS:])
    assert len(dis.active_components_) == N_FACTORS
    assert match.max(1).min() > 0.98
    return dis, new_X, new_factors, match.argmax(1)


def labels_of(kind, factors):
    value = factors[:, 0] - factors[:, 2]
    if kind == "regression":
        return value * 50 + 7
    if kind == "binary":
        return np.where(value > 0.3, "high", "low")
    return np.digitize(value, [-0.8, 0.8])


KINDS = ("regression", "binary", "multiclass")


@pytest.mark.parametrize("kind", KINDS)
def test_finds_the_support_from_fifty_labels(world, kind):
    dis, X, factors, component = world
    y = labels_of(kind, factors)
    head = dis.fit_task(X[:50], y[:50])
    assert head.task_.type == kind
    assert set(head.support_) == {component[0], component[2]}
    assert np.flatnonzero(head.inclusion_ > 0.5).tolist() == sorted(head.support_)
    assert not head.coef_[:, head.inclusion_ < 0.1].any()
    assert (head.inclusion_[len(dis.active_components_) :] == 0).all()
    assert head.score(X[50:], y[50:]) > {"regression": 0.99}.get(kind, 0.9)
    scores = dis.transform(X) @ head.coef_.T + head.intercept_
    if kind == "regression":
        np.testing.assert_allclose(head.predict(X), scores[:, 0])
    else:
        chance = head.predict_proba(X)
        np.testing.assert_allclose(chance.sum(1), 1)
        assert (head.classes_[chance.argmax(1)] == head.predict(X)).all()


def test_better_than_logistic_regression_on_all_components(world):
    dis, X, factors, _ = world
    rng = np.random.default_rng(1)
    codes = dis.transform(X)
    gaps = []
    for factor in range(N_FACTORS):
        y = factors[:, factor] > 0
        for _ in range(4):
            rows = np.concatenate(
                [rng.choice(np.flatnonzero(y == c), 5, replace=False) for c in (0, 1)]
            )
            plain = LogisticRegression().fit(codes[rows], y[rows])
            ours = dis.fit_task(X[rows], y[rows])
            gaps.append(ours.score(X, y) - plain.score(codes, y))
    assert np.mean(gaps) > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_the_disentangler_alone_and_repeats_itself(world, kind):
    dis, X, factors, _ = world
    y = labels_of(kind, factors)
    before = pickle.dumps(dis)
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    heads = [dis.fit_task(X[:30], y[:30]) for _ in range(2)]
    assert pickle.dumps(dis) == before
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert (heads[0].coef_ == heads[1].coef_).all()
    assert (heads[0].intercept_ == heads[1].intercept_).all()


def test_a_later_fit_does_not_change_the_head(world):
    dis, X, factors, _ = world
    dis = copy.deepcopy(dis)
    head = dis.fit_task(X[:30], factors[:30, 0])
    before = head.predict(X)
    dis.set_params(max_iter=1, random_state=5)
    with pytest.warns(match="still improving"):
        dis.fit(X[:, ::-1], factors)
    assert (head.predict(X) == before).all()


def test_missing_labels_and_rows_without_weight_are_left_out(world):
    dis, X, factors, _ = world
    y = factors[:40, 0] + 0.1 * factors[:40, 1]
    plain = dis.fit_task(X[:30], y[:30])
    holes = np.where(np.arange(40) < 30, y, np.nan)
    weight = (np.arange(40) < 30) * 2.0
    wrong = np.where(np.arange(40) < 30, y, 1e6)
    for head in (
        dis.fit_task(X[:40], holes),
        dis.fit_task(X[:40], wrong, sample_weight=weight),
    ):
        np.testing.assert_allclose(head.coef_, plain.coef_)
        np.testing.assert_allclose(head.intercept_, plain.intercept_)
        assert head.score(X[:40], holes) == pytest.approx(plain.score(X[:30], y[:30]))
    names = np.where(y > 0, "yes", "no").astype(object)
    names[30:] = "never"
    head = dis.fit_task(X[:40], names, sample_weight=weight)
    assert head.classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_said_twice_weigh_twice(world, kind):
    dis, X, factors, _ = world
    y = labels_of(kind, factors)[:30]
    # The weights have mean one, so that they stand for as many rows as there are.
    weight = np.where(np.arange(30) < 10, 2.0, 0.5)
    rows = np.repeat(np.arange(30), (2 * weight).astype(int))
    halves = np.full(len(rows), 0.5)
    head = SparseTaskHead(dis).fit(X[:30], y, sample_weight=weight)
    codes = torch.from_numpy(dis.transform(X[:30])[rows])
    targets, _ = head._task_set.encode(Labels.read(y[rows]))
    heads = [
        (t.type, torch.from_numpy(dis.coef_[t.outputs] / t.scale)) for t in dis.tasks_
    ]
    log_odds, scale = head_prior(heads, kind)
    repeated = average_over_supports(
        codes[:, :N_FACTORS],
        torch.from_numpy(targets[:, 0]),
        torch.from_numpy(halves),
        task_type=kind,
        n_outputs=head.task_.n_outputs,
        log_odds=log_odds[:N_FACTORS],
        scale=scale,
    )
    np.testing.assert_allclose(
        head.inclusion_[:N_FACTORS], repeated.inclusion, atol=1e-6
    )


def prior_odds(log_odds):
    """Odds of a single component, which a part of the prior uses for sure."""
    share = supports.WHOLE + (1 - supports.WHOLE) / (1 + np.exp(-log_odds))
    return share / (1 - share)


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_labels_that_say_nothing_leave_the_prior(kind):
    log_odds = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64)
    found = average_over_supports(
        torch.zeros(4, 3, dtype=torch.float64),
        torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64),
        torch.ones(4, dtype=torch.float64),
        task_type=kind,
        n_outputs=1,
        log_odds=log_odds,
        scale=1.0,
    )
    odds = [prior_odds(value) for value in log_odds.tolist()]
    assert (found.inclusion / (1 - found.inclusion)).tolist() == pytest.approx(odds)


def test_a_task_that_uses_all_components_is_learned_as_one():
    """Known tasks use one of twenty components each, the new one all of them."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(2000, 20))
    y = (codes @ rng.normal(size=20) / 20**0.5 + 0.5 * rng.normal(size=2000) > 0) * 1.0
    found = average_over_supports(
        torch.from_numpy(codes[:40]),
        torch.from_numpy(y[:40]),
        torch.ones(40, dtype=torch.float64),
        task_type="binary",
        n_outputs=1,
        log_odds=torch.full((20,), -3.0, dtype=torch.float64),
        scale=2.0,
    )
    scores = codes[40:] @ found.coef[0].numpy()
    ridge = LogisticRegression(C=1.0).fit(codes[:40], y[:40])
    auc = roc_auc_score(y[40:], scores)
    assert auc > roc_auc_score(y[40:], ridge.decision_function(codes[40:])) - 0.02
    assert found.inclusion.min() > 0.5


def test_evidence_of_a_regression_is_that_of_the_normal_distribution(monkeypatch):
    """Odds of two supports, by the closed form and by integrals on a grid."""
    monkeypatch.setattr(supports, "NOISE_LEVELS", (0.3,))
    rng = np.random.default_rng(3)
    codes, y = rng.normal(size=(6, 1)), rng.normal(size=6)
    y += codes[:, 0]
    found = average_over_supports(
        torch.from_numpy(codes),
        torch.from_numpy(y),
        torch.ones(6, dtype=torch.float64),
        task_type="regression",
        n_outputs=1,
        log_odds=torch.tensor([-0.7], dtype=torch.float64),
        scale=0.8,
    )
    units = np.exp(np.linspace(-4, 5, 400))
    # With a flat prior on the intercept only contrasts say something.
    contrasts = null_space(np.ones((1, 6))).T
    by_support = []
    for signal in (0.0, 0.64):
        inner = contrasts @ (0.3 * np.eye(6) + signal * codes @ codes.T) @ contrasts.T
        densities = [
            multivariate_normal(cov=u**2 * inner).pdf(contrasts @ y) for u in units
        ]
        by_support.append(np.sum(densities))
    odds = prior_odds(-0.7) * by_support[1] / by_support[0]
    assert float(found.inclusion[0]) == pytest.approx(odds / (1 + odds), rel=1e-3)


def test_noise_of_known_tasks_is_the_least_of_a_new_one(monkeypatch):
    rng = np.random.default_rng(3)
    codes = torch.from_numpy(rng.normal(size=(8, 2)))
    y = codes[:, 0] + torch.from_numpy(rng.normal(size=8))
    arguments = codes, y, torch.ones(8, dtype=torch.float64)
    options = {
        "task_type": "regression",
        "n_outputs": 1,
        "log_odds": torch.zeros(2, dtype=torch.float64),
        "scale": 0.8,
    }
    found = {
        noise: average_over_supports(*arguments, noise=noise, **options)
        for noise in (None, 0.0, 0.05, 3.0)
    }
    torch.testing.assert_close(found[0.0].coef, found[None].coef)
    for noise, levels in ((0.05, (0.05, 0.1, 1.0)), (3.0, (3.0,))):
        monkeypatch.setattr(supports, "NOISE_LEVELS", levels)
        by_hand = average_over_supports(*arguments, **options)
        torch.testing.assert_close(found[noise].coef, by_hand.coef)
        monkeypatch.undo()


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_known_tasks_tell_the_noise(missing):
    """Of noise of variance one half of each target is left."""
    problem = make_multitask_factors(1500, noise=1.0, missing=missing, random_state=0)
    dis = SparseSharedDisentangler(task_types=problem.task_types, random_state=0)
    dis.fit(problem.X, problem.Y)
    assert dis._unexplained == pytest.approx(0.5, abs=0.03)
    classes = [t for t, kind in enumerate(problem.task_types) if kind == "binary"]
    dis.set_params(task_types="binary").fit(problem.X, problem.Y[:, classes])
    assert dis._unexplained is None


def test_few_labels_of_a_noisy_task_are_not_believed():
    """From five labels, no worse than their mean would be, which errs by a fifth."""
    problem = make_multitask_factors(
        2000, n_tasks=40, noise=2.0, task_types="regression", random_state=1
    )
    known, new = slice(30), range(30, 40)
    dis = SparseSharedDisentangler(random_state=0)
    dis.fit(problem.X[:1000], problem.Y[:1000, known])
    rng, own, plain = np.random.default_rng(0), [], []
    for task in new:
        for _ in range(5):
            rows = 1000 + rng.choice(500, 5, replace=False)
            labels = problem.Y[rows, task]
            head = dis.fit_task(problem.X[rows], labels)
            truth = problem.Y[1500:, task]
            own.append(np.mean((head.predict(problem.X[1500:]) - truth) ** 2))
            plain.append(np.mean((labels.mean() - truth) ** 2))
    assert np.mean(own) < np.mean(plain)


def test_evidence_of_classes_is_that_of_the_integral(monkeypatch):
    monkeypatch.setattr(supports, "SCALES", (1.0,))
    rng = np.random.default_rng(4)
    codes = rng.normal(size=(40, 1))
    y = (codes[:, 0] + rng.normal(size=40) > 0).astype(float)
    log_odds, scale = -5.0, 1.5
    odds = {}
    for kind, n_outputs in (("binary", 1), ("multiclass", 2)):
        found = average_over_supports(
            torch.from_numpy(codes),
            torch.from_numpy(y),
            torch.ones(40, dtype=torch.float64),
            task_type=kind,
            n_outputs=n_outputs,
            log_odds=torch.tensor([log_odds], dtype=torch.float64),
            # The difference of two logits of half the variance has that variance.
            scale=scale if kind == "binary" else scale / 2**0.5,
        )
        odds[kind] = float(found.inclusion[0] / (1 - found.inclusion[0]))
    intercepts, coefs = np.linspace(-8, 8, 401), np.linspace(-8, 8, 401)
    grid_a, grid_c = np.meshgrid(intercepts, coefs, indexing="ij")
    likelihood = np.ones_like(grid_a)
    for code, label in zip(codes[:, 0], y, strict=True):
        sign = 1 if label else -1
        likelihood /= 1 + np.exp(-sign * (grid_a + grid_c * code))
    prior_a = np.exp(-((intercepts / supports.INTERCEPT_SCALE) ** 2) / 2)
    prior_c = np.exp(-((coefs / scale) ** 2) / 2)
    prior_c /= prior_c.sum()
    with_code = prior_a @ likelihood @ prior_c
    without = prior_a @ likelihood[:, 200]
    expected = prior_odds(log_odds) * with_code / without
    assert odds["binary"] == pytest.approx(expected, rel=0.1)
    assert odds["multiclass"] == pytest.approx(expected, rel=0.15)


def test_search_finds_what_all_supports_say(monkeypatch):
    """With many components not all supports are looked at, but those that matter."""
    rng = np.random.default_rng(5)
    codes = rng.normal(size=(40, 10)) + rng.normal(size=(40, 1))
    y = codes[:, 1] - codes[:, 4] + codes[:, 7] + 0.5 * rng.normal(size=40)
    arguments = (
        torch.from_numpy(codes),
        torch.from_numpy((y - y.mean()) / y.std()),
        torch.ones(40, dtype=torch.float64),
    )
    options = {
        "task_type": "regression",
        "n_outputs": 1,
        "log_odds": torch.full((10,), -1.0, dtype=torch.float64),
        "scale": 0.6,
    }
    found = average_over_supports(*arguments, **options)
    monkeypatch.setattr(supports, "MAX_KEPT", 2**10)
    monkeypatch.setattr(supports, "WINDOW", np.inf)
    every = average_over_supports(*arguments, **options)
    for each in (found, every):
        assert np.flatnonzero(each.inclusion > 0.5).tolist() == [1, 4, 7]
    torch.testing.assert_close(found.inclusion, every.inclusion, atol=0.01, rtol=0)
    torch.testing.assert_close(found.coef, every.coef, atol=0.01, rtol=0)


@pytest.mark.parametrize(("kind", "n_outputs"), [("binary", 1), ("multiclass", 5)])
def test_of_many_rows_a_parabola_says_what_all_modes_say(kind, n_outputs, monkeypatch):
    """Heads and inclusions are those of a search by the mode of every support."""
    rng = np.random.default_rng(6)
    codes = rng.normal(size=(1500, 9))
    each = np.linspace(-1, 1, max(2, n_outputs))
    logits = codes[:, [1, 4, 7]] @ [rng.permutation(each) for _ in range(3)]
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1).astype(float)
    arguments = [torch.from_numpy(v) for v in (codes, y, np.ones(len(y)))]
    options = {
        "task_type": kind,
        "n_outputs": n_outputs,
        "log_odds": torch.full((9,), -1.0, dtype=torch.float64),
        "scale": 1.0,
    }
    monkeypatch.setattr(supports, "FEW_VALUES", np.inf)
    every = average_over_supports(*arguments, **options)
    for most in (5e7, 0):  # with modes of the best supports, and without any
        monkeypatch.setattr(supports, "FEW_VALUES", 0)
        monkeypatch.setattr(supports, "MODE_VALUES", most)
        found = average_over_supports(*arguments, **options)
        for each in (found, every):
            assert np.flatnonzero(each.inclusion > 0.5).tolist() == [1, 4, 7]
        torch.testing.assert_close(found.inclusion, every.inclusion, atol=0.05, rtol=0)
        torch.testing.assert_close(found.coef, every.coef, atol=0.03, rtol=0)


def test_a_trace_of_a_factor_is_no_support():
    """Components are factors only nearly: with many rows a trace could be told."""
    rng = np.random.default_rng(7)
    codes = torch.from_numpy(rng.normal(size=(20_000, 3)))
    targets = (
        codes[:, 0]
        + 0.03 * codes[:, 1]
        + 0.3 * torch.from_numpy(rng.normal(size=20_000))
    )
    found = average_over_supports(
        codes,
        targets,
        torch.ones(20_000, dtype=torch.float64),
        task_type="regression",
        n_outputs=1,
        log_odds=torch.zeros(3, dtype=torch.float64),
        scale=1.0,
    )
    assert np.flatnonzero(found.inclusion > 0.5).tolist() == [0]


def test_prior_comes_from_the_tasks():
    heads = [
        ("regression", torch.tensor([[3.0, 0.0, 0.0]])),
        ("regression", torch.tensor([[3.0, 4.0, 0.0]])),
        ("multiclass", torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])),
    ]
    log_odds, scale = head_prior(heads, "regression")
    assert log_odds.exp().tolist() == pytest.approx([2.5 / 1.5, 2.5 / 1.5, 0.5 / 3.5])
    assert scale == pytest.approx((34 / 3) ** 0.5)
    assert head_prior(heads, "multiclass")[1] == pytest.approx(2**0.5)
    assert head_prior(heads, "binary")[1] == pytest.approx(3 / (4 / 3) ** 0.5)


def test_without_a_signal_little_is_claimed(world):
    dis, X, _, _ = world
    y = np.random.default_rng(6).normal(size=300)
    head = dis.fit_task(X[:300], y)
    assert len(head.support_) == 0
    assert np.ptp(head.predict(X)) < 1


def test_wrong_input_is_explained(world):
    dis, X, factors, _ = world
    y = factors[:, 0]
    with pytest.raises(ValueError, match="has one class only"):
        dis.fit_task(X[:5], ["a"] * 5)
    with pytest.raises(ValueError, match="has one value only"):
        dis.fit_task(X[:5], np.ones(5), task_type="regression")
    with pytest.raises(ValueError, match="varies too little for its size"):
        dis.fit_task(X[:50], y[:50] + 1e13, task_type="regression")
    with pytest.raises(ValueError, match=r"^y: no task .* 'task0' has one class only"):
        dis.fit_task(X[:1], ["a"])
    with pytest.raises(ValueError, match=r"requires y .* target y is None"):
        dis.fit_task(X, None)
    with pytest.raises(ValueError, match=r"^y must have shape .* got dict\."):
        dis.fit_task(X, {"a": y})
    with pytest.raises(ValueError, match=r"^y: labels must be numbers"):
        dis.fit_task(X[:2], [{}, {}])
    with pytest.raises(ValueError, match=r"^y: task 'task0' has labels too large"):
        dis.fit_task(X[:2], [1e305, 0.5])
    with pytest.raises(ValueError, match=r"^y: task 'task0' is a regression task"):
        dis.fit_task(X[:9], y[:9]).score(X[:2], ["a", "b"])
    with pytest.raises(
        ValueError, match="y must have one label for each of the 5 rows"
    ):
        dis.fit_task(X[:5], y[:4])
    with pytest.raises(ValueError, match="labels of one task; got 2 columns"):
        dis.fit_task(X[:5], factors[:5, :2])
    with pytest.raises(ValueError, match="all are missing"):
        dis.fit_task(X[:5], np.full(5, np.nan))
    with pytest.raises(ValueError, match=r"task_type must be one of .*'quantile'"):
        dis.fit_task(X[:5], y[:5], task_type="quantile")
    with pytest.raises(ValueError, match="features"):
        dis.fit_task(X[:5, :3], y[:5])
    with pytest.raises(NotFittedError):
        SparseSharedDisentangler().fit_task(X, y)
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        clone(SparseTaskHead(dis)).fit(X[:5], y[:5])
    with pytest.raises(NotFittedError):
        SparseTaskHead(dis).predict(X)
    with pytest.raises(AttributeError, match="predict_proba"):
        _ = dis.fit_task(X[:9], y[:9]).predict_proba


@pytest.mark.parametrize(
    ("wrap", "got"),
    [
        (lambda dis: Pipeline([("dis", dis)]), "Pipeline"),
        (lambda dis: FrozenEstimator(Pipeline([("dis", dis)])), "Pipeline"),
        (lambda dis: LogisticRegression(), "LogisticRegression"),
        (SparseTaskHead, "SparseTaskHead"),
        (lambda dis: 5, "int"),
    ],
)
def test_heads_are_on_disentanglers(world, wrap, got):
    dis, X, factors, _ = world
    with pytest.raises(TypeError, match=rf"^disentangler must be .*; got {got}\."):
        SparseTaskHead(wrap(dis)).fit(X[:9], factors[:9, 0])


def test_clone_pickle_and_search(world):
    dis, X, factors, _ = world
    y = (factors[:60, 0] > 0).astype(int)
    head = dis.fit_task(X[:60], y)
    again = clone(head).fit(X[:60], y)
    assert (again.coef_ == head.coef_).all()
    restored = pickle.loads(pickle.dumps(head))
    assert (restored.predict(X) == head.predict(X)).all()
    assert is_classifier(head)
    assert is_regressor(dis.fit_task(X[:60], factors[:60, 0]))
    plain = SparseTaskHead(FrozenEstimator(dis))
    assert cross_val_score(plain, X[:60], y, scoring="roc_auc").mean() > 0.9
    vote = VotingClassifier([("a", head), ("b", LogisticRegression())], voting="soft")
    assert cross_val_score(vote, X[:60], y).mean() > 0.8  # clones know what they are
    search = GridSearchCV(plain, {"task_type": ["binary", "multiclass"]}, cv=3)
    assert search.fit(X[:60], y).best_score_ > 0.8


def test_a_refit_forgets_the_classes(world):
    dis, X, factors, _ = world
    head = SparseTaskHead(dis).fit(X[:20], factors[:20, 0] > 0)
    assert hasattr(head, "classes_")
    head.fit(X[:20], factors[:20, 0])
    assert not hasattr(head, "classes_")
    assert not hasattr(head, "predict_proba")


def test_frames_and_single_precision(world):
    pd = pytest.importorskip("pandas")
    dis, X, factors, _ = world
    y = labels_of("binary", factors)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    named = copy.copy(dis)
    named.feature_names_in_ = np.array(frame.columns, dtype=object)
    series = pd.Series(y, name="height").astype("category")
    head = named.fit_task(frame[:40], series[:40])
    plain = dis.fit_task(X[:40], y[:40])
    np.testing.assert_allclose(head.coef_, plain.coef_)
    assert head.feature_names_in_.tolist() == list(frame.columns)
    predicted = head.predict(frame)
    assert predicted.name == "height"
    assert predicted.dtype == series.dtype
    assert (predicted == plain.predict(X)).all()
    assert head.predict(frame[::-1]).index.equals(frame.index[::-1])
    single = dis.fit_task(X[:40].astype(np.float32), y[:40])
    np.testing.assert_allclose(single.coef_, plain.coef_, atol=1e-3)


def test_dense_heads_and_other_types_of_task(world):
    """A fit without zeros, and of regression tasks only, gives a prior, too."""
    _, X, factors, _ = world
    dis = SparseSharedDisentangler(
        3, encoder="linear", sparsity=0, sharing=0, max_iter=20, tol=1, random_state=0
    )
    dis.fit(X[:500], factors[:500, :3])
    assert (dis.coef_ != 0).all()
    for y in (factors[:, 0] > 0, np.digitize(factors[:, 0], [-0.5, 0.5])):
        head = dis.fit_task(X[:100], y[:100])
        assert head.score(X[100:], y[100:]) > 0.85
