"""What can go wrong with a node: it gives no answer, or it answers with an error."""


class RpcError(Exception):
    """The node answered, with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class NodeUnavailable(Exception):
    """No answer: connection refused or closed, HTTP 5xx, time-out, or an answer that is not one."""
