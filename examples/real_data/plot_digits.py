"""
Handwritten digits: a new task from few labels
==============================================

The digits come with scikit-learn: 1,797 images of 8 x 8 pixels. The tasks ask which digit it
is, and what it is like: even, at least 5, with a closed loop. Whether it is prime is asked
later, when only a few images have that label.
"""

# %%
# Seventeen tasks with yes or no. Half of the images are for the fit.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import TaskComponentDisplay

SHAPES = {
    "even": "02468",
    "at least 5": "56789",
    "closed loop": "0689",
    "straight stroke": "1457",
    "open to the left": "2379",
    "square": "0149",
    "multiple of 3": "0369",
}
pixels, digits = load_digits(return_X_y=True)
tasks = {f"is a {digit}": digits == digit for digit in range(10)}
tasks |= {name: np.isin(digits, [*map(int, of)]) for name, of in SHAPES.items()}
Y_tasks = np.column_stack([*tasks.values()])
prime = np.isin(digits, [2, 3, 5, 7])

fit_rows, new_rows = train_test_split(
    np.arange(len(digits)), train_size=0.5, stratify=digits, random_state=0
)
dis = SparseSharedDisentangler(random_state=0)
dis.fit(pixels[fit_rows], Y_tasks[fit_rows])
print(f"{dis.coef_.shape[1]} components for {len(tasks)} tasks")

# %%
# The new task. We draw its labelled images twenty times, and test on all other new images:
# the head of ``fit_task``, and logistic regressions on the components and on the pixels.
codes = dis.transform(pixels)
shown = (4, 10, 20, 40)
curves = {"fit_task": [], "components, logistic": [], "pixels, logistic": []}
for n_labels in shown:
    scores = []
    for seed in range(20):
        few, rest = train_test_split(
            new_rows, train_size=n_labels, stratify=prime[new_rows], random_state=seed
        )
        head = dis.fit_task(pixels[few], prime[few])
        models = [make_pipeline(StandardScaler(), LogisticRegression()) for _ in "ab"]
        scores.append(
            [head.score(pixels[rest], prime[rest])]
            + [
                model.fit(columns[few], prime[few]).score(columns[rest], prime[rest])
                for model, columns in zip(models, (codes, pixels), strict=True)
            ]
        )
    for name, score in zip(curves, np.mean(scores, axis=0), strict=True):
        curves[name].append(score)
    print(n_labels, {name: f"{curve[-1]:.2f}" for name, curve in curves.items()})

# %%
# "Prime" follows from the digit, which the tasks of the fit ask for. So the components have
# what the new task needs, and few labels are enough. Left, the components that each task of
# the fit uses. Right, the accuracy on the new task.
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
TaskComponentDisplay.from_estimator(dis, task_names=[*tasks], ax=left)
for name, curve in curves.items():
    right.plot(shown, curve, marker="o", label=name)
right.set(xlabel="labels of the new task", ylabel="accuracy", title='"is it prime?"')
right.legend()
plt.show()
