"""What can go wrong between client and server; all are an ArenaError, whose message is a sentence."""


class ArenaError(Exception):
    """The base of all errors of this package."""


class Unreachable(ArenaError):
    """The server does not answer, or what answers is not a server of Pool State Arena."""


class Refused(ArenaError):
    """The server answers with an error."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{sentence} (status {status})")
        self.status = status


class NotFound(Refused):
    """Status 404: no such pool, or no such block in memory; then `first` and `last` are the blocks that are."""

    def __init__(self, status: int, sentence: str, first: int | None = None, last: int | None = None) -> None:
        super().__init__(status, sentence)
        self.first, self.last = first, last


class NotNow(Refused):
    """Status 503: ask again. `age_s` is given where the newest answer is older than was asked for."""

    def __init__(self, status: int, sentence: str, age_s: float | None = None) -> None:
        super().__init__(status, sentence)
        self.age_s = age_s


class StreamClosed(ArenaError):
    """The server ends the stream and says why, as for a reader that is too slow."""


class BrokenChain(ArenaError):
    """An event does not follow from the ones before it."""


class NotInStep(ArenaError):
    """The mirror is not known to equal the server's state: it has no snapshot yet, or lost the stream."""


class NotInstalled(ArenaError):
    """A library that the answer was to be turned into is missing."""

    def __init__(self, library: str) -> None:
        super().__init__(f"{library} is not installed: pip install pool-state-arena-client[{library}]")
