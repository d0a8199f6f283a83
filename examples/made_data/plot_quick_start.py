"""
Quick start: factors out of many tasks
======================================

Thirty-six tasks, half of them regressions and half binary, each depend on one or two of
four hidden factors. The rows show the factors only through a nonlinear mixing, and a
third of the labels are missing. We fit on them, look at which task uses which component,
and compare the components with the factors, which the fit has never seen.
"""

# %%
# Make the data.
import matplotlib.pyplot as plt
import numpy as np

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import FactorCodeDisplay, TaskComponentDisplay

rng = np.random.default_rng(0)
n_samples, n_factors, n_tasks = 2000, 4, 36
factors = rng.normal(size=(n_samples, n_factors))
hidden = factors @ rng.normal(size=(n_factors, 12))
X = np.where(hidden > 0, hidden, 0.2 * hidden) @ rng.normal(size=(12, 12))

Y_tasks = np.empty((n_samples, n_tasks))
for task in range(n_tasks):
    support = rng.choice(n_factors, size=1 + task % 2, replace=False)
    value = factors[:, support] @ rng.uniform(0.5, 1.5, size=len(support))
    Y_tasks[:, task] = value if task < n_tasks // 2 else value > 0
Y_tasks[rng.random(Y_tasks.shape) < 1 / 3] = np.nan

# %%
# Fit. We do not know the number of factors, and allow too many components: only those that
# some task uses are kept.
dis = SparseSharedDisentangler(n_components=12, random_state=0)
dis.fit(X[:1500], Y_tasks[:1500])
print(f"{dis.coef_.shape[1]} of {dis.n_components} components are in use")

# %%
# Left, the heads: tasks that need the same components stand together. Right, what each
# component knows of each factor, on rows that were not in the fit: one dark cell in each
# row and column means that every factor has a component of its own.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 7.2), layout="constrained")
TaskComponentDisplay.from_estimator(dis, ax=left)
FactorCodeDisplay.from_estimator(dis, X[1500:], factors[1500:], ax=right)
plt.show()
