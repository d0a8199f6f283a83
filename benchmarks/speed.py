"""Suite "speed": what a fit costs over the bare network, and how cost grows.

    python -m benchmarks.speed                                # the report, about 20 minutes
    python -m benchmarks.speed --parts epoch                  # one part of it
    python -m benchmarks.speed --parts epoch --rounds 2       # for development

Everything is compared side by side: in each round ours and the other run one after the
other on the same data, epoch by epoch where both have epochs, and the ratio is taken within
the round. Times are given by the clock on the wall and by the processor time of the process,
which other processes on the machine disturb less. One thread each.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

import skdisentangle
from benchmarks._readme import machine, write_pages
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.encoders.networks import build_body
from skdisentangle.fitting.fit import budget
from skdisentangle.fitting.problem import Settings

RESULTS = Path(__file__).parent / "results" / "speed.json"
HIDDEN, RATE = (128, 128), 0.005

#: Fits against a bare loop. Case: (options of the problem, options of the estimator).
WIDE = {"n_samples": 20_000, "n_features": 64, "link": "logistic"}
BATCH = {"n_components": 16, "batch_size": 256}
FOUR = {"multiclass": 2, "binary": 1, "regression": 3}
EPOCH_CASES = {
    "20,000 x 64, 60 tasks": (WIDE, BATCH),
    "the same, regression tasks": (WIDE | {"task_types": "regression"}, BATCH),
    "the same, binary tasks": (WIDE | {"task_types": "binary"}, BATCH),
    "the same, 20 tasks of 4 classes": (WIDE | {"task_types": FOUR}, BATCH),
    "the same, half of the labels missing": (WIDE | {"missing": 0.5}, BATCH),
    "the same, 1,000 tasks": (WIDE | {"n_tasks": 1000}, BATCH),
    "the same, 256 components": (WIDE, BATCH | {"n_components": 256}),
    "4,000 x 20, defaults": ({"n_samples": 4000, "link": "logistic"}, {}),
    "500 x 20, defaults": ({"n_samples": 500, "link": "logistic"}, {}),
}
EPOCH_ROUNDS, MANY_ROUNDS = 3, 11

#: Rows of which features are made, and times that it is done.
TRANSFORM_ROWS, TRANSFORM_ROUNDS = (1_000, 20_000, 200_000), 15

IMPORT_ROUNDS, CHECK_ROUNDS, PEER_ROUNDS = 11, 15, 2

#: Cost against size: what is changed, from 20,000 x 64, 60 tasks, 16 components.
BASE = {"rows": 20_000, "columns": 64, "tasks": 60, "components": 16}
GROWTH = {
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "columns": (8, 64, 512, 4096),
    "tasks": (1, 10, 100, 1000, 2000),
    "components": (4, 16, 64, 256),
}
GROWTH_ROUNDS, GROWTH_EPOCHS = 2, 10

#: Epochs of peers, and rows that they are scored on.
PEER_EPOCHS, N_TEST = 10, 5000


def now():
    return time.perf_counter(), time.process_time()


class Stamps:
    """Standard output of a verbose fit, of which only the times of its epochs are kept.

    After each epoch comes one of another loop, if there is one: whatever else the machine
    has to do, it disturbs both.
    """

    def __init__(self, other=None):
        self.epochs, self.others = [], []
        self.other, self.last = other, now()

    def write(self, text):
        if text.startswith("Epoch"):
            self.epochs.append(self.lap())
            if self.other is not None:
                self.other()
                self.others.append(self.lap())

    def lap(self):
        before, self.last = self.last, now()
        return np.subtract(self.last, before)

    def flush(self):
        pass


def lengths(epochs, rest=(0.0, 0.0)):
    """Whole time, and that of the median epoch, each on the wall and of the processor.

    Epochs after which a basis is chosen are among the longest, and count in the whole.
    """
    return {
        "whole": list(np.sum(epochs, axis=0) + rest),
        "epoch": list(np.median(epochs[1:], axis=0)),
    }


def timed_pair(estimator, X, Y, other=None):
    """Times of a fit, and of as many epochs of another loop in between."""
    stamps = Stamps(other)
    with contextlib.redirect_stdout(stamps), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.set_params(verbose=2).fit(X, Y)
    fitted = lengths(stamps.epochs, stamps.lap())
    return fitted, lengths(stamps.others) if stamps.others else None


def timed_fit(estimator, X, Y):
    """Times of a fit."""
    return timed_pair(estimator, X, Y)[0]


class BareLoop:
    """The same network fitted by plain torch, as fast as we can write it.

    Rows and labels are in memory and gathered for a few batches at a time, gradients of
    the losses are written out by hand instead of left to autograd, features are
    standardised by batch, and the optimiser is the fused Adam.
    """

    def __init__(self, problem, n_components, batch_size, hidden=HIDDEN, device="cpu"):
        X, Y = problem.X, problem.Y

        def values(array):
            return torch.from_numpy(array).float().contiguous().to(device)

        kinds = np.array(problem.task_types)
        order = np.argsort(kinds != "regression", kind="stable")
        order = order[np.argsort(kinds[order] == "multiclass", kind="stable")]
        kinds, Y = kinds[order], Y[:, order]
        self.parts = [(k, int((kinds == k).sum())) for k in dict.fromkeys(kinds)]
        mean, scale = np.nanmean(Y, 0), np.nanstd(Y, 0)
        scaled = np.where(kinds == "regression", (Y - mean) / scale, Y)
        self.labelled = None
        if np.isnan(Y).any():
            self.labelled = values(~np.isnan(Y))
        self.rows = values((X - X.mean(0)) / X.std(0))
        self.targets = values(np.nan_to_num(scaled))
        self.n_classes = 4
        self.body = build_body(
            "mlp",
            n_features=X.shape[1],
            n_components=n_components,
            hidden_layer_sizes=hidden,
            input_shape=None,
            seed=0,
        ).to(device)
        n_outputs = sum(n * self.width(kind) for kind, n in self.parts)
        self.norm = torch.nn.BatchNorm1d(n_components, affine=False).to(device)
        self.heads = torch.nn.Linear(n_components, n_outputs).to(device)
        self.parameters = [*self.body.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE, fused=True)
        self.batch_size = batch_size

    def width(self, kind):
        return self.n_classes if kind == "multiclass" else 1

    def slope(self, scores, truth, labelled):
        """Gradient of the mean loss in the scores."""
        error = scores.detach().clone()
        task = output = 0
        for kind, n in self.parts:
            width = self.width(kind)
            part = error[:, output : output + n * width]
            target = truth[:, task : task + n]
            if kind == "regression":
                part.sub_(target)
            elif kind == "binary":
                part.sigmoid_().sub_(target)
            else:
                classes = part.unflatten(1, (n, width)).permute(1, 2, 0)
                chance = classes.softmax(1)
                index = target.T.long().unsqueeze(1)
                chance.scatter_add_(1, index, chance.new_full((), -1).expand_as(index))
                classes.copy_(chance)
            if labelled is not None:
                mask = labelled[:, task : task + n]
                part.unflatten(1, (n, width)).mul_(mask.unsqueeze(2))
            task, output = task + n, output + n * width
        return error.div_(truth.numel())

    def batches(self):
        n_rows = len(self.rows)
        n_batches = -(-n_rows // self.batch_size)
        order = torch.randperm(n_rows).to(self.rows.device).tensor_split(n_batches)
        at_once = max(1, min(4096, 2**18 // self.targets.shape[1]) // self.batch_size)
        held = (self.rows, self.targets, self.labelled)
        for first in range(0, n_batches, at_once):
            some = order[first : first + at_once]
            index, sizes = torch.cat(some), [len(part) for part in some]
            yield from zip(
                *(
                    [None] * len(sizes)
                    if values is None
                    else values.index_select(0, index).split(sizes)
                    for values in held
                ),
                strict=True,
            )

    def epoch(self):
        """Fit for an epoch."""
        for rows, truth, labelled in self.batches():
            scores = self.heads(self.norm(self.body(rows)))
            slope = self.slope(scores, truth, labelled)
            for parameter in self.parameters:
                parameter.grad = None
            scores.backward(slope)
            self.optimizer.step()
        if self.rows.is_cuda:
            torch.cuda.synchronize()

    def fit(self, n_epochs):
        """Fit; times of it."""
        return lengths([seconds(self.epoch) for _ in range(n_epochs)])


def epoch_part(rounds):
    """Fit against the bare loop, round by round."""
    results = []
    small = make_multitask_factors(random_state=0)  # warms up
    timed_fit(SparseSharedDisentangler(max_iter=2), small.X, small.Y)
    for case, (options, settings) in EPOCH_CASES.items():
        problem = make_multitask_factors(random_state=0, **options)
        settings = {"n_components": 20} | settings
        few = rounds or (MANY_ROUNDS if len(problem.X) < 10_000 else EPOCH_ROUNDS)
        for _ in range(few):
            ours = SparseSharedDisentangler(**settings, random_state=0)
            used = Settings.of(ours, ours.sparsity, ours.sharing)
            batch_size = budget(len(problem.X), used)[0]
            bare = BareLoop(problem, settings["n_components"], batch_size)
            fitted, looped = timed_pair(ours, problem.X, problem.Y, bare.epoch)
            results.append({"case": case, "ours": fitted, "bare": looped})
        print(epoch_table(results).splitlines()[-1], flush=True)
    return results


def transform_part(rounds):
    """``transform`` against the forward pass of the same body on standardised rows."""
    problem = make_multitask_factors(max(TRANSFORM_ROWS), n_features=64, random_state=0)
    X = problem.X.astype(np.float32)
    estimator = SparseSharedDisentangler(16, max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X[:5000], problem.Y[:5000])
    body = build_body(
        "mlp",
        n_features=64,
        n_components=16,
        hidden_layer_sizes=HIDDEN,
        input_shape=None,
        seed=0,
    )

    def bare(rows, chunk):
        out = np.empty((len(rows), 16), dtype=np.float32)
        with torch.inference_mode():
            for first in range(0, len(rows), chunk):
                part = slice(first, first + chunk)
                out[part] = body(torch.from_numpy(rows[part])).numpy()
        return out

    results = []
    for n_rows in TRANSFORM_ROWS:
        rows = X[:n_rows]
        chunks = (256, 1024, 4096, n_rows)
        taken = {}
        for chunk in chunks:  # the bare pass in the pieces that suit it best
            bare(rows, chunk)
            taken[chunk] = min(seconds(bare, rows, chunk)[1] for _ in range(5))
        best = min(taken, key=taken.get)
        times = range(max(1, 20_000 // n_rows))
        for _ in range((rounds or TRANSFORM_ROUNDS) + 1):
            ours = sum(seconds(estimator.transform, rows) for _ in times)
            other = sum(seconds(bare, rows, best) for _ in times)
            results.append(
                {
                    "rows": n_rows,
                    "chunk": best,
                    "calls": len(times),
                    "ours": ours.tolist(),
                    "bare": other.tolist(),
                }
            )
        results.pop(-(rounds or TRANSFORM_ROUNDS) - 1)
    return results


def seconds(call, *arguments):
    """On the wall and of the processor, for a call."""
    start = now()
    call(*arguments)
    return np.subtract(now(), start)


def import_part(rounds):
    """Fresh processes, with and without the package."""
    code = (
        "import time; start = time.perf_counter(), time.process_time(); {}; "
        "print(time.perf_counter() - start[0], time.process_time() - start[1])"
    )
    bare = "import torch, sklearn.base"
    # As an installation does.
    compileall.compile_dir(Path(skdisentangle.__file__).parent, quiet=1)
    lines = {"bare": bare, "ours": f"{bare}; import skdisentangle"}
    results = []
    for _ in range((rounds or IMPORT_ROUNDS) + 1):
        row = {}
        for name, line in lines.items():
            found = subprocess.run(
                [sys.executable, "-c", code.format(line)],
                check=True,
                capture_output=True,
                text=True,
            )
            row[name] = [float(value) for value in found.stdout.split()]
        results.append(row)
    return results[1:]


def check_part(rounds):
    """Fits of the size of scikit-learn's estimator checks, at default settings."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 10))
    labels = {
        "one binary task": (X[:, 0] > 0).astype(int),
        "one task of three classes": np.digitize(X[:, 0], [-0.5, 0.5]),
        "one regression task": X[:, 0] + 0.1 * rng.normal(size=100),
        "ten regression tasks": X @ rng.normal(size=(10, 10)),
    }
    results = []
    for case, y in labels.items():
        for number in range((rounds or CHECK_ROUNDS) + 1):
            estimator = SparseSharedDisentangler(random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                taken = seconds(estimator.fit, X, y).tolist()
            if number:
                results.append({"case": case, "ours": taken})
    return results


def memory(field):
    """Bytes, from the operating system; None where there is no ``/proc``."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(x for x in status.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def grown(rows, columns, tasks, components):
    """One fit in a process of its own: seconds an epoch, and peak memory.

    Rows are made in pieces, so that making them leaves no peak behind.
    """
    imported = memory("VmRSS")
    rng = np.random.default_rng(0)
    X = np.empty((rows, columns), dtype=np.float32)
    Y = np.empty((rows, tasks), dtype=np.float32)
    head = rng.normal(size=(columns, tasks)) / np.sqrt(columns)
    for first in range(0, rows, 1000):
        part = rng.normal(size=X[first : first + 1000].shape)
        X[first : first + 1000] = part
        Y[first : first + 1000] = np.tanh(part @ head)
    Y[:, ::2] = Y[:, ::2] > 0
    estimator = SparseSharedDisentangler(
        components, batch_size=256, max_iter=GROWTH_EPOCHS, random_state=0
    )
    taken = timed_fit(estimator, X, Y)
    peak = memory("VmHWM")
    return {
        **taken,
        "data": X.nbytes + Y.nbytes,
        "memory": None if peak is None else peak - imported,
    }


def growth_part(rounds):
    results = []
    for _ in range(rounds or GROWTH_ROUNDS):
        for what, values in GROWTH.items():
            for value in values:
                size = BASE | {what: value}
                found = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "benchmarks.speed",
                        "--one",
                        json.dumps(size),
                    ],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                row = {"what": what, "value": value, **json.loads(found.stdout)}
                results.append(row)
                print(row, flush=True)
    return results


def peers(kind, n_features, n_tasks, n_epochs, batch_size):
    """Name: function of rows and labels that fits, and gives predictions of rows.

    A package that is not installed has None.
    """
    settings = {
        "hidden_layer_sizes": (*HIDDEN, 16),
        "batch_size": batch_size,
        "learning_rate_init": RATE,
        "max_iter": n_epochs,
        "n_iter_no_change": n_epochs,
        "alpha": 0.0,
        "random_state": 0,
    }

    def ours(X, Y):
        return SparseSharedDisentangler(
            16, batch_size=batch_size, max_iter=n_epochs, random_state=0
        ).fit(X, Y)

    def perceptron(X, Y):
        model = MLPRegressor if kind == "regression" else MLPClassifier
        return model(**settings).fit(X, Y)

    found = {"skdisentangle": ours, f"scikit-learn MLP {kind}": perceptron}
    with contextlib.suppress(ImportError):
        skorch = importlib.import_module("skorch")

        def by_skorch(X, Y):
            torch.manual_seed(0)
            body = build_body(
                "mlp",
                n_features=n_features,
                n_components=16,
                hidden_layer_sizes=HIDDEN,
                input_shape=None,
                seed=0,
            )
            norm = torch.nn.BatchNorm1d(16, affine=False)
            loss = torch.nn.MSELoss
            if kind == "classes":
                loss = torch.nn.BCEWithLogitsLoss
            return skorch.NeuralNet(
                torch.nn.Sequential(body, norm, torch.nn.Linear(16, n_tasks)),
                loss,
                optimizer=torch.optim.Adam,
                optimizer__fused=True,
                lr=RATE,
                max_epochs=n_epochs,
                batch_size=batch_size,
                iterator_train__shuffle=True,
                train_split=None,
                predict_nonlinearity=None,
                verbose=0,
            ).fit(X, Y)

        found["skorch"] = by_skorch
    with contextlib.suppress(ImportError):
        cebra = importlib.import_module("cebra")

        def by_cebra(X, Y):
            model = cebra.CEBRA(
                model_architecture="offset1-model",
                output_dimension=16,
                num_hidden_units=HIDDEN[0],
                batch_size=batch_size,
                learning_rate=RATE,
                max_iterations=n_epochs * -(-len(X) // batch_size),
                device="cpu",
                verbose=False,
            )
            model.fit(X, Y)
            return model

        found["CEBRA"] = by_cebra
    return found


def quality(name, model, kind, train, test):
    """Mean R2 or accuracy over tasks, on rows held out.

    CEBRA has features, and no heads: a ridge regression on them predicts.
    """
    X, Y = test
    if name == "CEBRA":
        head = Ridge().fit(model.transform(train[0]), train[1])
        predicted = head.predict(model.transform(X))
        if kind == "classes":
            predicted = predicted > 0.5
    else:
        predicted = model.predict(X)
        if name == "skorch" and kind == "classes":
            predicted = predicted > 0
    if kind == "regression":
        return float(r2_score(Y, predicted))
    return float((predicted == Y).mean())


def peer_part(rounds):
    """Other estimators on the same rows, labels, network, batches and epochs."""
    results = []
    n_rows, n_epochs, batch_size = 20_000, PEER_EPOCHS, 256
    for kind, task_types in (("regression", "regression"), ("classes", "binary")):
        problem = make_multitask_factors(
            n_rows + N_TEST,
            n_features=64,
            task_types=task_types,
            link="logistic",
            random_state=0,
        )
        X = ((problem.X - problem.X.mean(0)) / problem.X.std(0)).astype(np.float32)
        Y = problem.Y
        if kind == "regression":
            Y = (Y - Y.mean(0)) / Y.std(0)
        Y = Y.astype(np.float32)
        train, test = (X[:n_rows], Y[:n_rows]), (X[n_rows:], Y[n_rows:])
        for _ in range(rounds or PEER_ROUNDS):
            row = {}
            others = peers(kind, X.shape[1], Y.shape[1], n_epochs, batch_size)
            for name, fit in others.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start = now()
                    model = fit(*train)
                    taken = list(np.subtract(now(), start))
                    score = quality(name, model, kind, train, test)
                row[name] = {"seconds": taken, "score": score}
                print(kind, name, row[name], flush=True)
            results.append({"kind": kind, "peers": row})
    return results


def ratio(ours, others, digits=2):
    """Median of the ratios within rounds, and their range."""
    found = np.array(ours) / np.array(others)
    return f"{np.median(found):.{digits}f} ({found.min():.{digits}f}-{found.max():.{digits}f})"


def table(heads, rows):
    heads = heads.split(", ")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def epoch_table(results):
    rows = []
    for case in EPOCH_CASES:
        found = [r for r in results if r["case"] == case]
        if not found:
            continue
        cells = [case, str(len(found))]
        for which in ("epoch", "whole"):
            for clock in (1, 0):
                ours, bare = (
                    [r[name][which][clock] for r in found] for name in ("ours", "bare")
                )
                cells.append(ratio(ours, bare))
        cells.append(f"{1e3 * np.median([r['ours']['epoch'][0] for r in found]):.1f}")
        cells.append(f"{np.median([r['ours']['whole'][0] for r in found]):.2f}")
        rows.append(cells)
    heads = "case, rounds, an epoch (processor), an epoch (wall), "
    heads += "whole fit (processor), whole fit (wall), epoch (ms), fit (s)"
    return table(heads, rows)


def transform_table(results):
    rows = []
    for n_rows in TRANSFORM_ROWS:
        found = [r for r in results if r["rows"] == n_rows]
        if found:
            cells = [f"{n_rows:,}", str(len(found)), f"{found[0]['chunk']:,}"]
            for clock in (1, 0):
                bare, ours = ([r[k][clock] for r in found] for k in ("bare", "ours"))
                cells.append(ratio(bare, ours))
            rate = np.median([n_rows * r["calls"] / r["ours"][0] for r in found])
            rows.append([*cells, f"{rate / 1e6:.2f}"])
    heads = "rows, rounds, rows of a piece in the bare pass, speed over the bare pass "
    heads += "(processor), the same (wall), million rows a second"
    return table(heads, rows)


def import_table(results):
    cells = [str(len(results))]
    for clock in (1, 0):
        more = [r["ours"][clock] - r["bare"][clock] for r in results]
        cells.append(f"{np.median(more):.3f} ({min(more):.3f} to {max(more):.3f})")
    cells += [f"{np.median([r['bare'][0] for r in results]):.2f}"]
    heads = "rounds, more seconds (processor), more seconds (wall), "
    return table(heads + "`import torch; sklearn.base` (s)", [cells])


def check_table(results):
    rows = []
    for case in dict.fromkeys(r["case"] for r in results):
        found = [r["ours"] for r in results if r["case"] == case]
        cells = [case, str(len(found))]
        for clock in (1, 0):
            taken = [r[clock] for r in found]
            cells.append(f"{np.median(taken):.3f} ({min(taken):.3f}-{max(taken):.3f})")
        rows.append(cells)
    return table("labels, rounds, seconds (processor), seconds (wall)", rows)


def growth_table(results):
    rows = []
    for what, values in GROWTH.items():
        for value in values:
            found = [r for r in results if (r["what"], r["value"]) == (what, value)]
            if not found:
                continue
            epoch = [1e3 * r["epoch"][1] for r in found]
            data = found[0]["data"] / 1e6
            cells = [what, f"{value:,}", str(len(found))]
            cells.append(f"{np.median(epoch):.1f} ({min(epoch):.1f}-{max(epoch):.1f})")
            cells.append(f"{np.median([r['whole'][1] for r in found]):.1f}")
            cells.append(f"{data:,.0f}")
            if found[0]["memory"] is None:
                cells += ["not known", "not known"]
            else:
                peak = max(r["memory"] for r in found) / 1e6
                cells += [f"{peak:,.0f}", f"{peak - data:,.0f}"]
            rows.append(cells)
    heads = "what, how many, rounds, an epoch (ms), whole fit (s), X and Y (MB), "
    return table(heads + "peak (MB), peak less X and Y (MB)", rows)


def peer_table(results):
    rows = []
    for kind in dict.fromkeys(r["kind"] for r in results):
        found = [r["peers"] for r in results if r["kind"] == kind]
        first = next(iter(found[0]))
        for name in found[0]:
            cells = [kind, name, str(len(found))]
            for clock in (1, 0):
                other, ours = (
                    [r[who]["seconds"][clock] for r in found] for who in (name, first)
                )
                cells.append(ratio(other, ours))
            scores = [r[name]["score"] for r in found]
            rows.append([*cells, f"{np.median(scores):.3f}"])
        if len(found[0]) < 4:
            rows.append([kind, "not installed: skorch or CEBRA", "", "", "", ""])
    heads = "tasks, estimator, rounds, time over ours (processor), the same (wall), "
    return table(heads + "mean R2 or accuracy on held-out rows", rows)


PARTS = {
    "epoch": (epoch_part, epoch_table),
    "transform": (transform_part, transform_table),
    "import": (import_part, import_table),
    "check": (check_part, check_table),
    "growth": (growth_part, growth_table),
    "peers": (peer_part, peer_table),
}

PAGE_TEXT = """# Speed

```bash
python -m benchmarks.speed
```

In each round, ours and the other program run one after the other on the same data, on one thread. A
ratio is taken within a round, and given as median and range over rounds. "Processor" is processor
time, and "wall" is time by the clock. The machine (2 cores) is shared and was sometimes busy, so
processor time is more reliable. The ratios depend on the machine, too. For an earlier version, the
first ratio below was 1.22, and 1.31 on days when the machine was half as fast.

## A fit, over a bare torch loop

The bare loop has the same network, batches, epochs and fused Adam, features standardised by
batch, and plain linear heads. It gathers the rows of several batches at once, and its gradients
of the losses are written by hand instead of by autograd. It is the fastest loop that we can
write. Half of the tasks are regressions and half are binary, unless a case says otherwise. Epochs
of the fit and of the bare loop alternate, so that other processes disturb both. "An epoch" is the
median epoch. The whole fit also includes validation, the choice of the basis and exact heads. Its
number of epochs is the default.

{epoch}

## `transform`, over a bare forward pass

The bare pass applies the same network to standardised float32 rows, in inference mode, in chunks of
the size that is fastest for it.

{transform}

## Import

The time is compared with that of `import torch, sklearn.base`, in fresh processes.

{import}

## Small fits

These are fits of 100 rows of 10 columns with default settings.

{check}

## Growth

Each row changes one thing of a fit with 20,000 float32 rows, 64 columns, 60 tasks, 16 components,
batches of 256 and {epochs} epochs. Each fit runs in its own process. Times are processor times.
Memory is the largest resident set, as the operating system reports it, less that after the
import.

{growth}

## Beside other estimators

There are 20,000 standardised float32 rows of 64 columns, 60 tasks, and {peer_epochs} epochs in
batches of 256 with a learning rate of {rate}. `MLPRegressor` and `MLPClassifier` have the same
layers, but with a rectifier on the 16 components, too. skorch trains the same module with linear
heads. CEBRA has its own network ("offset1-model", 128 units, 16 features) and loss, the same
number of steps, and a ridge regression on its features.

{peers}

{machine}.
"""


def page():
    """The page of the suite, from the saved results."""
    saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not set(PARTS) <= set(saved):
        return ""
    return PAGE_TEXT.format(
        epochs=GROWTH_EPOCHS,
        peer_epochs=PEER_EPOCHS,
        rate=RATE,
        machine=saved["machine"],
        **{name: show(saved[name]) for name, (_, show) in PARTS.items()},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, help="fewer or more, for development")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument(
        "--jobs", type=int, help="not looked at: times are taken one by one"
    )
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if options.one is not None:
            print(json.dumps(grown(**options.one)))
            return
        for part in options.parts:
            run, show = PARTS[part]
            results = run(options.rounds)
            print(show(results), flush=True)
            if options.rounds is None:
                saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                saved |= {"machine": machine(), part: results}
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(saved, indent=1) + "\n")
                write_pages()


if __name__ == "__main__":
    main()
