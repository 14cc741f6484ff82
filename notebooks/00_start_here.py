# %% [markdown]
# # Search with 32 bits instead of 784 numbers
#
# **What you will do.** You replace every picture in a collection by 32 bits, search with nothing but these bits, and measure what is lost. At the end you train the network that this course builds.
#
# **What you will learn**
#
# * why a search by Hamming distance is small and fast, in figures for memory and time;
# * that it matters more *which* bits are taken than how many: random hyperplanes against ITQ;
# * what the Binary Deep Neural Network (BDNN) adds, in one picture, one equation and one training;
# * how this course is laid out, read, run and tested, and which notation it keeps.
#
# **What you need.** Python with NumPy, and linear algebra. About 40 minutes to read, half a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import timeit

import matplotlib.pyplot as plt
import numpy as np

from bdnn import ITQ, UHBDNN
from bdnn.course.plotting import image_grid, network_diagram, save_figure
from bdnn.data import load
from bdnn.metrics import evaluate, hamming_distances, pack_codes, sgn

# %% [markdown]
# ## The task

# %% [markdown] tags=["slide"]
# Given a picture, find the pictures that resemble it most in a collection of $m$. Each picture is a vector of $D$ numbers, and two pictures resemble each other when the Euclidean distance of their vectors is small. Our collection is real and small enough for a first look: handwritten digits of 28 × 28 pixels, so $D=784$. They come with the packages of the course, so nothing is downloaded.

# %%
data = load("mnist5k")
print(data)

# %% [markdown]
# The **database** is what we search, the **queries** are what we search for, and no query is in the database. For every query the data set also holds the right answers, `data.relevant`: the numbers of its 50 nearest database vectors, found by comparing it with all of them. Notebook 01 looks at the data more closely.
#
# ## What the exact search costs
#
# To be searched, the vectors have to lie in memory. As 784 numbers of 4 bytes, one picture takes 3,136 bytes. As 32 bits it takes 4.

# %% tags=["slide"]
for m in (60_000, 1_000_000, 1_000_000_000):
    numbers, bits = 784 * 4 * m, 32 // 8 * m
    print(f"{m:13,} pictures: {numbers / 1e6:12,.2f} MB as numbers, {bits / 1e6:8,.2f} MB as bits")

# %% [markdown]
# As bits, a billion pictures fit into the memory of a phone; as numbers, not into that of most servers. The factor is 784 for numbers of 4 bytes, the usual form of feature vectors. The pixels of MNIST are whole numbers from 0 to 255, for which one byte is enough; then it is 196. This is the first thing that hashing buys.

# %% [markdown] tags=["slide"]
# The second is time. The distance of two codes is their **Hamming distance**, the number of bits in which they differ. A processor needs two instructions for it: an exclusive or marks the bits that differ, and a population count counts the marks. Here it is for two codes of eight bits.

# %% tags=["slide"]
a, b = 0b10110010, 0b10011010
print(f"{a:08b} xor {b:08b} = {a ^ b:08b}, so {(a ^ b).bit_count()} bits differ")

# %% [markdown]
# NumPy has both instructions for whole arrays, `^` and `np.bitwise_count`. We give every picture an arbitrary code for now, since the time does not depend on what the bits say, and compare one query with as many pictures as the full MNIST has. For the Euclidean distance we count only the matrix product, the costly part.

# %%
rng = np.random.default_rng(0)
vectors = np.tile(data.database, (15, 1))
words = rng.integers(0, 2**32, size=len(vectors), dtype=np.uint32)
print(f"{len(vectors):,} vectors: {vectors.nbytes:,} bytes; codes: {words.nbytes:,} bytes")


def euclidean():
    return vectors @ data.query[0]


def hamming():
    return np.bitwise_count(words ^ words[0])


# %% tags=["nbval-ignore-output"]
seconds = [min(timeit.repeat(search, number=1, repeat=20)) for search in (euclidean, hamming)]
print(f"Euclidean {1e3 * seconds[0]:.2f} ms, Hamming {1e3 * seconds[1]:.3f} ms per query,", end=" ")
print(f"a factor of {seconds[0] / seconds[1]:.0f}")

# %% [markdown]
# The factor that you see depends on your machine; it is in the hundreds on most, since both searches do little but read their memory. No index structure is involved: every code is looked at. For short codes one can even use the code as an address in a table and visit only the cells within a small Hamming distance. Their number does not depend on $m$; the number of items in them does.
#
# So the cost is settled, and one question remains, on which the whole course turns: **which 32 bits?**
#
# ## The first bits: random hyperplanes

# %% [markdown] tags=["slide"]
# The simplest bit asks on which side of a plane a vector lies. Put $L$ planes with random normals $w_1,\dots,w_L$ through the mean $\mu$ of the database, and let bit $k$ of the code $b\in\{-1,+1\}^L$ of $x$ be
#
# $$b_k=\operatorname{sgn}\big(w_k^\top(x-\mu)\big),\qquad \operatorname{sgn}(t)=\begin{cases}+1 & t\ge0\\ -1 & t<0\end{cases}\tag{1}$$

# %% [markdown]
# Vectors that point in similar directions from $\mu$ lie on the same side of most planes. In code, with one sample per row and all planes at once:


# %%
def hyperplane_codes(X, n_bits, seed=0):
    W = np.random.default_rng(seed).standard_normal((n_bits, X.shape[1]))
    return sgn((X - data.database.mean(axis=0)) @ W.T)


codes = hyperplane_codes(data.database, 32)
print(codes[0], codes.dtype)
print(pack_codes(codes)[0], "the same 32 bits, packed into 4 bytes")

# %% [markdown]
# ## The second bits: planes that fit the data
#
# Random planes know nothing of the pictures. **Iterative quantisation** (ITQ) takes the $L$ directions in which the pictures vary most, and turns them so that the signs lose as little as possible. Notebook 03 derives it; here we use what that notebook exports. (In float64: fifty iterations amplify rounding, and these pages should print the same on your machine as on ours.)

# %%
itq = ITQ(n_bits=32, dtype="float64", random_state=0).fit(data.train)
to_codes = {
    "32 random hyperplanes": lambda X: hyperplane_codes(X, 32),
    "32 bits of ITQ": itq.transform,
}

# %% [markdown]
# Now one query, its nearest pictures by Euclidean distance, and its nearest pictures by the Hamming distance of the two kinds of code. A solid frame marks a picture that is among the 50 right answers, a dashed frame one that is not; the number above it is its distance.

# %%
i, shown = 7, 9
rows = {"784 numbers": (data.relevant[i], np.linalg.norm(data.query[i] - data.database, axis=1))}
for name, encode in to_codes.items():
    distances = hamming_distances(encode(data.query[i : i + 1]), encode(data.database))[0]
    rows[name] = (np.argsort(distances, kind="stable"), distances)

# %% tags=["slide"]
fig = plt.figure(figsize=(7.4, 3.9))
for part, (name, (order, distances)) in zip(fig.subfigures(3, 1), rows.items()):
    nearest = order[:shown]
    pictures = np.vstack([data.query[i], data.database[nearest]]).reshape(-1, *data.image_shape)
    titles = ["query", *(f"{distances[j]:.0f}" for j in nearest)]
    _ = image_grid(part, pictures, titles, marks=[None, *np.isin(nearest, data.relevant[i])])
    part.suptitle(name, x=0.01, ha="left", fontsize=10)
save_figure(fig, "00_neighbours", png=True)

# %% [markdown]
# Exact search brings nine threes. The random hyperplanes bring twos and a six among the threes, and one right answer. The bits of ITQ bring nine threes from 4 bytes a picture, six of them right answers; the other three are threes too, but not among the 50 nearest. Note how many pictures share a distance: whole numbers from 0 to 32 leave many ties, and we have let the lower row number decide. Notebook 02 takes ties seriously.

# %%
for name, (order, _) in rows.items():
    right = np.isin(order[:shown], data.relevant[i]).sum()
    digits = data.labels.database[order[:shown]]
    print(f"{name}: {right} of {shown} are right answers; digits {digits}")

# %% [markdown]
# ## Measure it over all queries

# %% [markdown] tags=["slide"]
# One query proves nothing. For each query we look at its **Hamming ball** of radius 2: all database pictures whose code differs from the query's in at most 2 bits. The **precision** is the share of right answers among them; a query whose ball is empty counts 0. The mean over all queries is the measure of the paper's tables. Drawing at random would give 50 right answers in 4,000, a precision of 1.25 %.

# %%
lengths = (8, 16, 24, 32)


def measure(encode):
    return evaluate(encode(data.query), encode(data.database), data.relevant)


planes = [measure(lambda X, L=L: hyperplane_codes(X, L)) for L in lengths]
itqs = [ITQ(n_bits=L, dtype="float64", random_state=0).fit(data.train) for L in lengths]
fitted = [measure(itq.transform) for itq in itqs]

# %%
print("precision at radius 2, in %, and share of empty balls")
for L, one, two in zip(lengths, planes, fitted):
    shares = [(100 * r["precision_at_2"], 100 * r["empty_share"]) for r in (one, two)]
    print(f"{L:2} bits   hyperplanes {shares[0][0]:4.1f} ({shares[0][1]:4.1f} % empty)", end="   ")
    print(f"ITQ {shares[1][0]:4.1f} ({shares[1][1]:4.1f} % empty)")
assert all(two["precision_at_2"] > one["precision_at_2"] for one, two in zip(planes, fitted))
assert fitted[1]["precision_at_2"] > max(one["precision_at_2"] for one in planes)

# %% tags=["slide"]
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.0))
for ax, key, label in zip(
    axes, ("precision_at_2", "empty_share"), ("precision at radius 2, %", "empty balls, %")
):
    for name, results, marker in (("random hyperplanes", planes, "s"), ("ITQ", fitted, "o")):
        _ = ax.plot(lengths, [100 * r[key] for r in results], marker=marker, label=name)
    _ = ax.set(xlabel="bits", ylabel=label, xticks=lengths, ylim=(0, None))
_ = axes[0].legend()
save_figure(fig, "00_first_result")

# %% [markdown]
# Left: from 16 bits on, ITQ is right about twice as often as the hyperplanes or more, and 16 of its bits beat 32 random ones (also in the mean average precision of notebook 03, which no empty ball lowers). Which bits are taken matters more than how many. Right: the share of queries that find nothing within radius 2. It explains why both curves on the left fall at the end. More bits spread 4,000 pictures over more codes, the balls run empty, and an empty ball counts 0. That is a trait of this measure, not a weakness of longer codes; other measures of notebook 02 do not have it.
#
# ## What UH-BDNN adds
#
# Both kinds of bits above are signs of *linear* functions of the picture. ITQ fits its rotation to the signs, but the directions that it rotates are those of PCA, chosen without them. The Unsupervised Hashing Binary Deep Neural Network of Do, Doan and Cheung (ECCV 2016) changes both. A small network computes $L$ real numbers from the picture, and a matrix of *binary* variables $B$ stands inside the network, from which the picture has to be rebuilt.

# %% tags=["slide"]
fig, ax = plt.subplots(figsize=(7.5, 3.4))
network_diagram(ax)
save_figure(fig, "00_network")

# %% [markdown]
# Read it from left to right. The vectors $X$, one per column, pass through two layers of sigmoids to the code layer $H^{(4)}$, which is linear. The codes $B$ stand beside it; the dashed arrow says that the two are pulled together. From $B$ a linear layer rebuilds the vectors. A new picture is encoded by the signs of $H^{(4)}$ alone.

# %% [markdown] tags=["slide"]
# As an equation, with $n=5$ layers, input and output counted:
#
# $$
# \begin{aligned}
# \min_{W,c,B}\ J={}&\frac1{2m}\big\|X-W^{(n-1)}B-c^{(n-1)}\mathbf 1\big\|^2+\frac{\lambda_1}2\sum_{l=1}^{n-1}\big\|W^{(l)}\big\|^2+\frac{\lambda_2}{2m}\big\|H^{(n-1)}-B\big\|^2\\
# &+\frac{\lambda_3}2\Big\|\frac1mH^{(n-1)}H^{(n-1)\top}-I\Big\|^2+\frac{\lambda_4}{2m}\big\|H^{(n-1)}\mathbf 1\big\|^2\qquad\text{with } B\in\{-1,1\}^{L\times m}
# \end{aligned}\tag{2}
# $$

# %% [markdown] tags=["slide"]
# | term | what it asks | where it is derived |
# |---|---|---|
# | reconstruction | the bits say enough to rebuild the picture | 05, 08 |
# | weight decay, $\lambda_1$ | the weights stay small | 05 |
# | equality, $\lambda_2$ | the network computes what the bits say | 05 |
# | independence, $\lambda_3$ | no two bits say the same | 05; measured in 02 |
# | balance, $\lambda_4$ | each bit is +1 for half of the pictures | 05; measured in 02 |

# %% [markdown] tags=["slide"]
# $B$ cannot be found by a gradient, because a bit has none. So the minimisation alternates: for fixed $B$, the weights are found by L-BFGS (notebooks 04 to 06); for fixed weights, $B$ is found one row of bits at a time, exactly (notebook 07). The start is ITQ.

# %% [markdown]
# The library trains it in one line. Three seeds for each method, 16 bits, judged as above by the 50 nearest neighbours:

# %%
seeds = range(3)
trained = {
    "ITQ": [ITQ(16, random_state=seed).fit(data.train) for seed in seeds],
    "UH-BDNN": [UHBDNN(16, random_state=seed).fit(data.train) for seed in seeds],
}
measured = {name: [measure(e.transform) for e in each] for name, each in trained.items()}

# %% tags=["nbval-ignore-output", "slide"]
for name, results in measured.items():
    for key, label in (("precision_at_2", "P@2"), ("map_standard", "mAP")):
        values = [100 * r[key] for r in results]
        print(f"{name:8} {label} {np.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})")

# %%
margin = {
    key: 100 * np.mean([b[key] - a[key] for a, b in zip(measured["ITQ"], measured["UH-BDNN"])])
    for key in ("precision_at_2", "map_standard")
}
assert 0.5 < margin["precision_at_2"] < 4 and abs(margin["map_standard"]) < 1.5
print("16 bits, three seeds: precision within radius 2 rises by some points,")
print("mean average precision stays within about a point of that of ITQ")

# %% [markdown]
# The margin is real and small: nearly three points of precision on these 5,000 digits, while **mean average precision** (mAP), which grades the whole ranking (notebook 02), falls by nearly one. Training takes some seconds where ITQ takes a fraction of one. On the 60,000 digits of MNIST, at other lengths and on other data the margin is another, and at 32 bits it is sometimes gone; notebooks 08 and 15 measure all of that.
#
# In the weeks ahead you build this line: the measures (02), the start (03), the network with its gradients (04), the five terms (05), the optimiser (06), the bits (07), and then the loop that holds them together, in one screen (08). Labels come in with 09, and 10 compares it with Deep Hashing, which relaxes the bits instead.
#
# ## The map
#
# Each notebook answers one question, and most of them end in a module of the library `bdnn`, which is made from their cells.
#
# | notebook | question | module |
# |---|---|---|
# | **00** Start here | What does hashing buy? | |
# | [**01** Data](01_data.ipynb) | Which data, how scaled, and what counts as a right answer? | |
# | [**02** Retrieval](02_metrics.ipynb) | How is a search by codes measured, and codes themselves? | `metrics` |
# | [**02b** Closed forms](02b_metrics.ipynb) | Ties, curves, other measures | `metrics` |
# | [**03** ITQ](03_itq.ipynb) | Which baseline is to be beaten, and where does $B$ start? | `itq` |
# | [**04** Network](04_network.ipynb) | How do layers compute, and how do gradients travel back? | `network` |
# | [**05** Loss terms](05_losses.ipynb) | What does each term do, alone? | `losses` |
# | [**06** L-BFGS](06_lbfgs.ipynb) | How are the weights found? | `lbfgs` |
# | [**07** DCC](07_dcc.ipynb) | How are the bits found? | `dcc` |
# | [**08** UH-BDNN](08_uh_bdnn.ipynb) | How does it come together, and how good is it? | `uh_bdnn` |
# | [**09** SH-BDNN](09_sh_bdnn.ipynb) | What do labels change? | `sh_bdnn` |
# | [**10** Deep Hashing](10_deep_hashing.ipynb) | What if the bits are relaxed instead? | `deep_hashing` |
# | [**11** Classical methods](11_classical.ipynb) | What did others do without labels? | `baselines.classical` |
# | [**12** Supervised baselines](12_kernels.ipynb) | What did others do with labels? | `baselines.kernels` |
# | [**13** Background losses](13_background.ipynb) | Pairs, triplets, blocks: which other losses are there? | `baselines.background` |
# | [**14** The lambdas](14_lambdas.ipynb) | What does each λ buy? Sliders. | |
# | [**15** Results](15_results.ipynb) | Where do we agree with the published tables, where not, and why? | |
# | [**16** Scale](16_scale.ipynb) | What if the data do not fit into memory, or into one machine? | `engine.scale` |
# | [**17** Cost](17_cost.ipynb) | What does each step cost, and what limits it? | |
# | [**18** Your own data](18_own_data.ipynb) | How do I hash vectors of my own? | |
# | [**19** Search in two stages](19_search.ipynb) | What does a code find, and what do its rivals? | `search` |
#
# The path is 00 to 10, then 14 and 15: each notebook rests on those before it, and 08 on all of 03 to 07. The others are off the path: read them when you need them. In a course, most notebooks are a session, 05 and 06 are two; 04 and 05 are the ones to do on paper first. A plan for a term and for a day stands on the page for the lecturer of the site (`python3 course.py site`).
#
# ## How to read, run and test
#
# | you want to | command, in the folder of the repository |
# |---|---|
# | read and run the notebooks | `python3 course.py lab` |
# | see the comparison table on real digits | `python3 course.py run` |
# | read without a kernel, sliders included | `python3 course.py site` |
# | run every check | `python3 course.py test` |
# | rebuild after an edit of notebook 03 | `python3 course.py build 03` |
#
# Each notebook shows its formulas, then the lines of code beside them, then the evidence. *The slides* are those of a talk on the paper by Huisu Yun (CS688, November 2018), with which this course began; you do not need them. Where they or the paper slip, a block begins with **Slip**; where we do something else than the paper, with **Departure**. Where a page says **Stop**, the next thing is yours to write: an exercise in the folder `exercises`, whose `check(...)` tells what is right and names the usual slips. More exercises stand at the end of each page, their solutions in the folder `solutions` under the same number.
#
# Work flows in one direction only:
#
# > `notebooks/03_itq.py`, the text that is edited → `notebooks/03_itq.ipynb`, made from it and executed → `bdnn/itq.py`, made from the cells tagged `export` → tests and later notebooks
#
# Nothing flows back: an edit in `bdnn/itq.py` is lost, and `python3 course.py check` says so. You may play in the `.ipynb` as you like; what is to stay goes into the text. So the code that you read in a notebook is the code that the library runs: what `UHBDNN.fit` minimises calls the functions of notebooks 04 to 07 as they stand there.
#
# ## Notation
#
# The paper's, throughout. Inside the library samples stand in **columns**, as in the equations; at the boundary, where you call `fit`, `transform` and `load`, they stand in **rows**, as in scikit-learn. The estimators transpose once.
#
# | symbol | in code | shape | meaning |
# |---|---|---|---|
# | $m$, $D$ | `m`, `D` | | number of training vectors; their dimension |
# | $X$ | `X` | $D\times m$ | the vectors, one per column |
# | $L$ | `L`, `n_bits` | | number of bits |
# | $B$, $b_k$ | `B`, `B[k]` | $L\times m$, $1\times m$ | codes in $\{-1,1\}$; bit $k$ of all samples |
# | $n$ | | | number of layers, input and output counted |
# | $h_1$, $h_2$ | `hidden` | | units of the two sigmoid layers |
# | $W^{(l)}$, $c^{(l)}$ | `Ws[l - 1]`, `cs[l - 1]` | $\cdot\times\cdot$, $\cdot\times1$ | weights and bias from layer $l$ to layer $l+1$ |
# | $Z^{(l)}$ | `Z` | | input of layer $l$: $Z^{(l)}=W^{(l-1)}H^{(l-1)}+c^{(l-1)}\mathbf 1$ |
# | $H^{(l)}$ | `Hs[l - 1]` | | output of layer $l$: $H^{(l)}=f(Z^{(l)})$, $H^{(1)}=X$ |
# | $f$, $f'$ | | | activation of a layer and its derivative |
# | $\Delta^{(l)}$ | `Delta` | as $Z^{(l)}$ | derivative of $J$ by $Z^{(l)}$ |
# | $J$ | | | the objective |
# | $\lambda_1,\dots,\lambda_4$ | `lambda1`, … | | weights of the terms |
# | $\alpha_1,\dots,\alpha_3$ | `alpha1`, … | | the same for Deep Hashing |
# | $\mathbf 1$, $I$ | | $1\times m$ or $m\times1$; $L\times L$ | vector of ones, by context row or column; identity |
# | $S$ | never formed | $m\times m$ | $+1$ for two samples of one class, $-1$ otherwise |
# | $Y$, $C$ | `y`, `Y` | $C\times m$ | labels as 0 and 1 in $C$ rows; number of classes |
# | $\operatorname{sgn}$ | `sgn` | | sign, with $\operatorname{sgn}(0)=+1$ |
# | $\lVert\cdot\rVert$, $\odot$, $\operatorname{tr}$ | | | Frobenius norm; product entry by entry; trace |
# | $\mathrm d$ | | | differential (introduced in 04) |
# | $R$, $V$ | `R`, `V` | $L\times L$, $L\times m$ | rotation of ITQ, and what it rotates |
# | $d_H$ | `hamming_distances` | | Hamming distance |
#
# ## What we have now
#
# A task, a measure, two baselines and the distance between them. Nothing is exported from this notebook.
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** Every code is still compared with the query. Why is the search by 32 bits so much faster than the one by 784 numbers?
#
# <details><summary>Answer</summary>
#
# Both searches do little but read their memory, and a code takes 4 bytes where a picture takes 3,136. The distance itself needs two instructions, an exclusive or and a population count. No index is involved, and it does not matter what the bits say.
#
# </details>
#
# **Question 2.** Sixteen bits of ITQ find more than 32 random hyperplanes. What does that teach?
#
# <details><summary>Answer</summary>
#
# It matters more which bits are taken than how many. Random planes know nothing of the pictures. ITQ takes the directions in which the pictures vary most, and turns them so that the signs lose as little as possible.
#
# </details>
#
# **Question 3.** Precision within radius 2 falls from 24 to 32 bits. Are the longer codes worse?
#
# <details><summary>Answer</summary>
#
# No. More bits spread the same 4,000 pictures over more codes, so more balls are empty, and an empty ball counts 0. This is a trait of the measure; others do not have it.
#
# </details>
#
# **Question 4.** Why is $B$ not found by gradient descent, like the weights?
#
# <details><summary>Answer</summary>
#
# A bit has no gradient: it is $-1$ or $+1$, and nothing lies between. So the training alternates. For fixed $B$ the weights are found by L-BFGS; for fixed weights $B$ is found one row of bits at a time, exactly.
#
# </details>
#
# **Question 5.** A new picture arrives after the training. Which part of the network in Eq. (2) makes its code?
#
# <details><summary>Answer</summary>
#
# The signs of the code layer $H^{(4)}$ alone. The matrix $B$ has columns for the training pictures only, and the linear layer that rebuilds vectors from bits is not needed to encode.
#
# </details>
#
# ## Exercises
#
# **0.1** How many vectors of 784 numbers fit into 8 GB, as numbers of 4 bytes, as codes of 32 bits and as codes of 64 bits?
#
# <details><summary>Hint</summary> Take 8 GB as $8\cdot10^9$ bytes, and a byte as eight bits. </details>
#
# **0.2** Two codes whose $L$ bits are independent throws of a fair coin: what is the probability that they lie within radius 2 of each other? Compare it, for 8 to 32 bits, with the share of pairs (query, database picture) within radius 2 for random hyperplanes and for ITQ. Why are both shares so much larger from 16 bits on?
#
# <details><summary>Hint</summary> Count the codes at distances 0, 1 and 2 from a given one; `math.comb` helps. </details>
#
# **0.3** Eq. (1) separates $x$ and $y$ with probability $\theta/\pi$, where $\theta$ is the angle between $x-\mu$ and $y-\mu$. Give a reason in two sentences, and check it with 20,000 planes on ten pairs of pictures.
#
# <details><summary>Hint</summary> Only the part of $w_k$ in the plane of the two vectors matters, and its direction is uniform on the circle. </details>
#
# **0.4** Leave out $\mu$ in Eq. (1). What happens to the share of +1 in each bit, and to the precision at radius 2? Explain it by the pixels being 0 to 255.
#
# <details><summary>Hint</summary> <code>codes.mean(axis=0)</code> is 0 for a balanced bit and ±1 for one that never changes. </details>
#
# ## Further reading
#
# * T.-T. Do, A.-D. Doan, N.-M. Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016, [arXiv:1607.05140](https://arxiv.org/abs/1607.05140): our Eq. (2) is the objective of its unsupervised part.
# * M. S. Charikar, *Similarity estimation techniques from rounding algorithms*, STOC 2002: the random hyperplanes of our Eq. (1).
# * Y. Gong, S. Lazebnik, *Iterative quantization: a Procrustean approach to learning binary codes*, CVPR 2011: the second kind of bits; notebook 03.
