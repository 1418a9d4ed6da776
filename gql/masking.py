"""What leaves the server when something went wrong: a stable code, a sentence, and nothing that is ours to keep."""

import re
import secrets
import traceback
from typing import Any

import structlog
from graphql import GraphQLError
from structlog.typing import FilteringBoundLogger

from quittance.domain.errors import QuittanceError, RateLimited

Problem = dict[str, Any]
"""One entry of ``errors`` in a response; ``extensions.code`` is always there."""

INTERNAL = "INTERNAL"
PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT = "BAD_USER_INPUT"
BAD_REQUEST = "BAD_REQUEST"

_MESSAGE_MAX = 300
_VARIABLE = re.compile(r"^Variable '(\$\w+)' has invalid value((?: at [.\w\[\]]+)?)")
_ARGUMENT = re.compile(r"^Argument '(\w+)' (?:has invalid value|of required type)")
_EXPECTED_TYPE = re.compile(r"of (?:non-null )?type '([\w!\[\]]+)'")
_REQUIRED_FIELD = re.compile(r"required field '(\w+)'")


class RequestRefused(Exception):
    """The request is not executed; ``problems`` say why, ready to be sent."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0]["message"])
        self.problems = problems

    @property
    def code(self) -> str:
        return str(self.problems[0]["extensions"]["code"])


def refused(message: str, code: str) -> RequestRefused:
    return RequestRefused([problem(message, code)])


def problem(message: str, code: str, **extensions: object) -> Problem:
    return {"message": message, "extensions": {"code": code, **extensions}}


def problem_of(error: QuittanceError) -> Problem:
    """Return what an expected error tells."""
    told = problem(error.message, error.code, retryable=error.retryable)
    if isinstance(error, RateLimited):
        told["extensions"]["retryAfterSeconds"] = error.retry_after_s
    return told


def document_problem(error: GraphQLError, code: str) -> Problem:
    """Return what is wrong with a document: its message only quotes the document itself."""
    return _located(error, problem(error.message[:_MESSAGE_MAX], code))


def variable_problem(error: GraphQLError) -> Problem:
    """Return which variable is wrong and what was expected, without the value: it may be a secret."""
    found = _VARIABLE.match(error.message)
    if found is None:
        return _located(error, problem("The variables could not be read.", BAD_USER_INPUT))
    message = f"Variable '{found[1]}' has an invalid value{found[2]}"
    if missing := _REQUIRED_FIELD.search(error.message):
        message += f"; the field '{missing[1]}' is required"
    elif expected := _EXPECTED_TYPE.search(error.message):
        message += f"; a value of type '{expected[1]}' is expected"
    return _located(error, problem(f"{message}.", BAD_USER_INPUT))


def field_problem(error: GraphQLError, *, log: FilteringBoundLogger) -> Problem:
    """Return what a failed field tells: an expected error its code, a bug nothing but the request's id.

    A bug is logged once, with its traceback and without variables.
    """
    cause = error.original_error
    if isinstance(cause, QuittanceError):
        return _located(error, problem_of(cause))
    if error.extensions and isinstance(error.extensions.get("code"), str):
        return _located(error, {"message": error.message, "extensions": dict(error.extensions)})
    argument = _ARGUMENT.match(error.message)
    if argument is not None and (cause is None or isinstance(cause, GraphQLError)):
        return _located(error, problem(f"Argument '{argument[1]}' has an invalid value.", BAD_USER_INPUT))
    return _located(error, unexpected(cause or error, log=log, path=error.path))


def unexpected(error: BaseException, *, log: FilteringBoundLogger, path: object = None) -> Problem:
    """Log a bug and return the mask that stands for it."""
    request_id = current_request_id()
    told = "".join(traceback.format_exception(error))  # rendered here: a pretty renderer would print local variables
    log.error("unexpected error", request_id=request_id, path=path, exception=told)
    return problem("Unexpected error.", INTERNAL, requestId=request_id)


def current_request_id() -> str:
    """Return the id bound to this request's log lines, or a fresh one."""
    bound = structlog.contextvars.get_contextvars().get("request_id")
    return bound if isinstance(bound, str) else secrets.token_hex(8)


def _located(error: GraphQLError, told: Problem) -> Problem:
    if error.locations:
        told["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        told["path"] = list(error.path)
    return told
