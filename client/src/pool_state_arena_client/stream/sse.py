"""Server-sent events out of lines, as the HTML standard has them. No I/O."""

from typing import NamedTuple


class ServerEvent(NamedTuple):
    kind: str
    data: str
    id: str


class EventParser:
    """Takes one line at a time, without its end; the id of an event stays until another one is named."""

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._id = ""
        self._kind = ""
        self._data: list[str] = []

    def line(self, line: str) -> ServerEvent | None:
        """An event where the line ends one; events without data are none."""
        if not line:
            return self._dispatched()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value)
        return None

    def _dispatched(self) -> ServerEvent | None:
        event = ServerEvent(self._kind or "message", "\n".join(self._data), self._id) if self._data else None
        self._kind, self._data = "", []
        return event
