# %% [markdown]
# # Write the floor and the similarity of SH-BDNN
#
# Two functions, about an hour. Notebook 09 says when to do each: 9.A before Eq. (4), 9.B after Eq. (7). Derive on paper first.

# %%
import numpy as np

from bdnn.course.exercises import check

# %% [markdown]
# ## 9.A The class vectors and their floor (40 minutes)
#
# All samples of class $i$ get one output $a_i\in\mathbb R^L$, a column of $A$. There are $n_i\ge1$ of them, $m$ in all. By Eq. (3) of notebook 09
#
# $$ S=(Y^\top N^{-1/2})\,M\,(Y^\top N^{-1/2})^\top,\qquad M=N^{1/2}(2I-\mathbf 1\mathbf 1^\top)N^{1/2},\qquad N=\operatorname{diag}(n_1,\dots,n_C), $$
#
# where $Y$, $C\times m$, is one-hot, and the columns of $Y^\top N^{-1/2}$ are orthonormal. So the eigenvalues of $S$ are those of $M=U\operatorname{diag}(\mu)U^\top$, and zeros; the sum of their squares is $\|S\|^2=m^2$. Which of them can $\frac1LH^\top H$ have, of rank at most $L$ and positive semidefinite? Find an $A$ for which it has them: $H=AY$, so write $\frac1LH^\top H$ in the form of Eq. (3), and compare what stands in the middle with $M$. Find also the similarity $\frac1{2m}\|\frac1LH^\top H-S\|^2$ that is left. Eqs. (4) and (5) of notebook 09 are the result.
#
# $A$ may be rotated. So `check` asks for what does not depend on that: the similarities $\frac1LA^\top A$ of the classes.


# %% tags=["solution"]
def class_similarities(counts, L):
    """Similarities of the class vectors, and the floor that they reach.

    counts is (C,), the samples of each class, none of them 0; L is the number of bits.
    Returns A^T A / L, (C, C), and the floor, a number.
    """
    m, root = np.sum(counts), np.sqrt(counts)
    M = 2 * np.diag(counts) - np.outer(root, root)  # Eq. (3)
    mu, U = np.linalg.eigh(M)  # smallest first
    mu, U = mu[::-1][:L], U[:, ::-1][:, :L]
    mu = np.maximum(mu, 0)
    A = np.sqrt(L * mu)[:, None] * U.T / root  # Eq. (4); rows of 0 are left out
    return A.T @ A / L, (m**2 - np.sum(mu**2)) / (2 * m)  # Eq. (5)


# %%
check(class_similarities)

# %% [markdown]
# ## 9.B Several labels, without the m x m matrix (20 minutes)
#
# A sample has a *set* of labels, and there are $C$ different sets. $T\in\{0,1\}^{C\times C}$ has a 1 where two sets share a label. By Eq. (7) of notebook 09
#
# $$ J=\tfrac1{2m}\big\|\tfrac1LH^\top H-S\big\|^2,\qquad S=2\,Y^\top TY-\mathbf 1\mathbf 1^\top, $$
#
# where $Y$, $C\times m$, says which set a sample has. The answer can be read off `pairwise_similarity` of notebook 05, which has the line `alike = ... sums @ T`. The task is to derive why that line is right: multiply $\|\frac1LH^\top H-S\|^2$ out as in exercise 5.D, with the $T$ in $S$, and take the gradient; then write the function from your formula. Eqs. (8) and (9) of notebook 09 are the result. A first version may form $S$, whose entries are `2 * T[y][:, y] - 1`; `check` will accept the numbers and then complain about the memory.


# %% tags=["solution"]
def shared_similarity(H, y, T):
    """Value and gradient of the similarity of sets of labels, in memory that grows with m.

    H is (L, m); y is (m,), the number of each sample's set, 0 to C - 1; T is (C, C), symmetric.
    Returns a number, and dH, (L, m).
    """
    L, m = H.shape
    Y = (y == np.arange(len(T))[:, None]) * 1.0  # (C, m)
    K, sums, h = H @ H.T, H @ Y.T, H.sum(axis=1, keepdims=True)  # (L, L), (L, C), (L, 1)
    alike = sums @ T  # (L, C)
    agreement = 2 * np.sum(sums * alike) - np.sum(h**2)  # <H^T H, S>
    J = (np.sum(K**2) / L**2 - 2 / L * agreement + m**2) / (2 * m)  # Eq. (8)
    return J, 2 / (m * L) * (K @ H / L - 2 * alike @ Y + h)  # Eq. (9)


# %%
check(shared_similarity)
