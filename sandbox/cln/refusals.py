"""How a Core Lightning node says no."""

from typing import Final

GENERIC: Final = -1
PLUGIN: Final = -3
NO_SUCH_CALL: Final = -32_601
WRONG_PARAMETERS: Final = -32_602
DESTINATION_REFUSED: Final = 203
NO_ROUTE: Final = 205
TOO_EXPENSIVE: Final = 206
INVOICE_EXPIRED: Final = 207
NO_FUNDS: Final = 215
ALREADY_PAID: Final = 219
LABEL_EXISTS: Final = 900
PREIMAGE_EXISTS: Final = 901
WAIT_TIMED_OUT: Final = 904
NOT_FOUND: Final = 905
OTHER_STATUS: Final = 906
NOT_AUTHORIZED: Final = 1_501
NOT_PERMITTED: Final = 1_502


class Refused(Exception):
    """A call that the node does not obey: its code and its words. Without a code, clnrest could not ask it."""

    def __init__(self, code: int | None, text: str, *, status: int = 500) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status
