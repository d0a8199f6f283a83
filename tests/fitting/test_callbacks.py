"""With scikit-learn's callbacks, where they exist (1.9 and newer)."""

from __future__ import annotations

import numpy as np
import pytest

from skdisentangle import SparseSharedDisentangler

callback = pytest.importorskip("sklearn.callback")


class Counter:
    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.events = []
        self.scores = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append("begin " + context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append("end " + context.task_name)
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_id + 1 == self.stop_at
        return False


def quick(**options):
    return SparseSharedDisentangler(
        3, max_iter=12, n_iter_no_change=100, random_state=0, **options
    )


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_every_epoch_is_told(problem):
    X, Y, _ = problem
    counter = Counter()
    dis = quick(sparsity=0, sharing=0).set_callbacks(counter).fit(X, Y)
    assert counter.events[:2] == ["setup", "begin fit"]
    assert counter.events[-2:] == ["end fit", "teardown"]
    assert counter.events.count("end epoch") == dis.n_iter_ == 12
    assert counter.scores[-1] > counter.scores[0]
    # Being watched changes nothing.
    alone = quick(sparsity=0, sharing=0).fit(X, Y)
    np.testing.assert_array_equal(dis.coef_, alone.coef_)


def test_a_callback_can_end_the_fit(problem):
    X, Y, _ = problem
    dis = quick().set_callbacks(Counter(stop_at=4)).fit(X, Y)
    assert dis.n_iter_ == 4


@pytest.mark.filterwarnings("ignore:The fit was still improving")
def test_progress_bar(problem, capsys):
    pytest.importorskip("rich")
    X, Y, _ = problem
    quick().set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert "SparseSharedDisentangler" in capsys.readouterr().out
