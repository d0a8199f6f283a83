"""Accuracy by group, against what a reader can count."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from skdisentangle.metrics import group_accuracies, worst_group_accuracy

TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
SAID = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1])


def test_disjoint_groups():
    groups = np.array(list("aaaabbbcc"))
    np.testing.assert_allclose(
        group_accuracies(TRUE, SAID, groups), [3 / 4, 2 / 3, 1 / 2]
    )
    assert worst_group_accuracy(TRUE, SAID, groups) == 0.5
    sizes = [4, 3, 2]
    each = group_accuracies(TRUE, SAID, groups)
    assert np.average(each, weights=sizes) == pytest.approx(accuracy_score(TRUE, SAID))


def test_overlapping_groups_and_rows_in_none():
    groups = np.zeros((9, 3), dtype=bool)
    groups[:4, 0] = True
    groups[2:4, 1] = True  # the third has no row
    each = group_accuracies(TRUE, SAID, groups)
    np.testing.assert_array_equal(each, [0.75, 0.5, np.nan])
    assert worst_group_accuracy(TRUE, SAID, groups) == 0.5
    assert worst_group_accuracy(TRUE, SAID, groups.astype(float)) == 0.5
    # the rows outside all groups are wrong now, and do not count
    flipped = np.where(groups.any(axis=1), SAID, 1 - TRUE)
    assert worst_group_accuracy(TRUE, flipped, groups) == 0.5


def test_columns_of_disjoint_groups_are_the_same():
    groups = np.random.default_rng(0).integers(4, size=200)
    true, said = np.random.default_rng(1).integers(3, size=(2, 200))
    columns = groups[:, None] == np.arange(4)
    np.testing.assert_array_equal(
        group_accuracies(true, said, groups), group_accuracies(true, said, columns)
    )
    by_hand = [accuracy_score(true[groups == g], said[groups == g]) for g in range(4)]
    np.testing.assert_allclose(group_accuracies(true, said, groups), by_hand)


def test_strings():
    assert worst_group_accuracy(["a", "b"], ["a", "b"], ["x", "y"]) == 1.0


@pytest.mark.parametrize(
    ("true", "said", "groups", "message"),
    [
        (TRUE, SAID[:-1], TRUE, "inconsistent numbers"),
        (TRUE, SAID, TRUE[:-1], "inconsistent numbers"),
        (TRUE, SAID, np.zeros((9, 2, 1)), "groups must be of shape"),
        ([np.nan, *TRUE[1:]], SAID, TRUE, "y_true must not have missing.*row 0"),
        (TRUE, [*SAID[:-1], None], TRUE, "y_pred must not have missing.*row 8"),
        (TRUE, SAID, ["a", None, *"abababa"], "groups must not have missing.*row 1"),
        (TRUE, SAID.astype(str), TRUE, "the same kind of class"),
        (TRUE, SAID, np.full((9, 2), 2), "as booleans or 0 and 1"),
        (TRUE, SAID, np.full((9, 2), "a"), "as booleans or 0 and 1"),
        (TRUE, SAID, np.zeros((9, 2), bool), "at least one row in a group"),
        ([], [], [], "at least one row"),
    ],
)
def test_wrong_arguments(true, said, groups, message):
    with pytest.raises(ValueError, match=message):
        worst_group_accuracy(true, said, groups)
