"""How old an answer may be, and whether the client has it already."""

from aiohttp import ETag, web

from tables.views.envelope import Envelope
from web.errors import ErrorAnswer, HttpError
from web.parameters import MAX_AGE_S


def check_age(request: web.Request, envelope: Envelope) -> None:
    """Raises HttpError 503 where the answer is older than `?max_age_s=` allows."""
    most_s = MAX_AGE_S.read(request)
    if most_s is None or (envelope.age_s is not None and envelope.age_s <= most_s):
        return
    if envelope.block is None or envelope.age_s is None:
        sentence = f"no block of {envelope.chain} has come yet, so no answer is at most {most_s:g} s old"
    else:
        sentence = (
            f"the answer is as of block {envelope.block.number} of {envelope.chain}, {envelope.age_s:.1f} s ago; "
            f"at most {most_s:g} s are asked for"
        )
    raise HttpError(503, sentence, ErrorAnswer(sentence, age_s=envelope.age_s))


def etag_of(envelope: Envelope, status: str) -> ETag | None:
    """None before the first block. Weak, because `age_s` and the encoding differ between equal answers."""
    return ETag(f"{envelope.block.hash}-{status}", is_weak=True) if envelope.block else None


def not_modified(request: web.Request, etag: ETag | None) -> web.Response | None:
    """The answer 304, where the request says that the client has this one."""
    known = request.if_none_match or ()
    if etag is None or not any(each.value in (etag.value, "*") for each in known):
        return None
    response = web.Response(status=304)
    response.etag = etag
    return response
