"""How Strike says no (sheet 1.5)."""

from collections.abc import Mapping
from typing import Any, Final

INVALID_DATA: Final = "INVALID_DATA"
REQUIRED: Final = "INVALID_DATA_REQUIRED"
TOO_SHORT: Final = "INVALID_DATA_MINLENGTH"
TOO_LONG: Final = "INVALID_DATA_MAXLENGTH"
BAD_VALUE: Final = "INVALID_DATA_VALUE"
BAD_CURRENCY: Final = "INVALID_DATA_CURRENCY"

FieldErrors = Mapping[str, list[dict[str, str]]]


class Refused(Exception):
    """A call that Strike does not obey. Only a caller whom it does not know gets no trace id."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        values: Mapping[str, str] | None = None,
        fields: FieldErrors | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.values = values
        self.fields = fields

    def body(self, *, trace_id: str) -> dict[str, Any]:
        """Return what is answered."""
        data: dict[str, Any] = {"status": self.status, "code": self.code, "message": self.message}
        if self.values is not None:
            data["values"] = dict(self.values)
        if self.fields is not None:
            data["validationErrors"] = dict(self.fields)
        return {"data": data} if self.status == 401 else {"traceId": trace_id, "data": data}


class Blocked(Exception):
    """A call that the edge in front of Strike answers: 403 and a page."""


def not_found() -> Refused:
    return Refused(404, "NOT_FOUND", "Resource not found.")


def unprocessable(code: str, message: str, *, values: Mapping[str, str] | None = None) -> Refused:
    return Refused(422, code, message, values=values)


def invalid(fields: FieldErrors) -> Refused:
    return Refused(400, INVALID_DATA, "Request data is invalid.", fields=fields)


def invalid_field(name: str, message: str, *, code: str = BAD_VALUE) -> Refused:
    return invalid({name: [{"code": code, "message": message}]})


def invalid_query(message: str) -> Refused:
    return Refused(400, "INVALID_DATA_QUERY", message)
