# %% [markdown]
# # Write the rotation of notebook 03
#
# Two functions, about 35 minutes. Notebook 03 says when to do each: 3.A after Eq. (5), 3.B after Eq. (6).

# %%
import numpy as np

from bdnn.course.exercises import check
from bdnn.metrics import sgn

# %% [markdown]
# ## 3.A The Procrustes step (20 minutes)
#
# Codes $B$ and values $V$ are both $L\times m$. Which orthogonal $R$, $L\times L$, makes $\|B-RV\|$ smallest? With $BV^\top=U\Sigma A^\top$ it is, by Eq. (5) of notebook 03,
#
# $$ R=UA^\top . $$
#
# Look up in NumPy's documentation what the third result of `np.linalg.svd` is.


# %% tags=["solution"]
def procrustes(B, V):
    """The orthogonal matrix that brings V closest to B.

    B and V are (L, m).
    Returns R, (L, L).
    """
    U, _, At = np.linalg.svd(B @ V.T)
    return U @ At  # Eq. (5)


# %%
check(procrustes)

# %% [markdown]
# ## 3.B The alternation of ITQ (15 minutes)
#
# Start from a given rotation $R$, and repeat `n_iter` times: the nearest codes, Eq. (3) of notebook 03, then the best rotation for them, Eq. (5) of notebook 03,
#
# $$ B\leftarrow\operatorname{sgn}(RV),\qquad R\leftarrow\arg\min_{R^\top R=I}\|B-RV\| . $$
#
# `sgn` is imported; use your `procrustes`.


# %% tags=["solution"]
def alternate_itq(V, R, n_iter):
    """The rotation after n_iter rounds of ITQ.

    V is (L, m), R is (L, L), orthogonal: where to start.
    Returns R, (L, L).
    """
    for _ in range(n_iter):
        B = sgn(R @ V)  # Eq. (3)
        R = procrustes(B, V)  # Eq. (5)
    return R


# %%
check(alternate_itq)
