"""A refused quote as an HTTP error, or as one of many answers."""

from protocols.quotes.order import LiquidityEnds, QuoteRefused
from web.errors import ErrorAnswer, HttpError


def unprocessable(refused: QuoteRefused) -> HttpError:
    return HttpError(422, str(refused), refusal_answer(refused))


def refusal_answer(refused: QuoteRefused) -> ErrorAnswer:
    if isinstance(refused, LiquidityEnds):
        return ErrorAnswer(
            str(refused),
            reason=refused.kind,
            most_amount_in=str(refused.most_amount_in),
            most_amount_out=str(refused.most_amount_out),
        )
    return ErrorAnswer(str(refused), reason=refused.kind)
