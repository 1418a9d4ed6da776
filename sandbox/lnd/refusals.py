"""How a node says no: LND's code and LND's words."""

import grpc


class Refused(Exception):
    """A call that a node does not obey. Plain Go errors travel as UNKNOWN."""

    def __init__(self, text: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
