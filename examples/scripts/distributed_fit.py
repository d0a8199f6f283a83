"""
Fit on several processes
========================

Each process holds a part of the rows; all end with the same estimator. On one machine::

    torchrun --nproc-per-node 2 examples/scripts/distributed_fit.py

On two machines, on each of them, with the address of the first::

    torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d \
        --rdzv-endpoint FIRST:29500 examples/scripts/distributed_fit.py

Without ``torchrun``, it fits on one process::

    python examples/scripts/distributed_fit.py
"""

# sphinx_gallery_thumbnail_path = 'images/processes.png'

# %%
# Make the data. A real script would read the rows of its own rank only.
from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.distributed import process_group

made = make_multitask_factors(1000, mixing="linear", random_state=0)
dis = SparseSharedDisentangler(
    8, encoder="linear", max_iter=10, batch_size=250, tol=0, random_state=0
)

# %%
# Fit on the rows of all; look at the result on the first.
with process_group(timeout=60) as ranks:
    mine = slice(ranks.rank, None, ranks.size)
    ranks.fit(dis, made.X[mine], Y_tasks=made.Y[mine])
    if ranks.rank == 0:
        plural = "" if ranks.size == 1 else "es"
        print(
            f"Fitted on {ranks.size} process{plural}: score "
            f"{dis.score(made.X, Y_tasks=made.Y):.3f}, "
            f"{dis.coef_.shape[1]} components in use"
        )
