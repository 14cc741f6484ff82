# %% [markdown]
# # Set our numbers beside the paper's
#
# **What you will do.** You read the recorded runs of every method, set them beside the two published tables, rank the methods with their uncertainty, and measure how much of a figure is the method and how much the way of counting.
#
# **What you will learn**
#
# * which of the paper's claims our runs bear out, which they do not, and how to tell;
# * how far a difference of two means must reach before it ranks two methods;
# * what the choice of split, ground truth, form of AP, rule for ties and rule for empty balls is worth, in points, on one and the same code;
# * what twelve times as many labels bring SH-BDNN.
#
# **What you need.** Notebooks 08 to 12; 02 for the measures. About 40 minutes to read; a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import json
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np

import bdnn
from bdnn import metrics
from bdnn.course.plotting import COLOURS, method_style, save_figure
from bdnn.course.records import REVISIONS, is_present, read_folder
from bdnn.data import load, nearest_neighbours, with_ground_truth

# %% [markdown]
# ## The runs
#
# All runs of this page come from one command,
#
#     python3 course.py run --paper
#
# It knows the data, the methods, the code lengths 8, 16, 24 and 32 and three seeds; `--plan` lists what is left and says how long it will take. Each run appends one line to a file in `notebooks/results`, and what any file of that folder has is not run again: an interruption costs one run. `--data`, `--methods`, `--bits` and `--seeds` narrow it; `course.py run --data mnist --methods all --bits 8 16 24 32` makes the MNIST columns of both tables from nothing. Here we only read.

# %% tags=["nbval-ignore-output"]
files = read_folder()
for name, rows in files.items():
    print(f"{name:26} {len(rows):4d} runs", dict(Counter(row["data"] for row in rows)))

# %% [markdown]
# A line states what made it: method, data, split, ground truth, seed, settings, versions, the revision of the method, the command; then the measures, the seconds and the memory. This is one, without its longest entries:

# %%
row = next(r for r in files["mnist.jsonl"] if (r["method"], r["bits"]) == ("ITQ", 16))
long = ("history", "versions", "precision_by_radius", "recall_by_radius", "command")
print({key: value for key, value in row.items() if key not in long})

# %% [markdown]
# Four kinds of data stand in for the three of the paper:
#
# | here | in the paper | what is the same, what is not |
# |---|---|---|
# | MNIST, 60,000 and 10,000 queries | the same | exact: the same pixels, split, ground truth |
# | CIFAR-10, EfficientNet-Lite0 features, PCA to 800 | AlexNet fc7, PCA to 800 (known for the supervised table) | same images (ours went through JPEG) and split, a better network |
# | CIFAR-10, histograms of oriented gradients (HOG), 324 | none; the authors' demonstration of UH-BDNN takes GIST, 320 | the same kind of descriptor: gradients in a grid, no learning |
# | SIFT of 500 photographs: learn 100,000, base 300,000, queries 10,000 | SIFT1M: 100,000, 1,000,000, 10,000 | same descriptor and roles, other photographs, a third of the database |
#
# Unsupervised methods are judged by the 50 nearest neighbours, on SIFT by the nearest hundredth of the database (the paper's 10,000 of a million; here 3,000), supervised ones by the class. The loaders take the originals, too: SIFT1M from its `.fvecs` files, CIFAR-10 from its binary archive, which `cifar10-hog` also downloads.

# %%
SPLITS = {
    "mnist": "60000 train, 60000 database",
    "cifar10": "50000 train, 50000 database",
    "cifar10-hog-jpeg": "50000 train, 50000 database",
    "sift": "100000 train, 300000 database",
}
TITLES = dict(zip(SPLITS, ("MNIST", "CIFAR-10, CNN", "CIFAR-10, HOG", "SIFT")))
PUBLISHED_ON = dict(zip(SPLITS, ("MNIST", "CIFAR-10, AlexNet", "CIFAR-10, AlexNet", "SIFT1M")))
LENGTHS = (8, 16, 24, 32)

# %% [markdown]
# ### Which lines count
#
# Every method carries a number, its **revision**, which is raised by hand when its codes change by more than rounding. A table entry takes the runs with the default settings, on the whole training set, judged as the paper judges: those of the present revision, and where there are none, those of the latest one before. `course.py run --paper --plan` lists the runs that are missing of the present revision.

# %%
UNSUPERVISED = (
    *("UHBDNN", "BinaryAutoencoder", "ITQ", "SpectralHashing", "SphericalHashing"),
    *("KMeansHashing", "DeepHashing"),
)
SUPERVISED = (
    *("SHBDNN", "SupervisedDiscreteHashing", "ITQCCA", "KernelSupervisedHashing"),
    *("BinaryReconstructiveEmbedding", "SupervisedDeepHashing"),
)
DEFAULTS = {name: getattr(bdnn, name)().get_params() for name in UNSUPERVISED + SUPERVISED}


# %%
def judged_as_in_the_paper(row):
    by_class = row["ground_truth"] == "labels"
    return row["split"] == SPLITS.get(row["data"]) and by_class == (row["method"] in SUPERVISED)


# %%
recorded = [row for rows in files.values() for row in rows]
paper_rows = [row for row in recorded if judged_as_in_the_paper(row)]


# %%
def usual_settings(method, revision):
    """The defaults; of an earlier revision, whose parameters were others, what most rows have."""
    if revision == REVISIONS[method]:
        return DEFAULTS[method]
    rows = [row for row in recorded if (row["method"], row["revision"]) == (method, revision)]
    count = Counter(json.dumps(row["settings"]) for row in rows)
    return json.loads(count.most_common(1)[0][0])


# %%
USUAL = {
    key: usual_settings(*key) for key in {(row["method"], row["revision"]) for row in recorded}
}


def changes(row):
    """Settings of a row that differ from the usual ones of its revision."""
    usual = USUAL[row["method"], row["revision"]]
    return {k: v for k, v in row["settings"].items() if k in usual and v != usual[k]}


# %%
def runs(method, data, bits, settings=None):
    """The rows of a table entry, one for each seed."""
    rows = [
        row
        for row in paper_rows
        if (row["method"], row["data"], row["bits"]) == (method, data, bits)
        and changes(row) == (settings or {})
    ]
    latest = max((row["revision"] for row in rows), default=0)
    return list({row["seed"]: row for row in rows if row["revision"] == latest}.values())


# %% tags=["nbval-ignore-output"]
entries = [runs(m, data, L) for m in DEFAULTS for data in SPLITS for L in LENGTHS]
used = [row for rows in entries for row in rows]
earlier = Counter(row["method"] for row in used if not is_present(row))
print(f"{len(used)} runs in the tables, {earlier.total()} of them of an earlier revision:")
for method, count in earlier.items():
    print(f"  {count} of {method_style(method)['label']}")

# %% [markdown]
# Rows of an earlier revision are read here until they are recorded anew. Those of DH started from ITQ, where the present default is the start from PCA that its paper prints; those of its supervised variant were made by L-BFGS on means.

# %% [markdown]
# ## Table 1: unsupervised, precision within radius 2
#
# The published figures, in percent, at 8, 16, 24 and 32 bits. DH is not in this table of the paper.

# %%
PUBLISHED = {
    ("UHBDNN", "mnist"): (0.53, 6.80, 29.38, 38.50),
    ("BinaryAutoencoder", "mnist"): (0.51, 6.44, 27.65, 35.29),
    ("ITQ", "mnist"): (0.51, 5.87, 23.92, 36.35),
    ("SpectralHashing", "mnist"): (0.43, 6.50, 27.08, 36.69),
    ("SphericalHashing", "mnist"): (0.44, 5.02, 22.24, 30.80),
    ("KMeansHashing", "mnist"): (0.50, 6.36, 25.68, 36.24),
    ("UHBDNN", "cifar10"): (0.55, 5.79, 22.14, 18.35),
    ("BinaryAutoencoder", "cifar10"): (0.55, 5.65, 20.23, 17.00),
    ("ITQ", "cifar10"): (0.54, 5.05, 18.82, 17.76),
    ("SpectralHashing", "cifar10"): (0.39, 4.23, 14.60, 15.22),
    ("SphericalHashing", "cifar10"): (0.43, 3.45, 13.47, 13.67),
    ("KMeansHashing", "cifar10"): (0.53, 5.49, 19.55, 15.90),
    ("UHBDNN", "sift"): (4.80, 25.20, 62.20, 80.55),
    ("BinaryAutoencoder", "sift"): (3.85, 23.19, 61.35, 77.15),
    ("ITQ", "sift"): (3.19, 14.07, 35.80, 58.69),
    ("SpectralHashing", "sift"): (4.67, 24.82, 60.25, 72.40),
    ("SphericalHashing", "sift"): (4.25, 20.98, 47.09, 66.42),
    ("KMeansHashing", "sift"): (3.74, 20.74, 48.86, 76.04),
}

# %%
PUBLISHED |= {
    (method, "cifar10-hog-jpeg"): figures
    for (method, data), figures in PUBLISHED.items()
    if data == "cifar10"
}

# %% [markdown]
# An entry below reads: our mean, the deviation over the seeds where there are several, the published figure, the difference. Methods that draw nothing (SH, KMH) have one run and no deviation.


# %%
def values(method, data, bits, key="precision_at_2", settings=None):
    return np.array([row[key] for row in runs(method, data, bits, settings)])


# %%
def spread(figures, width):
    """Mean ± deviation, as far as there are any."""
    if not len(figures):
        return "-".rjust(width) + "     "
    deviation = f"±{np.std(figures, ddof=1):4.2f}" if len(figures) > 1 else "     "
    return f"{np.mean(figures):{width}.2f}{deviation}"


# %%
def entry(method, data, bits):
    """Ours ± deviation, published, difference."""
    ours = values(method, data, bits)
    printed = PUBLISHED.get((method, data))
    text = spread(ours, 5)
    if printed is None:
        return text + "             "
    figure = printed[LENGTHS.index(bits)]
    return text + f" {figure:5.2f}" + (f" {ours.mean() - figure:+6.2f}" if len(ours) else "      -")


# %%
def ran(data, methods):
    """Whether any of the methods has runs on the data."""
    return any(len(values(method, data, L)) for method in methods for L in LENGTHS)


# %%
def compare(data, methods):
    if not ran(data, methods):
        print(f"{TITLES[data]}: not run yet\n")
        return
    print((f"{TITLES[data]:13} " + "".join(f"{f'{L} bits':27}" for L in LENGTHS)).rstrip())
    for method in methods:
        name = method_style(method)["label"]
        print(
            f"{name:13} " + "   ".join(entry(method, data, L).ljust(24) for L in LENGTHS).rstrip()
        )
    print()


# %%
for data in SPLITS:
    compare(data, UNSUPERVISED)

# %% [markdown]
# ## Table 2: supervised, precision within radius 2

# %%
PUBLISHED |= {
    ("SHBDNN", "mnist"): (84.26, 94.67, 94.69, 95.51),
    ("SupervisedDiscreteHashing", "mnist"): (36.49, 93.00, 93.98, 94.43),
    ("ITQCCA", "mnist"): (54.35, 79.99, 84.12, 84.57),
    ("KernelSupervisedHashing", "mnist"): (68.07, 90.79, 92.86, 92.41),
    ("BinaryReconstructiveEmbedding", "mnist"): (37.67, 69.80, 83.24, 84.61),
    ("SHBDNN", "cifar10"): (54.12, 67.32, 69.36, 69.62),
    ("SupervisedDiscreteHashing", "cifar10"): (31.60, 62.23, 67.65, 67.63),
    ("ITQCCA", "cifar10"): (49.14, 65.68, 67.47, 67.19),
    ("KernelSupervisedHashing", "cifar10"): (44.81, 64.08, 67.01, 65.76),
    ("BinaryReconstructiveEmbedding", "cifar10"): (23.84, 41.11, 47.98, 44.89),
}

# %%
for data in ("mnist", "cifar10"):
    compare(data, SUPERVISED)

# %% [markdown]
# ## The tables as pictures
#
# Ours on the left, published on the right, on one scale: the same picture twice would be a perfect reproduction.


# %%
def draw(ax, lengths, figures, method, errors=None):
    """One method of a panel; what was not run is a gap in the line."""
    style = method_style(method)
    _ = ax.errorbar(range(len(lengths)), figures, errors, capsize=2, elinewidth=1, **style)
    _ = ax.set(xticks=range(len(lengths)), xticklabels=lengths)


# %%
def mean_and_spread(method, data, key="precision_at_2"):
    found = [values(method, data, L, key) for L in LENGTHS]
    means = [v.mean() if len(v) else np.nan for v in found]
    return means, [v.std(ddof=1) if len(v) > 1 else 0 for v in found]


# %%
def side_by_side(axes, data, methods):
    """A row of two panels: our figures and the published ones."""
    for method in methods:
        means, errors = mean_and_spread(method, data)
        draw(axes[0], LENGTHS, means, method, errors)
        draw(axes[1], LENGTHS, PUBLISHED.get((method, data), [np.nan] * 4), method)
    _ = axes[0].set(title=f"{TITLES[data]}, ours", ylabel="precision at radius 2 (%)")
    _ = axes[1].set(title=f"{PUBLISHED_ON[data]}, published")
    top = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        _ = ax.set(ylim=(0, top))


# %%
def pictures(methods):
    """A table as pictures, one row of panels for each data set that was run."""
    shown = [data for data in SPLITS if ran(data, methods)]
    fig, axes = plt.subplots(len(shown), 2, figsize=(8, 0.6 + 2.7 * len(shown)), squeeze=False)
    for row, data in zip(axes, shown):
        side_by_side(row, data, methods)
    for ax in axes[-1]:
        _ = ax.set(xlabel="bits")
    legend = axes[0, 0].get_legend_handles_labels()
    _ = fig.legend(*legend, loc="outside upper center", ncols=7)
    return fig


# %%
save_figure(pictures(UNSUPERVISED), "15_table_1")

# %%
save_figure(pictures(SUPERVISED), "15_table_2")

# %% [markdown]
# MNIST, where everything is the same, is the test of the reproduction: the two pictures agree in height, shape and nearly in order. Spectral hashing, which draws nothing, agrees to both digits at 8, 16 and 24 bits and differs by exactly 1.00 at 32: 36.69 is in all likelihood a misprint of 37.69. UH-BDNN ends within half a point of the published figure at every length. What differs is the baselines: our KMH is 3 points better at 24 bits, our BA 2 points better at 32 and more than one worse at 24, and the sources that we could read do not give their settings. In the second table the one large difference is SDH at 8 bits: ours starts from one code for each class (notebook 12), and its 36.49 becomes more than 75. BRE stays 4 to 5 points below at 24 and 32 bits; how many samples the published runs had is not known.
#
# For the other data one picture cannot be laid on the other, because the vectors differ. Compare shapes and gaps there, not heights. On our SIFT even ITQ is far above its published figures, and other methods are below theirs at 32 bits: photographs and size of the database differ; which of the two does it was not measured.
#
# ### The mAP curves
#
# The paper also draws mAP over the bits, in two figures, without printing the numbers; so here are ours alone. The form is the trapezoid rule (Eq. (4) of notebook 02), which the authors' programs use.

# %%
panels = [(data, UNSUPERVISED) for data in SPLITS] + [(d, SUPERVISED) for d in ("mnist", "cifar10")]
panels = [(data, methods) for data, methods in panels if ran(data, methods)]


# %%
def panelled(draw_panel, ylabel, panels=panels):
    """A figure with one panel for each data set and kind of methods."""
    rows = -(-len(panels) // 3)
    columns = min(len(panels), 3)
    fig, axes = plt.subplots(rows, columns, figsize=(3 * columns, 0.6 + 2.7 * rows), squeeze=False)
    legend = {}
    for ax, (data, methods) in zip(axes.flat, panels):
        draw_panel(ax, data, methods)
        kind = "classes" if methods is SUPERVISED else "neighbours"
        _ = ax.set(title=f"{TITLES[data]}, {kind}", ylim=0)
        legend |= {name: handle for handle, name in zip(*ax.get_legend_handles_labels())}
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        _ = ax.set(ylabel=ylabel)
    _ = fig.legend(legend.values(), legend, loc="outside upper center", ncols=2 * columns)
    return fig


# %%
def draw_map(ax, data, methods):
    for method in methods:
        draw(ax, LENGTHS, *mean_and_spread(method, data, "map_trapezoid")[:1], method)
    _ = ax.set(xlabel="bits")


save_figure(panelled(draw_map, "mAP (%)"), "15_map")

# %% [markdown]
# ## Who ranks before whom
#
# A rank is a claim about all pairs, and a pair whose difference chance could have made has no order. Let $\bar p_a,\bar p_b$ be the means of two methods over $n_a,n_b$ seeds with deviations $s_a,s_b$. We call $a$ better than $b$ only if
#
# $$ \bar p_a-\bar p_b>2\,\sqrt{\frac{s_a^2}{n_a}+\frac{s_b^2}{n_b}} \tag{1} $$
#
# and give each method an interval of ranks: from one more than the number of methods that are better, to the number of methods less those that are worse. A method that draws nothing has $s=0$. Where a method has a single seed so far, we put in the median deviation of the methods of its table that have several, for the same data and length; and if there are none, that of MNIST.


# %%
def deviations(methods, data, bits):
    """Deviation over the seeds of those methods that have several."""
    found = [values(method, data, bits) for method in methods]
    return [v.std(ddof=1) for v in found if len(v) > 1]


# %%
def standard_error(method, data, bits):
    """Of the mean over the seeds; see above for methods with one seed or none to draw."""
    found = values(method, data, bits)
    if "random_state" not in DEFAULTS[method]:
        return 0.0
    if len(found) > 1:
        return found.std(ddof=1) / np.sqrt(len(found))
    table = SUPERVISED if method in SUPERVISED else UNSUPERVISED
    return np.median(deviations(table, data, bits) or deviations(table, "mnist", bits))


# %%
def rank_intervals(data, bits, methods):
    """{method: (first, last)} of those that were run, by Eq. (1)."""
    ran = [m for m in methods if len(values(m, data, bits))]
    mean = {m: values(m, data, bits).mean() for m in ran}
    error = {m: standard_error(m, data, bits) for m in ran}

    def better(a, b):
        return mean[a] - mean[b] > 2 * np.hypot(error[a], error[b])

    return {
        m: (1 + sum(better(o, m) for o in ran), len(ran) - sum(better(m, o) for o in ran))
        for m in ran
    }


# %%
def published_rank(method, data, bits, methods):
    column = LENGTHS.index(bits)
    figures = [PUBLISHED[m, data][column] for m in methods if (m, data) in PUBLISHED]
    return 1 + sum(figure > PUBLISHED[method, data][column] for figure in figures)


# %% [markdown]
# Ranks among the methods of the paper's tables, ours as an interval, the published one behind the bar.


# %%
def ranks(data, methods):
    if not ran(data, methods):
        return
    methods = [m for m in methods if (m, data) in PUBLISHED]
    print(f"{TITLES[data]:13}" + "".join(f"{L:4d} bits  " for L in LENGTHS))
    for method in methods:
        line = ""
        for L in LENGTHS:
            first, last = rank_intervals(data, L, methods).get(method, ("-", "-"))
            ours = f"{first}" if first == last else f"{first} to {last}"
            line += f"{ours:>6} | {published_rank(method, data, L, methods)} "
        print(f"{method_style(method)['label']:13}{line}")
    print()


# %%
for data in SPLITS:
    ranks(data, UNSUPERVISED)

# %%
for data in ("mnist", "cifar10"):
    ranks(data, SUPERVISED)

# %% [markdown]
# An interval such as "1 to 2" says that the runs do not decide. At 8 bits on MNIST all methods lie within a tenth of a point, so that even there where the seeds separate them the order has no use: a ball of radius 2 holds a seventh of all 8-bit codes. From 16 bits on the last place is firm, the first at 24 bits only, and the middle is not: which of BA, ITQ, SH and KMH comes second depends on the length, here as in the published table.
#
# ## Where the paper's claims hold
#
# Two claims carry the paper: UH-BDNN leads the unsupervised methods of its table, SH-BDNN the supervised ones. So for each entry: the margin over the other method of that table that is hardest to lead, with twice its standard error, and the published margin. That is a method that is surely ahead, if there is one, and else the one with the smallest difference of margin and error. The claim *holds* where our margin is above the error, *fails* where it is below minus the error, and is *open* between.


# %%
def margin(method, data, bits, rivals):
    """Margin over the rival that is hardest to lead, twice its standard error, and the rival."""
    mine, found = values(method, data, bits), []
    for rival in rivals:
        theirs = values(rival, data, bits)
        if rival != method and (rival, data) in PUBLISHED and len(theirs) and len(mine):
            error = np.hypot(standard_error(method, data, bits), standard_error(rival, data, bits))
            found.append((mine.mean() - theirs.mean(), 2 * error, rival))
    ahead = [(points, error, rival) for points, error, rival in found if points < -error]
    return min(ahead or found, key=lambda entry: entry[0] - entry[1], default=None)


# %%
def published_margin(method, data, bits, rivals):
    column = LENGTHS.index(bits)
    figures = [PUBLISHED[m, data][column] for m in rivals if (m, data) in PUBLISHED and m != method]
    return PUBLISHED[method, data][column] - max(figures)


# %%
def verdict(method, data, bits, rivals):
    found = margin(method, data, bits, rivals)
    if found is None:
        return "not run"
    points, error, rival = found
    word = "holds" if points > error else "fails" if points < -error else "open"
    return f"{points:+6.2f} ± {error:4.2f}  {word:5}, against {method_style(rival)['label']}"


# %%
verdicts = Counter()
for method, methods in (("UHBDNN", UNSUPERVISED), ("SHBDNN", SUPERVISED)):
    for data in [data for data in SPLITS if ran(data, methods) and (method, data) in PUBLISHED]:
        for L in LENGTHS:
            words = verdict(method, data, L, methods)
            word = next(w for w in ("holds", "open", "fails", "not run") if w in words)
            verdicts[method, word] += 1
            printed = published_margin(method, data, L, methods)
            label = f"{method_style(method)['label']}, {TITLES[data]}, {L} bits"
            print(f"{label:34} published {printed:+6.2f}   ours {words}")

# %%
for (method, word), count in sorted(verdicts.items()):
    print(f"{method_style(method)['label']}: {word} in {count} entries")

# %% [markdown]
# On MNIST, SH-BDNN leads its table at every length by more than the error, also against an SDH that starts better than the published one; by that alone its lead at 8 bits shrinks from 16 to 6 points, hardly more than the error. On the CNN features of CIFAR-10 it leads by two to four times the published margin. UH-BDNN leads on MNIST at 24 bits, by half of the published margin; at 32 bits its mean is the highest, by 0.7 over SH and 0.8 over BA, but the runs do not decide against BA; at 8 bits BA is as good, and at 16 KMH. It is not UH-BDNN that is worse than published, it is the baselines that are better: ITQ by one point at 32 bits (and SH, if the 36.69 is no misprint), BA by two, KMH by three at 24. In mAP, the curves above, UH-BDNN is first on MNIST from 24 bits on, and level with BA at 16. On SIFT it leads at 8, 16 and 24 bits, by four points at 16 and by nearly six at 24; at 32 bits its three runs differ by six points and are behind ITQ in the mean. On HOG it leads at 8, 16 and 24 bits, by two points at 24, and is behind BA and ITQ at 32.
#
# So the size of a lead rests on the baselines as much as on the method. And on the weights: on the CNN features UH-BDNN with the weights of the paper falls behind ITQ, from whose codes it starts, at 24 and 32 bits. The input is divided by one number, the largest range of a dimension. That leaves pixels with a mean square of the size that the weights were chosen for; of principal components, whose ranges differ by orders of magnitude, it leaves next to nothing to reconstruct, and the terms of the code layer, which do not shrink with it, take over. Equality is as large as the reconstruction at 24 bits, where on MNIST it is a two-hundredth of it. Divide all weights by fifty:

# %%
weaker = {"lambda1": 2e-7, "lambda2": 1e-3, "lambda3": 2e-4, "lambda4": 2e-8}
shown = [("mnist", "the paper's weights", {}), ("cifar10", "the paper's weights", {})]
for data, name, settings in [*shown, ("cifar10", "a fiftieth of each", weaker)]:
    for row in runs("UHBDNN", data, 24, settings)[:1]:
        kept = max(row["history"], key=lambda entry: entry["score"])
        share = kept["equality"] / kept["reconstruction"]
        print(f"{TITLES[data]:13} {name:20} equality {share:5.3f} of the reconstruction, ", end="")
        print(f"P@r=2 {row['precision_at_2']:5.2f} %, mAP {row['map_trapezoid']:5.2f} %")

# %% [markdown]
# That is five points of precision, from behind ITQ to before it (KMH stays ahead). With the paper's weights the validation of this seed does not rise, and training stops after three updates; the other two seeds rise slowly and end no better. With the lighter weights it rises over fourteen rounds. (One run with one seed; fifty is about the ratio of the two mean squares, and no other factor was tried.) The features and the scaling of the paper's runs on CIFAR-10 are not known, so this does not explain its figures. With vectors of your own, look at the terms in `history_`: where reconstruction is not by far the largest, the weights are too large for your data.
#
# BA has such a weight, too. On HOG, on the CNN features and, but for a tenth of a point at 16 bits, on SIFT our BA ends where it starts, at ITQ. Its reconstruction errors there are a fifteenth to a sixtieth of those on MNIST, so the weight is a likely reason; a lighter one was not tried.
#
# ## Precision-recall curves
#
# Precision within radius 2 is one point. The rows also carry precision and recall for every radius (Eqs. (9) and (14) of notebook 02), so the whole curve can be drawn. At 32 bits, one seed:


# %%
def curve(method, data, bits):
    """Precision and recall by radius, of a run that recorded them."""
    for row in paper_rows:
        place = (row["method"], row["data"], row["bits"])
        if place == (method, data, bits) and not changes(row) and "recall_by_radius" in row:
            return row["recall_by_radius"], row["precision_by_radius"]
    return None


# %%
def draw_curves(ax, data, methods):
    for method in methods:
        if found := curve(method, data, 32):
            recall, precision = found
            _ = ax.plot(recall, precision, **method_style(method) | {"markersize": 3})
            _ = ax.plot(recall[2], precision[2], "o", ms=9, mfc="none", color="black")
    _ = ax.set(xlabel="recall (%)", xlim=0)


# %%
with_curves = [(data, ms) for data, ms in panels if any(curve(m, data, 32) for m in ms)]
save_figure(panelled(draw_curves, "precision (%)", with_curves), "15_precision_recall")

# %% [markdown]
# Rings mark radius 2, the point of the tables. On MNIST it is about where precision peaks at 32 bits: smaller balls are too often empty, larger ones less pure. And it is one point on quite different curves. SH and ITQ have nearly the same precision there, 37.7 and 37.1 %; but ITQ has found a fifth of all neighbours and SH a twelfth, and for every larger recall ITQ is far ahead. A table of precision at radius 2 does not show that; the mAP does.
#
# ## What the figures cost
#
# Processor seconds of training (they sum over threads, and do not count what other programs took), of encoding the database, and what training allocated at most, on MNIST, one core. (Rows that were recorded before processor time was have the seconds by the clock.)


# %%
def cost(method, bits):
    rows = runs(method, "mnist", bits)
    keys = ("fit_cpu_seconds", "encode_seconds", "peak_mb")
    rows = [
        row | {"fit_cpu_seconds": row.get("fit_cpu_seconds", row["fit_seconds"])} for row in rows
    ]
    return [np.median([row[key] for row in rows]) if rows else np.nan for key in keys]


# %%
print("32 bits         fit s  encode s  peak MB")
for method in DEFAULTS:
    seconds, encode, memory = cost(method, 32)
    print(f"{method_style(method)['label']:13} {seconds:7.1f}  {encode:8.2f}  {memory:7.0f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.8), sharey=True)
for ax, methods in zip(axes, (UNSUPERVISED, SUPERVISED)):
    for method in methods:
        draw(ax, LENGTHS, [cost(method, L)[0] for L in LENGTHS], method)
    _ = ax.set(xlabel="bits", yscale="log")
    ax.grid(axis="y")
_ = axes[0].set(ylabel="seconds of training, MNIST")
for ax, where in zip(axes, ("lower left", "lower left")):
    _ = ax.legend(loc=where, bbox_to_anchor=(0, 1.02), ncols=3, fontsize=8, borderaxespad=0)
save_figure(fig, "15_seconds")

# %% [markdown]
# UH-BDNN and SH-BDNN take five to two hundred times as long to train as the methods without a network, DH and its supervised variant one and a half to forty times, and once trained they encode as fast as ITQ: three small matrix products. The kernel methods are the reverse, cheap to train and slow to encode, since every new vector is compared with a thousand anchors.
#
# ## How to state a result
#
# How much of a figure is the method, and how much the way of counting? We train two codes on `mnist5k` here and now, ITQ and UH-BDNN with 16 bits, and change one rule at a time. What everything is measured against: held-out queries, 50 Euclidean neighbours, standard form of AP over the whole database, ties in database order, an empty ball counts 0.

# %%
dataset = load("mnist5k")
X, Q, y = dataset.train, dataset.query, dataset.labels
models = {
    "ITQ": bdnn.ITQ(16, random_state=0).fit(X),
    "UH-BDNN": bdnn.UHBDNN(16, max_alternations=3, random_state=0).fit(X),
}
codes_of = {name: (model.transform(Q), model.transform(X)) for name, model in models.items()}


# %%
def both(codes_query, codes_database, relevant, **options):
    """mAP and precision within radius 2, in percent."""
    mAP = metrics.mean_average_precision(codes_query, codes_database, relevant, **options)
    return 100 * np.array([mAP, metrics.precision_at_radius(codes_query, codes_database, relevant)])


effects = {}


# %%
def under(rule, name, values):
    """Note what a rule makes of the codes of a method."""
    effects.setdefault(rule, {})[name] = np.asarray(values, dtype=float)


for name, codes in codes_of.items():
    under("as stated", name, both(*codes, dataset.relevant))

# %% [markdown]
# **The split.** Queries that are a part of the database, and of the training set, find themselves first. Then the honest case, another random split of the same images:

# %%
inside = X[:1000]
for name, model in models.items():
    codes = model.transform(inside), codes_of[name][1]
    relevant = nearest_neighbours(inside, X, 50)
    under("queries from the database", name, both(*codes, relevant))

# %%
other = load("mnist5k", seed=1)
for name, model in models.items():
    again = type(model)(**model.get_params()).fit(other.train)
    codes = again.transform(other.query), again.transform(other.database)
    under("another random split", name, both(*codes, other.relevant))

# %% [markdown]
# **The ground truth.** Ten times more neighbours, or the class:

# %%
many = with_ground_truth(dataset, "knn", 500).relevant
for name, codes in codes_of.items():
    under("500 neighbours", name, both(*codes, many))
    under("the class", name, both(*codes, (y.query, y.database)))

# %% [markdown]
# **Form of AP, ties, depth.** The trapezoid form; ties in expectation over their orders; and AP over the first 100 of the ranking only, divided by the number of relevant items found there (so that what is not found costs nothing), as several programs have it:


# %%
def cut_average_precision(codes, relevant, depth):
    """Mean AP over the first items of the ranking, as a share of the relevant ones among them."""
    D = metrics.hamming_distances(*codes)
    total = 0.0
    for d, right in zip(D, relevant):
        order = np.argsort(d, kind="stable")[:depth]
        rank = 1 + np.flatnonzero(np.isin(order, right))
        total += np.mean(np.arange(1, len(rank) + 1) / rank) if len(rank) else 0.0
    return total / len(D)


# %%
for name, codes in codes_of.items():
    under("trapezoid form", name, both(*codes, dataset.relevant, form="trapezoid"))
    under("expected ties", name, both(*codes, dataset.relevant, ties="expected"))
    cut = 100 * cut_average_precision(codes, dataset.relevant, 100)
    under("AP of the first 100", name, (cut, np.nan))

# %% [markdown]
# **A sorted database.** Many files hold one class after the other. With ties in database order, and the class as ground truth, that alone changes the mAP:

# %%
by_class = np.argsort(y.database, kind="stable")
for name, (q, codes) in codes_of.items():
    labels = y.query, y.database[by_class]
    under("the class, database sorted by it", name, both(q, codes[by_class], labels))

# %% [markdown]
# **Empty balls.** Left out of the mean, or all hits of all queries over all items in their balls:


# %%
def pooled_precision(codes, relevant):
    """Hits of all queries together, over the sizes of all their balls."""
    ball = metrics.hamming_distances(*codes) <= 2
    hits = sum(ball[query, right].sum() for query, right in enumerate(relevant))
    return hits / ball.sum()


# %%
for name, codes in codes_of.items():
    left_out = metrics.precision_at_radius(*codes, dataset.relevant, empty=np.nan)
    under("empty balls left out", name, (np.nan, 100 * left_out))
    under("pooled", name, (np.nan, 100 * pooled_precision(codes, dataset.relevant)))

# %% [markdown]
# **The size of the database**, half of it; and **chance**, another seed of the method:

# %%
half = nearest_neighbours(Q, X[::2], 50)
for name, (q, codes) in codes_of.items():
    under("half the database", name, both(q, codes[::2], half))
    seeded = models[name].__class__(**models[name].get_params() | {"random_state": 1}).fit(X)
    seeded = seeded.transform(Q), seeded.transform(X)
    under("another seed", name, both(*seeded, dataset.relevant))

# %% tags=["nbval-ignore-output"]
print("                                        mAP %                  P@r=2 %")
print("                                     ITQ  UH-BDNN           ITQ  UH-BDNN")
for rule, by_method in effects.items():
    (a, p), (b, q) = by_method["ITQ"], by_method["UH-BDNN"]
    print(f"{rule:34} {a:6.2f}   {b:6.2f}        {p:6.2f}   {q:6.2f}")

# %%
BASE = {name: values for name, values in effects["as stated"].items()}
AGAINST = {"the class, database sorted by it": "the class"}  # all others: as stated
SHIFTS = {
    rule: np.array(
        [by_method[name] - effects[AGAINST.get(rule, "as stated")][name] for name in BASE]
    )
    for rule, by_method in effects.items()
    if rule != "as stated"
}
GAP = BASE["UH-BDNN"] - BASE["ITQ"]

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 4.6), sharey=True)
for k, (ax, what) in enumerate(zip(axes, ("mAP", "precision at radius 2"))):
    for i, (name, marker) in enumerate(zip(BASE, "os")):
        shifts = [shift[i, k] for shift in SHIFTS.values()]
        _ = ax.plot(shifts, range(len(shifts)), marker, label=name, mfc="none" if i else None)
    ax.axvspan(-abs(GAP[k]), abs(GAP[k]), color=COLOURS["sky"], alpha=0.3, lw=0)
    _ = ax.set(xlabel=f"change of {what} (points)", xscale="symlog")
    ax.set_xticks([-30, -10, -3, -1, 0, 1, 3, 10, 30], "-30 -10 -3 -1 0 1 3 10 30".split())
    ax.grid(axis="x")
_ = axes[0].set_yticks(range(len(SHIFTS)), list(SHIFTS))
axes[0].invert_yaxis()
_ = axes[0].legend()
save_figure(fig, "15_rules")

# %% tags=["nbval-ignore-output"]
size = {rule: np.nanmax(np.abs(shift)) for rule, shift in SHIFTS.items()}
assert size["the class"] > 20 and size["500 neighbours"] > 15
assert size["half the database"] > 10 and size["pooled"] > 3
assert 0.2 < size["trapezoid form"] < 2
assert size["expected ties"] < 0.5 < size["the class, database sorted by it"]
larger = [rule for rule, points in size.items() if points > max(abs(GAP))]
assert len(larger) > len(size) / 2
print("more than half of the rules move a figure further than UH-BDNN differs from ITQ here")

# %% [markdown]
# Each row is one rule; to the right a figure gains by it, to the left it loses. The band is as wide as the difference of UH-BDNN and ITQ, which is what one would like to see. The ground truth alone moves a figure by tens of points, the size of the database by ten or more, the depth of AP by ten; whether ties are broken in order or in expectation hardly matters for a shuffled database, and does for a sorted one. At 16 bits few balls of 4,000 items are empty, so the rule for them is worth little here; at 32 bits it is worth tens of points (notebook 02). And another seed or split moves ITQ by more than the two methods differ in mAP.
#
# Nearly all rules move both codes the same way, but not equally far. As stated UH-BDNN is ahead by half a point of precision, under another random split by nearly five, with another seed by more than three; in mAP it is a little behind here and ahead under the other split. So even under one protocol, one split and one seed do not rank two methods that are a few points apart, and figures from two papers do so still less.
#
# ## What labels are worth
#
# What the parts of UH-BDNN are worth, notebook 08 measures, with three seeds for each change. Here is one question more: what are labels worth?
#
# SH-BDNN from 5,000 labelled images, drawn in proportion to the classes, instead of 60,000. Database and queries stay whole:


# %%
def rows_from(n_train, bits):
    """Runs of SH-BDNN on MNIST from so many training images, one for each seed."""
    split = f"{n_train} train, 60000 database"
    rows = [
        row
        for row in recorded
        if (row["method"], row["data"], row["bits"]) == ("SHBDNN", "mnist", bits)
        and (row["split"], row["ground_truth"]) == (split, "labels")
        and not changes(row)
    ]
    latest = max((row["revision"] for row in rows), default=0)
    return list({row["seed"]: row for row in rows if row["revision"] == latest}.values())


# %%
print("SH-BDNN, MNIST  " + "".join(f"{f'{L} bits':>12}" for L in LENGTHS))
for n_train in (5_000, 60_000):
    found = [[row["precision_at_2"] for row in rows_from(n_train, L)] for L in LENGTHS]
    print(f"{n_train:6,} images   " + "".join(spread(figures, 7) for figures in found))

# %% [markdown]
# With a twelfth of the labels SH-BDNN loses seven to nine points: so much are labels worth beyond the first 500 of each class.
#
# ## What we have now
#
# | what | where |
# |---|---|
# | every run, with what made it | `notebooks/results/*.jsonl` |
# | all of them from nothing, or what is missing | `course.py run --paper`, `--plan` |
# | rows, and the revision of each method | `bdnn.course.records` |
#
# A sentence that states one entry so that others can compare: "MNIST, 60,000 training images as database, the 10,000 test images as queries, 50 Euclidean neighbours relevant, UH-BDNN with 24 bits and default settings: precision within radius 2, macro mean, empty balls 0, and mAP in the trapezoid form over the whole database with ties in database order; mean and deviation over the seeds 0, 1, 2."
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** Two means differ by one point. When does this page call one method better?
#
# <details><summary>Answer</summary>
#
# When the difference exceeds twice its standard error over the seeds, Eq. (1). Otherwise the pair has no order, and both methods get an interval of ranks.
#
# </details>
#
# **Question 2.** Why is spectral hashing a good test of the protocol?
#
# <details><summary>Answer</summary>
#
# It draws nothing at random, so its figures must come out digit by digit if data, ground truth and measure are the same. They do at 8, 16 and 24 bits on MNIST; at 32 bits the difference is exactly one, in all likelihood a misprint.
#
# </details>
#
# **Question 3.** Our features of CIFAR-10 come from another network than those of the paper. What may still be compared?
#
# <details><summary>Answer</summary>
#
# Shapes and gaps, not heights. The vectors are different, so a figure that is higher or lower says nothing about the method.
#
# </details>
#
# **Question 4.** Two codes have nearly the same precision within radius 2. Are they equally good?
#
# <details><summary>Answer</summary>
#
# Not necessarily. It is one point on a curve. At 32 bits SH and ITQ nearly agree in it, but ITQ has found a fifth of all neighbours and SH a twelfth, and for every larger recall ITQ is far ahead. The mAP shows it.
#
# </details>
#
# **Question 5.** A colleague reports a far higher mAP for the same method on the same images. What do you ask first?
#
# <details><summary>Answer</summary>
#
# The ground truth, the size of the database and the depth of AP: each moves a figure by ten points or more. Then the split, the form of AP, the rule for empty balls and, for a sorted database, the rule for ties.
#
# </details>
#
# ## Exercises
#
# **15.1** (in code) How many seeds would it take to tell UH-BDNN from ITQ at 32 bits on MNIST with Eq. (1), if both had the deviations that the rows show and the true difference were the published one?
#
# <details><summary>Hint</summary> Set $n_a=n_b=n$ in Eq. (1) and solve for $n$. ITQ alone has a deviation of some tenths of a point. </details>
#
# **15.2** (on paper, then in code) Codes of coin tosses: $N$ items, $k$ of them relevant to a query, $L$ bits. What is the expected precision within radius 2, with empty balls as 0? From which length on does it fall? Check with random codes.
#
# <details><summary>Hint</summary> Each item is in the ball with the same probability $p=(1+L+\binom L2)/2^L$, relevant or not. Given that the ball is not empty, every item in it is relevant with probability $k/N$. </details>
#
# **15.3** (in code) Eq. (1) sees the seeds and not the queries. Another ten thousand queries would give other figures, too. Estimate the standard error of precision within radius 2 over the queries for ITQ with 16 bits on `mnist5k`: for one seed, and for the difference of two seeds. Why is the second smaller than two errors that know nothing of each other would make it?
#
# <details><summary>Hint</summary> The precision of each query comes from distances and relevance; the difference is taken query by query. </details>
#
# **15.4** (in code) A rank table can be summed up as the mean rank over all entries, or as the mean precision. Do the two agree on the order of the unsupervised methods, in the published Table 1?
#
# <details><summary>Hint</summary> Which entries decide a mean of precisions, those with 8 or those with 32 bits? </details>
#
# Solutions: `solutions/15_solutions`.
#
# ## Further reading
#
# * Do, Doan and Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016, the section on experiments: the published figures.
# * Demšar, *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 2006: ranks over data sets, and tests for them.
# * Musgrave, Belongie and Lim, *A Metric Learning Reality Check*, ECCV 2020: what remains of published progress when all methods get the same protocol.
# * Notebook 02 for the measures, notebooks 08 to 12 for the methods and their departures from the papers.
