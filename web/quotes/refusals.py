"""A refused quote as an HTTP error, or as one of many answers."""

from aiohttp import web

from protocols.quotes.order import LiquidityEnds, QuoteRefused
from tables.views.envelope import Envelope
from web.answers import encoded_answer, joined
from web.errors import ErrorAnswer


def unprocessable(envelope: Envelope, refused: QuoteRefused) -> web.Response:
    """With the envelope: at another block it may be known."""
    response = encoded_answer(joined(envelope, refusal_answer(refused)))
    response.set_status(422)
    return response


def refusal_answer(refused: QuoteRefused) -> ErrorAnswer:
    if isinstance(refused, LiquidityEnds):
        return ErrorAnswer(
            str(refused),
            reason=refused.kind,
            most_amount_in=str(refused.most_amount_in),
            most_amount_out=str(refused.most_amount_out),
        )
    return ErrorAnswer(str(refused), reason=refused.kind)
