"""One order of many on its way through its pools: which swap is next, and the answer in the end."""

from collections.abc import Mapping

from protocols.quotes.order import RefusalKind
from protocols.types import PoolId
from tables.views.quote import PathQuoteView, QuoteView, path_view
from web.errors import ErrorAnswer
from web.quotes.orders import Path
from web.quotes.parts import Hop, HopResult


class Broken(Exception):
    """The pools of a path do not join."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(answer.error)
        self.answer = answer


class PathProgress:
    """An exact input goes through the pools in their order, an exact output from the last one backwards."""

    def __init__(self, path: Path, tokens: Mapping[PoolId, tuple[str, str]]) -> None:
        """`tokens`: of listed pools."""
        self._path = path
        self._amount = str(path.swap.amount)
        self._results: list[HopResult] = []
        self._error: ErrorAnswer | None = None
        self._inputs: list[str] = []
        try:
            self._inputs = _inputs(path, tokens)
        except Broken as broken:
            self._error = broken.answer

    @property
    def hop(self) -> Hop | None:
        """The next swap; None where all are done or one is refused."""
        done, swap = len(self._results), self._path.swap
        if self._error or done == len(self._path.pools):
            return None
        number = len(self._path.pools) - 1 - done if swap.exact_out else done
        limit = None if swap.price_limit is None else str(swap.price_limit)
        return Hop(self._path.pools[number], self._inputs[number], self._amount, swap.exact_out, limit)

    def take(self, result: HopResult) -> None:
        """Of the hop."""
        self._results.append(result)
        if result.view:
            self._amount = result.view.amount_in if self._path.swap.exact_out else result.view.amount_out
        else:
            self._error = result.refusal

    @property
    def answer(self) -> QuoteView | PathQuoteView | ErrorAnswer:
        if self._error:
            return self._error
        results = self._results[::-1] if self._path.swap.exact_out else self._results
        views = [result.view for result in results if result.view]
        return path_view(views, [result.ratio for result in results]) if self._path.is_path else views[0]


def _inputs(path: Path, tokens: Mapping[PoolId, tuple[str, str]]) -> list[str]:
    """The token that goes into each pool. Raises Broken."""
    token, found = path.swap.token_in, []
    for pool in path.pools:
        pair = tokens.get(pool)
        if pair is None:
            raise Broken(ErrorAnswer(f"{pool} is not on the whitelist", reason=RefusalKind.UNKNOWN_POOL))
        if token not in pair:
            sentence = f"{token} is not a token of {pool}: those are {' and '.join(pair)}"
            raise Broken(ErrorAnswer(sentence, reason=RefusalKind.TOKEN))
        found.append(token)
        token = pair[1] if token == pair[0] else pair[0]
    return found
