# %% [markdown]
# # Write discrete coordinate descent
#
# Two functions, about 40 minutes. Do both where notebook 07 says so, after Eq. (6).

# %%
import numpy as np

from bdnn.course.exercises import check
from bdnn.metrics import sgn

# %% [markdown]
# ## 7.A One row of bits (25 minutes)
#
# All rows of $B$ are fixed but row $k$. By Eqs. (4) and (5) of notebook 07 the best one is
#
# $$ b_k=\operatorname{sgn}\big(w_k^\top R_k+\lambda_2h_k\big),\qquad R_k=X-c\mathbf 1^\top-W_{\setminus k}B_{\setminus k}, $$
#
# with column $w_k$ of $W$, row $h_k$ of $H$, and $W_{\setminus k},B_{\setminus k}$ without the $k$-th column and row. $X$ is $D\times m$, $W$ is $D\times L$, $c$ is $D\times1$, $H$ and $B$ are $L\times m$, and $k$ counts from 0. `sgn` is imported.


# %% tags=["solution"]
def update_row(X, W, c, H, lambda2, B, k):
    """The best row k of the codes for the other rows.

    X is (D, m), W (D, L), c (D, 1); H and B are (L, m); k is the number of the row, from 0.
    Returns an array (m,) of -1 and +1.
    """
    others = np.arange(len(B)) != k
    R = X - c - W[:, others] @ B[others]  # (D, m), Eq. (4)
    return sgn(W[:, k] @ R + lambda2 * H[k])  # Eq. (6)


# %%
check(update_row)

# %% [markdown]
# ## 7.B A whole cycle (15 minutes)
#
# With $Q$ of Eq. (3) of notebook 07, $L\times m$, and $G=W^\top W$, $L\times L$, the update of row $k$ reads
#
# $$ b_k=\operatorname{sgn}\Big(q_k-\sum_{l\ne k}G_{kl}\,b_l\Big) . $$
#
# Do it for every row, the first one first, each time with the newest of the other rows. Leave `G` and `B` as they are.


# %% tags=["solution"]
def one_cycle(Q, G, B):
    """The codes after one cycle of coordinate descent.

    Q and B are (L, m), G is (L, L).
    Returns an array (L, m) of -1 and +1.
    """
    G, B = G.copy(), B.copy()
    np.fill_diagonal(G, 0)  # a bit does not see itself
    for k in range(len(B)):
        B[k] = sgn(Q[k] - G[k] @ B)  # Eq. (6)
    return B


# %%
check(one_cycle)
