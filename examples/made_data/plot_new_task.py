"""
A new task with five labels
===========================

After a fit on many tasks a new one comes up, with five labelled rows. ``fit_task`` fits a
sparse head on the finished features. Its prior comes from the tasks of the fit: how many
components a task uses, which ones, and how large coefficients are.
"""

# %%
# Sixty regression tasks on five factors are fitted; twenty more were left out.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors

problem = make_multitask_factors(
    2500, n_factors=5, n_tasks=80, task_types="regression", random_state=0
)
X, Y, new = problem.X, problem.Y[:, :60], problem.Y[:, 60:]
dis = SparseSharedDisentangler(n_components=15, random_state=0)
dis.fit(X[:1500], Y[:1500])

# %%
# One new task, five labels. The head says which components it probably uses.
head = dis.fit_task(X[1500:1505], new[1500:1505, 0])
print("components that the task uses:", head.support_)
print("probability of each component:", head.inclusion_.round(2))
print(f"R2 on new rows: {head.score(X[2000:], new[2000:, 0]):.2f}")

# %%
# All twenty tasks, from 5 to 80 labels, against a ridge regression on the raw columns and
# on principal components. Labels are on rows that were not in the fit.
numbers = [5, 10, 20, 40, 80]
raw = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))
pca = make_pipeline(
    StandardScaler(), PCA(5).fit(X[:1500]), RidgeCV(np.logspace(-3, 3, 13))
)
scores = {"fit_task": [], "ridge, principal components": [], "ridge, raw columns": []}
for n_labels in numbers:
    rows = slice(1500, 1500 + n_labels)
    found = {name: [] for name in scores}
    for y in new.T:
        fitted = (
            dis.fit_task(X[rows], y[rows], task_type="regression"),
            pca.fit(X[rows], y[rows]),
            raw.fit(X[rows], y[rows]),
        )
        for name, model in zip(scores, fitted, strict=True):
            found[name].append(model.score(X[2000:], y[2000:]))
    for name, values in found.items():
        scores[name].append(np.median(values))

_, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for (name, values), color, marker in zip(
    scores.items(), ("#0072B2", "#D55E00", "#009E73"), "os^", strict=True
):
    print(f"{name}: " + ", ".join(f"{value:.2f}" for value in values))
    ax.plot(numbers, values, color=color, marker=marker, label=name)
ax.set(
    xscale="log",
    xlabel="labels of the new task",
    ylabel="R2 on new rows, median of 20 tasks",
    ylim=(min(-0.1, ax.get_ylim()[0]), 1.02),
)
ax.set_xticks(numbers, numbers)
ax.minorticks_off()
ax.legend(frameon=False, loc="lower right")
plt.show()

# %%
# That works because the new tasks depend on the factors of the old ones. A task that needs
# something else finds nothing in the features.
