"""Ratios of times that a machine's other work does not spoil: both sides in turn, pair by pair."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

ENOUGH = 0.5, 50  # seconds in all, or pairs: then a ratio of short calls is stable


@dataclass
class Row:
    """One line of the table: a ratio and its goal, which is not to be exceeded."""

    what: str  # what is compared
    case: str  # sizes and precision
    value: float  # the median of the ratios
    goal: float
    spread: tuple = ()  # the smallest and the largest ratio
    seconds: float | None = None  # the median time of ours
    sizes: dict = field(default_factory=dict)

    @property
    def met(self):
        """True if the goal is met."""
        return self.value <= self.goal

    def record(self):
        """The row as a JSON object."""
        return {**asdict(self), "met": self.met}


@dataclass
class Case:
    """What is timed: our call and that of a reference, which does the same work."""

    what: str
    case: str
    ours: Callable
    reference: Callable
    goal: float
    sizes: dict = field(default_factory=dict)

    def row(self, clock, repetitions):
        """Measure the ratio of the times of ours and of the reference."""
        pairs = list(self.pairs(clock, repetitions))
        ratios = sorted(a / b for a, b in pairs)
        spread, seconds = (ratios[0], ratios[-1]), statistics.median(a for a, _ in pairs)
        middle = statistics.median(ratios)
        return Row(self.what, self.case, middle, self.goal, spread, seconds, self.sizes)

    def pairs(self, clock, repetitions):
        """Times of calls in turn, after one of each that does not count."""
        self.ours(), self.reference()
        gc.collect()
        total, n = 0.0, 0
        while n < repetitions or (total < ENOUGH[0] and n < ENOUGH[1]):
            times = [seconds(clock, call) for call in (self.ours, self.reference)]
            total, n = total + sum(times), n + 1
            yield times


def seconds(clock, call):
    """How long a call takes."""
    started = clock()
    call()
    return clock() - started


def the_clock(threads):
    """Processor time on one thread, which other programs do not lengthen; else that of the wall."""
    return time.process_time if threads == 1 else time.perf_counter
