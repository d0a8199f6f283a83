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
# Fit. We do not know the number of factors, and take too many components.
dis = SparseSharedDisentangler(n_components=12, random_state=0)
dis.fit(X[:1500], Y_tasks[:1500])
active = dis.active_components_
print(f"{len(active)} of {dis.n_components} components are active")

# %%
# Left, the heads; right, how the components go with the factors on rows that were not
# in the fit. One component for each factor is a single dark cell in each row.
codes = dis.transform(X[1500:])[:, active]
match = np.abs(np.corrcoef(factors[1500:].T, codes.T)[:n_factors, n_factors:])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
size = np.abs(dis.coef_[:, active])
left.imshow(size / size.max(axis=1, keepdims=True), cmap="Purples", aspect="auto")
left.set(xlabel="component", ylabel="task", title="Size of the coefficients, by task")
image = right.imshow(match, cmap="Purples", vmin=0, vmax=1)
right.set(xlabel="component", ylabel="factor", title="Correlation, rows not in the fit")
right.set_yticks(range(n_factors))
for axes in (left, right):
    axes.set_xticks(range(len(active)), [str(a) for a in active])
figure.colorbar(image, ax=right, shrink=0.7)
plt.show()
