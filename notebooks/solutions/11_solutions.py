# %% [markdown]
# # Solutions to notebook 11: methods without labels
#
# Try each exercise on paper or in a cell of your own before you read on. Equation numbers are those of notebook 11.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import itertools

import numpy as np

from bdnn.baselines.classical import KMeansHashing, SphericalHashing, nearest_codes, slowest_waves
from bdnn.data import load
from bdnn.itq import principal_directions
from bdnn.metrics import average_precision, evaluate, hamming_distances, sgn

# %%
data = load("mnist5k")
X, X_query = (Z.T.astype(np.float64) for Z in (data.train, data.query))
mean, P = principal_directions(X, 32)
V, V_query = P.T @ X, P.T @ X_query


def show(name, codes_query, codes):
    row = evaluate(codes_query, codes, data.relevant)
    print(
        f"{name:24s} P@r=2 {100 * row['precision_at_2']:4.1f} %, mAP {100 * row['map_expected']:4.1f} %, "
        f"empty {row['empty_share']:.2f}, imbalance {row['balance']:.3f}, "
        f"dependence {row['independence']:.3f}"
    )


# %% [markdown]
# ## 11.1 Signs of orthogonal waves
#
# With $\theta=\pi x/R$ the product of the signs is needed over $0\le\theta\le\pi$, and by symmetry about $\frac\pi2$ (both waves change their sign there) over $0\le\theta\le\frac\pi2$. There $\cos\theta\ge0$, and $\cos3\theta$ is positive up to $\frac\pi6$ and negative from there on: $\frac{\pi/6-\pi/3}{\pi/2}=-\frac13$. So the bits of waves 1 and 3 agree on a third of the samples only. With $\cos2\theta$, which is even about $\frac\pi2$ where $\cos\theta$ is odd, the mean is 0. In general, for waves $a,b$ without a common divisor, it is $\pm\frac1{ab}$ if both are odd, and 0 else: write both square waves as sums of cosines of odd multiples and keep the common ones.

# %%
theta = np.pi * (np.arange(300_300) + 0.5) / 300_300
for a, b in ((1, 2), (1, 3), (2, 3), (1, 5), (3, 5), (2, 6)):
    r = np.mean(np.sign(np.cos(a * theta)) * np.sign(np.cos(b * theta)))
    print(f"waves {a} and {b}: correlation of the signs {r + 0.0:.4f}")

# %% [markdown]
# The constraint $\frac1mBB^\top=I$ was given up with the signs: what the relaxation guarantees is that the *values* are uncorrelated.
#
# ## 11.2 Ranges without the outermost samples


# %%
def sh_codes(V, V_query, share):
    """Codes of SH, with the range between the quantiles `share` and 1 - share."""
    low, high = np.quantile(V, [share, 1 - share], axis=1)
    k, j = slowest_waves(high - low, len(V))
    omega = (np.pi * k / (high - low)[j])[:, None]
    return tuple(sgn(np.cos(omega * (Z[j] - low[j, None]))).T for Z in (V_query, V))


# %%
for L in (16, 32):
    for share in (0.0, 0.01, 0.05, 0.2):
        show(f"{L} bits, quantile {share:.2f}", *sh_codes(V[:L], V_query[:L], share))

# %% [markdown]
# With the outermost 1 to 5 % left out of the range the cuts move towards the middle of the data: the imbalance falls, at 5 % to less than half, and at 16 bits both measures gain. Samples beyond the range are met by the continued cosine, which turns round there. At 20 % this happens to many, and far apart ends of a direction share a bit: everything falls. At 32 bits look at the last but two columns: better balanced codes use more cells, more balls of radius 2 are empty, and precision at radius 2 falls *although the codes got better*: the mAP rises. The tables of the paper have the plain range.
#
# ## 11.3 Products let in
#
# A vector $k=(k_1,\dots,k_r)$ stands for a product, and $\mu$ is Eq. (6). There are more and more products per unit of $\mu$, the more directions there are.


# %%
def slowest_products(R, L, most=3):
    """The L slowest waves of a box, products of two waves included."""
    found = [((n / R[j]) ** 2, ((n, j),)) for j in range(len(R)) for n in range(1, most + 1)]
    pairs = itertools.combinations(found, 2)
    found += [(a[0] + b[0], a[1] + b[1]) for a, b in pairs if a[1][0][1] != b[1][0][1]]
    return [factors for _, factors in sorted(found)[:L]]


def product_codes(V, V_query, L):
    low, R = V.min(axis=1), np.ptp(V, axis=1)
    chosen = slowest_products(R, L)

    def codes(Z):
        waves = lambda n, j: np.cos(n * np.pi / R[j] * (Z[j] - low[j]))  # noqa: E731
        products = [np.prod([waves(n, j) for n, j in factors], axis=0) for factors in chosen]
        return sgn(np.array(products)).T

    return sum(len(factors) > 1 for factors in chosen), codes(V_query), codes(V)


# %%
for L in (16, 32):
    n_products, *codes = product_codes(V[:L], V_query[:L], L)
    show(f"{L} bits, {n_products} products", *codes)
    show(f"{L} bits, none", *sh_codes(V[:L], V_query[:L], 0.0))

# %% [markdown]
# At 16 bits nearly half of the waves are products, and the mAP drops from 29 to 18 %. Each product spends a bit on the parity of two others: flip one of its factors, and it flips, too, so that a step across a single cut costs two or more bits in place of one. What is lost is the sense of distance. The measure of dependence, which looks at pairs, does not see it: three bits of which each is the product of the other two are uncorrelated in pairs. At 32 bits precision at radius 2 rises: fewer cuts, fuller cells, hardly any empty ball; again the mAP tells the better story.
#
# ## 11.4 The spherical Hamming distance
#
# $\#\{k:b_k\ne b'_k\}$ is the Hamming distance; the number of balls that hold both is $\frac14\sum_k(1+b_k)(1+b'_k)$. Where it is 0 we divide by 0.1 in its place, so that the quotient is large but finite.


# %%
def spherical_distances(A, B):
    both = (A > 0).astype(float) @ (B > 0).T
    return hamming_distances(A, B) / np.maximum(both, 0.1)


relevant = np.zeros((len(data.query), len(data.database)), dtype=bool)
np.put_along_axis(relevant, data.relevant, True, axis=1)


def mAP(distances):
    """In percent; the values are only ranked, ties count with their expectation."""
    ranks = np.unique(distances, return_inverse=True)[1].reshape(distances.shape)
    return 100 * np.mean(average_precision(ranks, relevant, ties="expected"))


# %%
for L in (16, 32, 64):
    est = SphericalHashing(L).fit(data.train)
    pair = est.transform(data.query), est.codes_
    plain, spherical = mAP(hamming_distances(*pair)), mAP(spherical_distances(*pair))
    print(
        f"{L} bits: mAP by the plain distance {plain:.1f} %, by the spherical one {spherical:.1f} %"
    )

# %% [markdown]
# The quotient ranks a little better at every length, by about one point. Two codes that share many balls lie in a smaller region than two codes that agree in being outside, and the plain distance does not see the difference. But the quotient is no count of differing bits: no table of buckets, no ball of radius 2 belongs to it. The tables of the BDNN paper use the plain distance, to judge by the figures that we reproduce.
#
# ## 11.5 What the springs cost

# %%
for lambda_ in (0.0, 1.0, 10.0, 100.0):
    est = KMeansHashing(16, affinity_weight=lambda_).fit(data.train)
    error = {name: value / 1e6 for name, value in est.history_[-1].items()}
    print(f"E_quan {error['quantisation']:.3f}, E_aff {error['affinity']:.4f} million")
    show(f"lambda {lambda_:g}", est.transform(data.query), est.codes_)

# %% [markdown]
# With weak springs the quantisation is best and the names mean least; with $\lambda=100$ the springs are at rest, the centres form cubes, and the quantisation error is an eighth larger. The mAP is highest in between, by two points above $\lambda=0$: that is what good names are worth with two bits per subspace, where a name is never far from right. Precision at radius 2 is less orderly.
#
# ## 11.6 One bit of BA
#
# With $b^2=1$ the first term of (18) is the constant $w^\top w$, and the minimum is $b_i=\operatorname{sgn}(q_i)$ with $q_i=w^\top(x_i-c)+\mu\,h(x_i)$. For $\mu=0$, $c=\bar x$ and $w$ along the first principal direction this is the sign of the first principal coordinate; the length of $w$ does not matter. With $\mu>0$ the sample keeps the encoder's bit, unless $w^\top(x_i-c)$ has the other sign *and* a magnitude above $\mu$. Samples near the border are left to the encoder.

# %%
w, c, h = P[:, :1], mean, sgn(np.random.default_rng(0).standard_normal((1, X.shape[1])))
plain = nearest_codes(X, w, c, h.astype(float), 0.0, h.astype(float))
held = nearest_codes(X, w, c, h.astype(float), 300.0, h.astype(float))
v = w.T @ (X - c)
assert np.array_equal(plain, sgn(v)) and np.array_equal(held, sgn(v + 300.0 * h))
assert np.all((held == h) | (np.abs(v) > 300))
print("one bit: the sign of the principal coordinate; with mu = 300 only clear cases change")
