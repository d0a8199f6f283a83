"""
Missing labels need no filling
==============================

With many tasks, hardly any row has all labels. A label that is NaN, None or NA counts as
"not known", for that task only: the row still teaches all others. Here we take more and
more labels away, and compare with what is often done instead, to fill the gaps with the
column's mean.
"""

# %%
# Forty regression tasks on five factors.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.impute import SimpleImputer

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.metrics import disentanglement_score

problem = make_multitask_factors(
    1200, n_factors=5, n_tasks=40, task_types="regression", random_state=0
)
fit_rows, test_rows = slice(800), slice(800, None)
rng = np.random.default_rng(0)
order = rng.random((800, 40))  # the larger shares are taken on top of the smaller ones

shares = [0.0, 0.3, 0.6, 0.9]
results = {"left as they are (NaN)": [], "filled with the mean": []}
for share in shares:
    Y = np.where(order < share, np.nan, problem.Y[fit_rows])
    complete = np.mean(~np.isnan(Y).any(axis=1))
    print(f"{share:.0%} of the labels missing: {complete:.0%} of the rows are complete")
    filled = SimpleImputer().fit_transform(Y)
    for values, labels in zip(results.values(), (Y, filled), strict=True):
        dis = SparseSharedDisentangler(n_components=10, random_state=0)
        dis.fit(problem.X[fit_rows], labels)
        values.append(
            (
                dis.score(problem.X[test_rows], problem.Y[test_rows]),
                disentanglement_score(
                    problem.factors[test_rows], dis.transform(problem.X[test_rows])
                ),
            )
        )

# %%
# Left, how well the tasks are predicted on new rows; right, how well the components are
# told apart. Rows with all labels, which many methods ask for, are gone from the second
# point on.
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for (name, values), color, marker in zip(
    results.items(), ("#0072B2", "#D55E00"), "os", strict=True
):
    for ax, column in zip(axes, np.transpose(values), strict=True):
        ax.plot(shares, column, color=color, marker=marker, label=name)
axes[0].set(xlabel="share of labels missing", ylabel="R2 on new rows, mean over tasks")
axes[1].set(xlabel="share of labels missing", ylabel="DCI disentanglement")
axes[0].legend(frameon=False)
plt.show()
