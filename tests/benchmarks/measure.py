"""Ratios of times that a machine's other work does not spoil: both sides in turn, pair by pair."""

import gc
import statistics
import time
from dataclasses import asdict, dataclass, field

from threadpoolctl import ThreadpoolController

ENOUGH = 0.5, 50  # seconds in all, or pairs: then a ratio of short calls is stable
SETTLED = 0.1  # seconds after which the threads of another library have stopped to wait busily


@dataclass
class Row:
    """One line of the table: a figure, its goal, and what was measured."""

    group: str
    what: str  # what is compared
    case: str  # sizes and precision
    value: float  # the median
    goal: float | None = None
    at_least: bool = False  # whether larger is better
    core: bool = False  # whether `--quick` measures it
    spread: tuple = ()  # the smallest and the largest ratio
    seconds: float | None = None  # the median time of ours
    sizes: dict = field(default_factory=dict)

    @property
    def met(self):
        """True if the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def record(self):
        """The row as a JSON object."""
        return {**asdict(self), "met": self.met}


class Stopwatch:
    """Times functions: processor time on one thread, which other programs do not lengthen."""

    def __init__(self, threads=1, repetitions=7):
        self.clock = time.process_time if threads == 1 else time.perf_counter
        self.threads, self.repetitions = threads, repetitions
        self.blas = ThreadpoolController().select(user_api="blas")

    def time(self, call):
        """Seconds that one call takes, and what it returns."""
        started = self.clock()
        result = call()
        return self.clock() - started, result

    def steadily(self, call):
        """Seconds that one call takes; of several threads when only its own are running.

        Threads that share a product wait busily for the next one, and would take their share of
        the processor from the other side of a comparison. So that side goes on until they sleep.
        """
        if self.threads > 1:
            started = self.clock()
            while self.clock() - started < SETTLED:
                call()
        return self.time(call)[0]

    def reference(self, call):
        """Seconds that one call of a reference takes, whose products may share the threads."""
        with self.blas.limit(limits=self.threads):
            return self.steadily(call)

    def pairs(self, ours, reference, repetitions=None):
        """Times (ours, reference) of calls in turn, after one call of each that does not count.

        At least `repetitions` of them, and more where the calls are short and on one thread.
        """
        ours(), reference()
        gc.collect()
        times, (seconds, most) = [], ENOUGH if self.threads == 1 else (0, 0)
        while len(times) < (repetitions or self.repetitions) or (
            len(times) < most and sum(map(sum, times)) < seconds
        ):
            times.append((self.steadily(ours), self.reference(reference)))
        return times

    def ratio(self, group, what, case, ours, reference, repetitions=None, **options):
        """A row with the median of time(ours) / time(reference); with `at_least` the inverse."""
        pairs = self.pairs(ours, reference, repetitions)
        ratios = sorted(b / a if options.get("at_least") else a / b for a, b in pairs)
        return Row(
            group,
            what,
            case,
            statistics.median(ratios),
            spread=(ratios[0], ratios[-1]),
            seconds=statistics.median(a for a, _ in pairs),
            **options,
        )
