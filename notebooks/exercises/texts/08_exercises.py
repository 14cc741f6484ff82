# %% [markdown]
# # Write the alternation of UH-BDNN
#
# Two functions, about 40 minutes. Notebook 08 says when to do each: 8.A after Eq. (3), 8.B before the loop. You need what you know of notebooks 04 to 07.

# %%
from functools import partial

import numpy as np

from bdnn.course.exercises import check
from bdnn.dcc import coordinate_descent
from bdnn.lbfgs import minimize
from bdnn.network import forward, unflatten
from bdnn.uh_bdnn import encoder_objective

# %% [markdown]
# ## 8.A The decoder of given codes (20 minutes)
#
# The decoder minimises $\frac1{2m}\|X-WB-c\mathbf 1^\top\|^2+\frac{\lambda_1}2\|W\|^2$. By Eq. (3) of notebook 08
#
# $$ W=C_{xb}\,(C_{bb}+\lambda_1I)^{-1},\quad C_{xb}=\tfrac1mXB^\top-\bar x\bar b^\top,\quad C_{bb}=\tfrac1mBB^\top-\bar b\bar b^\top,\qquad c=\bar x-W\bar b . $$
#
# $X$ is $D\times m$, $B$ is $L\times m$; $\bar x$ and $\bar b$ are the means over the samples, as columns. Here $\lambda_1>0$, so the inverse exists.


# %% tags=["solution"]
def ridge_decoder(X, B, lambda1):
    """The best decoder of given codes.

    X is (D, m), B is (L, m), lambda1 > 0.
    Returns W, (D, L), and c, (D, 1).
    """
    L, m = B.shape
    x, b = X.mean(axis=1, keepdims=True), B.mean(axis=1, keepdims=True)
    C_xb = X @ B.T / m - x @ b.T  # (D, L)
    C_bb = B @ B.T / m - b @ b.T  # (L, L)
    W = C_xb @ np.linalg.inv(C_bb + lambda1 * np.eye(L))
    return W, x - W @ b


# %%
check(ridge_decoder)

# %% [markdown]
# ## 8.B The alternation (20 minutes)
#
# It calls your `ridge_decoder`, so 8.A must be right first. Repeat `rounds` times the three steps of notebook 08, in its order:
#
# 1. **decoder** of the present codes, by your `ridge_decoder` with `lambdas[0]`;
# 2. **encoder**: `minimize(J, theta, max_iter=max_iter, gtol=0, ftol=0).x` is the new `theta`, where `J` takes `theta` alone and returns value and gradient. `encoder_objective(theta, X, B, sizes, lambdas)` of Eqs. (4) and (5) of notebook 08 does, with its other arguments held fixed by `partial`;
# 3. **codes**: `coordinate_descent(X, W, c, H, lambda2, B)` from the present codes, where `lambda2` is `lambdas[1]` and $H$ is the output of the code layer, `forward(*unflatten(theta, sizes), X)[-1]`.
#
# Every round ends with step 3, the last one too. So the $B$ that you return has had one update more than $W$, $c$ and `theta`; a `State` of notebook 08 holds the codes that these are fitted to. (The library's step 3 takes the best of three starts; one is enough here.)


# %% tags=["solution"]
def alternate(X, B, theta, sizes, lambdas, max_iter, rounds):
    """UH-BDNN for a number of rounds.

    X is (D, m), B (L, m), the codes to start from; theta is the encoder to start from, sizes its
    units, D first, lambdas the four weights; max_iter is the number of L-BFGS steps in a round.
    Returns theta, W, c and B after the last round.
    """
    for _ in range(rounds):
        W, c = ridge_decoder(X, B, lambdas[0])
        J = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=lambdas)
        theta = minimize(J, theta, max_iter=max_iter, gtol=0, ftol=0).x
        H = forward(*unflatten(theta, sizes), X)[-1]
        B = coordinate_descent(X, W, c, H, lambdas[1], B)
    return theta, W, c, B


# %%
check(alternate)
