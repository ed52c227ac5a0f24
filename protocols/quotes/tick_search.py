"""Where a swap's next step ends: the next initialised tick, or the end of a word of the tick bitmap.

The contracts step from word to word also where no tick is, and round at each step; so quotes must do the same.
"""

from bisect import bisect_left, bisect_right

from protocols.ticks import MAX_TICK, MIN_TICK, Ticks

Step = tuple[int, int | None]
"""The tick where the step ends, and its liquidity_net; None for a tick that is not initialised."""


class TickSearch:
    """Searches by bisection in the words that swaps reach; what is sorted once serves later searches."""

    def __init__(self, ticks: Ticks) -> None:
        self._spacing = ticks.spacing
        self._parts = ticks.parts
        self._sorted: dict[int, list[int]] = {}
        self._words: list[int] | None = None

    def below(self, tick: int) -> Step:
        """At or below the tick, in its word."""
        word = tick // self._spacing >> 8
        if word in self._parts:
            ticks = self._sorted.get(word) or self._sort(word)
            index = bisect_right(ticks, tick)
            if index:
                found = ticks[index - 1]
                return found, self._parts[word][found].net
        return max(MIN_TICK, (word << 8) * self._spacing), None

    def above(self, tick: int) -> Step:
        """Above the tick, in the word of the next one."""
        word = tick // self._spacing + 1 >> 8
        if word in self._parts:
            ticks = self._sorted.get(word) or self._sort(word)
            index = bisect_right(ticks, tick)
            if index < len(ticks):
                found = ticks[index]
                return found, self._parts[word][found].net
        return min(MAX_TICK, ((word << 8) + 255) * self._spacing), None

    def next_below(self, tick: int) -> Step:
        """At or below the tick, in any word; MIN_TICK where there is none."""
        found = self.below(tick)
        if found[1] is None:
            words = self._all_words()
            index = bisect_left(words, tick // self._spacing >> 8)
            return self.below(self._sort(words[index - 1])[-1]) if index else (MIN_TICK, None)
        return found

    def next_above(self, tick: int) -> Step:
        """Above the tick, in any word; MAX_TICK where there is none."""
        found = self.above(tick)
        if found[1] is None:
            words = self._all_words()
            index = bisect_right(words, tick // self._spacing + 1 >> 8)
            return self.above(self._sort(words[index])[0] - 1) if index < len(words) else (MAX_TICK, None)
        return found

    def is_first_of_word(self, tick: int) -> bool:
        return tick % (self._spacing << 8) == 0

    def outermost(self) -> tuple[int, int] | None:
        """The lowest and the highest initialised tick; None where there is none."""
        words = self._all_words()
        return (self._sort(words[0])[0], self._sort(words[-1])[-1]) if words else None

    def _sort(self, word: int) -> list[int]:
        found = self._sorted.get(word)
        if found is None:
            found = self._sorted[word] = sorted(self._parts[word])
        return found

    def _all_words(self) -> list[int]:
        if self._words is None:
            self._words = sorted(self._parts)
        return self._words
