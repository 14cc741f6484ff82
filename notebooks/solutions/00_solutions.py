# %% [markdown]
# # Solutions to notebook 00: start here

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
from math import comb

import matplotlib.pyplot as plt
import numpy as np

from bdnn import ITQ
from bdnn.course.plotting import COLOURS, MARKERS
from bdnn.data import load
from bdnn.metrics import balance, hamming_distances, precision_at_radius, sgn

data = load("mnist5k")
mean = data.database.mean(axis=0)

# %% [markdown]
# ## 0.1 How many vectors fit into 8 GB?
#
# Divide $8\cdot10^9$ bytes by the bytes of one vector: $784\cdot4$, $32/8$ and $64/8$.

# %%
for name, n_bytes in (("784 numbers", 784 * 4), ("32 bits", 32 // 8), ("64 bits", 64 // 8)):
    print(f"{name:11}: {8 * 10**9 // n_bytes:13,} vectors")

# %% [markdown]
# The 32 bits save a factor of 784 and the 64 bits half of that. Even so, 64 bits for every picture are far less than one number for every pixel.
#
# ## 0.2 How likely are two random codes within radius 2?
#
# Of the $2^L$ codes, $\binom Ld$ lie at distance $d$ from a given one, and every code is as likely as any other, so the probability is $\big(1+L+\binom L2\big)/2^L$.


# %%
def share_in_ball(codes_query, codes_database):
    return np.mean(hamming_distances(codes_query, codes_database) <= 2)


for L in (8, 16, 24, 32):
    chance = sum(comb(L, d) for d in range(3)) / 2**L
    W = np.random.default_rng(0).standard_normal((L, 784))
    itq = ITQ(n_bits=L, dtype="float64", random_state=0).fit(data.train)
    planes = share_in_ball(sgn((data.query - mean) @ W.T), sgn((data.database - mean) @ W.T))
    fitted = share_in_ball(itq.transform(data.query), itq.transform(data.database))
    print(f"{L:2} bits: coins {chance:.1e}, hyperplanes {planes:.1e}, ITQ {fitted:.1e}")
    assert min(planes, fitted) > chance

# %% [markdown]
# From 16 bits on, both kinds of code put far more pairs into the balls than coins would; at 8 bits a ball holds a seventh of all codes, and there is little difference. Coins know nothing of the pictures; planes give close pictures close codes, and digits come in clusters of close pictures. The bits of hyperplanes are moreover far from independent of each other: the pictures vary strongly in a few directions only (notebook 01 counts them), and many random planes cut these in the same way, so that their bits repeat each other.
#
# ## 0.3 Why $\theta/\pi$?
#
# Only the part of $w_k$ in the plane of $x-\mu$ and $y-\mu$ acts on the two products, and the direction of this part is uniform on the circle. The two signs differ just when the line perpendicular to it passes between the two vectors, and of all lines a share of $\theta/\pi$ does.

# %%
W = np.random.default_rng(1).standard_normal((20_000, 784))
a, b = data.query[:10] - mean, data.database[:10] - mean
cosine = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
expected = np.arccos(cosine) / np.pi
measured = np.mean(sgn(a @ W.T) != sgn(b @ W.T), axis=1)
print(f"largest difference over ten pairs: {np.abs(measured - expected).max():.3f}")
assert np.abs(measured - expected).max() < 4 * 0.5 / np.sqrt(20_000)  # 4 standard errors

# %%
fig, ax = plt.subplots(figsize=(4.2, 3.6))
_ = ax.axline((0.3, 0.3), slope=1, color="0.6")
_ = ax.plot(expected, measured, "o", color=COLOURS["blue"])
_ = ax.set(xlabel=r"angle $\theta/\pi$", ylabel="share of differing bits")

# %% [markdown]
# All ten pairs lie on the line.
#
# ## 0.4 What does the mean do?
#
# Without $\mu$, every plane passes through the origin. Pixels are never negative, so all pictures lie in one corner of the space as seen from there, and many planes have nearly all of them on one side.

# %%
W = np.random.default_rng(0).standard_normal((16, 784))
for name, shift in (("planes through the mean", mean), ("planes through the origin", 0)):
    codes_query, codes_database = (sgn((X - shift) @ W.T) for X in (data.query, data.database))
    precision = precision_at_radius(codes_query, codes_database, data.relevant)
    print(
        f"{name}: |mean of a bit| {balance(codes_database):.2f}, precision {100 * precision:.1f} %"
    )

# %%
shares = [np.mean(sgn((data.database - shift) @ W.T) > 0, axis=0) for shift in (mean, 0)]
fig, ax = plt.subplots(figsize=(6.0, 2.8))
for share, marker, name in zip(shares, MARKERS, ("through the mean", "through the origin")):
    _ = ax.plot(np.arange(1, 17), np.sort(share), marker=marker, label=name)
_ = ax.set(xlabel="bit, in order of its share", ylabel="share of +1", ylim=(0, 1))
_ = ax.legend()

# %% [markdown]
# Through the mean every bit is +1 for about half of the pictures. Through the origin some bits are nearly always the same; such a bit tells pictures apart no better than no bit at all, and the precision falls.
