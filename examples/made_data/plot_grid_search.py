"""
How sparse? A grid search, and the whole path
=============================================

``sparsity`` decides how many components a task may use. Too weak, and tasks hold on to
components that they do not need; too strong, and they lose some that they do need. Three
ways to choose it: a grid search as for any estimator, the path of all strengths at once,
and ``"auto"``.
"""

# %%
# Twenty-four noisy tasks on four factors, and few rows: here the strength matters.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import SparsityPathDisplay

problem = make_multitask_factors(
    400,
    n_factors=4,
    n_tasks=24,
    n_features=12,
    mixing="linear",
    task_types="regression",
    noise=0.5,
    random_state=0,
)
X, Y = problem.X, problem.Y

# %%
# ``GridSearchCV`` asks which strength predicts best on rows left out.
strengths = [0.003, 0.01, 0.03, 0.1, 0.3]
search = GridSearchCV(
    SparseSharedDisentangler(n_components=10, encoder="linear", random_state=0),
    {"sparsity": strengths},
    cv=3,
)
search.fit(X, Y)
scores = search.cv_results_["mean_test_score"]
for strength, score in zip(strengths, scores, strict=True):
    print(f"sparsity {strength:5.3f}: mean R2 on rows left out {score:.3f}")

# %%
# Prediction alone hardly tells weak strengths apart: a few coefficients too many do no
# harm to it. But one wants the *fewest* coefficients that predict as well, as these tell
# the factors apart. That is what ``sparsity="auto"`` takes: of the strengths whose loss is
# within a hundredth of the least, the one with the fewest nonzero coefficients.
auto = SparseSharedDisentangler(
    n_components=10, sparsity="auto", encoder="linear", random_state=0
).fit(X, Y)
n_true = int(problem.supports.sum())
print(f"\nthe tasks truly need {n_true} coefficients")
for name, dis in (("grid search", search.best_estimator_), ("auto", auto)):
    print(
        f"{name}: sparsity {dis.sparsity_:.3g}, {np.count_nonzero(dis.coef_)} nonzero "
        f"coefficients, {dis.coef_.shape[1]} components in use"
    )

# %%
# The path shows all of it: loss on rows held back, nonzero coefficients and components in
# use over the strengths, at the cost of two or three fits.
display = SparsityPathDisplay.from_estimator(
    SparseSharedDisentangler(n_components=10, encoder="linear", random_state=0), X, Y
)
display.axes_[1].axhline(n_true, color="black", linestyle=":", label="truth")
display.axes_[1].legend(frameon=False)
plt.show()
