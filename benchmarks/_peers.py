"""Features by other packages, and networks trained in other ways: a transform for each.

Packages are imported when they are used; :data:`PEERS` says which method needs which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pandas as pd
import torch
from sklearn import config_context
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from skdisentangle.encoders.networks import build_body

#: Method, the packages that it imports, and what to install.
PEERS = {
    "cebra": (("cebra",), "cebra==0.6.1"),
    "torchdr": (("torchdr", "matplotlib"), "torchdr==0.5 matplotlib"),
    "torchjd": (
        ("torchjd", "quadprog", "qpsolvers"),
        "'torchjd[quadprog_projector]==0.18.0'",
    ),
    "skada": (("skada",), "skada==0.6.0"),
}

#: Components of methods whose time or fit suffers from more; steps of their fits, as many as
#: ours makes by default.
FEW_COMPONENTS, STEPS = 32, 3000

#: Rows of a step of :func:`joint_network`; all of up to twice as many.
BATCH_SIZE = 128


def missing_peer(method):
    """What to install for a method; None if nothing is missing."""
    modules, package = PEERS.get(method, ((), ""))
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return None
    return (
        f"{method!r} is left out: no Python package {', '.join(absent)}. Install with "
        f"'pip install {package} torch=={torch.__version__.split('+')[0]}'."
    )


def on_scaled(X, transform):
    """`transform` of columns that are standardised like X."""
    scaler = StandardScaler().fit(X)
    return lambda rows: transform(scaler.transform(rows).astype(np.float32))


def scaled(X):
    return StandardScaler().fit_transform(X).astype(np.float32)


def cebra_embedding(X, labels, n_components, seed):
    """CEBRA with labels as continuous auxiliary variables."""
    from cebra import CEBRA

    torch.manual_seed(seed)
    model = CEBRA(
        model_architecture="offset1-model",
        batch_size=256,
        max_iterations=STEPS,
        output_dimension=min(n_components, FEW_COMPONENTS),
        device="cpu",
        verbose=False,
    )
    model.fit(scaled(X), labels)
    return on_scaled(X, model.transform)


def network(n_features, n_components, seed):
    """The network of the estimator's defaults."""
    return build_body(
        "mlp",
        n_features=n_features,
        n_components=n_components,
        hidden_layer_sizes=(128, 128),
        input_shape=None,
        seed=seed,
    )


def umap_embedding(X, n_components, seed):
    """Parametric UMAP of torchdr, which sees no labels."""
    from torchdr import UMAP

    n_components = min(n_components, FEW_COMPONENTS)
    body = network(X.shape[1], n_components, seed)
    model = UMAP(
        n_neighbors=min(30, len(X) // 4),
        n_components=n_components,
        encoder=body,
        optimizer="Adam",
        lr=1e-3,
        max_iter=STEPS,
        backend=None,
        device="cpu",
        random_state=seed,
    )
    model.fit(torch.from_numpy(scaled(X)))
    return on_scaled(X, lambda rows: forward(body, rows))


def forward(body, rows):
    with torch.no_grad():
        return body(torch.from_numpy(rows)).numpy()


def as_targets(tasks, types):
    """For each task its outputs, its values as a tensor, and which of them are known."""
    found = []
    for name, kind in types.items():
        known = tasks[name].notna().to_numpy()
        if kind == "regression":
            values = tasks[name].to_numpy(float)
            spread = values[known].std()
            values = (values - values[known].mean()) / (spread if spread > 0 else 1)
            outputs, values = 1, np.where(known, values, 0).astype(np.float32)
        else:
            codes, classes = pd.factorize(tasks[name], sort=True)
            codes = np.where(known, codes, 0)
            binary = kind == "binary"
            outputs = 1 if binary else len(classes)
            values = codes.astype(np.float32 if binary else np.int64)
        found.append((kind, outputs, torch.tensor(values), torch.tensor(known)))
    return found


def task_loss(kind, scores, values, known):
    """Mean loss of the known labels; zero if there is none."""
    if kind == "regression":
        losses = (scores[:, 0] - values) ** 2
    elif kind == "binary":
        losses = F.binary_cross_entropy_with_logits(
            scores[:, 0], values, reduction="none"
        )
    else:
        losses = F.cross_entropy(scores, values, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def mean_descent(losses, features, shared):
    """Gradients of the mean of the losses."""
    torch.stack(losses).mean().backward()


def upgrad_descent() -> Callable:
    """Gradients of torchjd's UPGrad, which is in conflict with no task."""
    from torchjd.aggregation import UPGrad
    from torchjd.autojac import jac_to_grad, mtl_backward

    aggregator = UPGrad()

    def descend(losses, features, shared):
        mtl_backward(losses, features=features)
        jac_to_grad(shared, aggregator)

    return descend


def joint_network(X, tasks, types, n_components, seed, *, noise=0.0, descend=None):
    """The network with a linear head a task, all trained at once by Adam.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    tasks : DataFrame of shape (n_samples, n_tasks)
        Missing labels are NaN or None.
    types : dict of str to str
    n_components, seed : int
    noise : float
        Standard deviation of noise on the standardised rows.
    descend : callable, default=:func:`mean_descent`
        Sets gradients, from the losses of all tasks, the components of the batch and the
        weights of the network.

    Returns
    -------
    callable
        From rows to components.
    """
    descend = mean_descent if descend is None else descend
    rows, targets = torch.from_numpy(scaled(X)), as_targets(tasks, types)
    body = network(X.shape[1], n_components, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = nn.ModuleList(nn.Linear(n_components, n) for _, n, _, _ in targets)
    shared = list(body.parameters())
    optimizer = torch.optim.Adam([*shared, *heads.parameters()], lr=0.005)
    generator = torch.Generator().manual_seed(seed)
    size = len(rows) if len(rows) <= 2 * BATCH_SIZE else BATCH_SIZE
    order = torch.empty(0, dtype=torch.long)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.0025 * (
            1 + math.cos(math.pi * step / STEPS)
        )
        if len(order) < size:
            order = torch.randperm(len(rows), generator=generator)
        batch, order = order[:size], order[size:]
        shaken = rows[batch]
        shaken = shaken + noise * torch.randn(shaken.shape, generator=generator)
        features = body(shaken)
        losses = [
            task_loss(kind, head(features), values[batch], known[batch])
            for head, (kind, _, values, known) in zip(heads, targets, strict=True)
        ]
        optimizer.zero_grad()
        descend(losses, features, shared)
        optimizer.step()
    return on_scaled(X, lambda rows: forward(body, rows))


def aligned(name, X, X_target, n_components, seed):
    """skada's alignment of source columns with those of the target, without labels.

    Returns
    -------
    pair of callable
        Transforms of rows of the source, and of the target.
    """
    with config_context():  # the import turns metadata routing on for everyone
        from skada import CORALAdapter, SubspaceAlignmentAdapter

    n_components = min(n_components, len(X_target), *X.shape)
    adapter = (
        CORALAdapter()
        if name == "CORAL"
        else SubspaceAlignmentAdapter(n_components, random_state=seed)
    )

    def scale(rows):
        return scaler.transform(rows).astype(float)

    scaler = StandardScaler().fit(X)
    domain = np.repeat([1, -2], [len(X), len(X_target)])
    adapter.fit(np.vstack([scale(X), scale(X_target)]), sample_domain=domain)

    def transform_as(sign):
        return lambda rows: adapter.transform(
            scale(rows), sample_domain=np.full(len(rows), sign), allow_source=True
        )

    return transform_as(1), transform_as(-2)
