"""The one table of errors to gRPC status codes with google.rpc details, and the gate that every call passes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from livemos.agent.errors import BundleError, CapacityError, ConfigError, LivemosError, MediaError, MissingExtraError
from livemos.agent.servers.errors import LimitError, NotServingError, RequestError, UnknownSourceError

DOMAIN = "livemos"
RETRY_SECONDS = 1.0

Context = grpc.aio.ServicerContext[Any, Any]
_log = logging.getLogger(__name__)


def _bad_request(error: Exception) -> list[Message]:
    field = error.field if isinstance(error, RequestError) else "audio"
    problem = error.problem if isinstance(error, RequestError) else str(error)
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
    return [error_details_pb2.BadRequest(field_violations=[violation])]


def _resource(error: Exception) -> list[Message]:
    name = error.source_id if isinstance(error, UnknownSourceError) else ""
    return [error_details_pb2.ResourceInfo(resource_type="livemos.Source", resource_name=name, description=str(error))]


def _quota(error: Exception) -> list[Message]:
    subject = error.subject if isinstance(error, LimitError) else DOMAIN
    violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=str(error))
    quota: Message = error_details_pb2.QuotaFailure(violations=[violation])
    # what is too long once is too long again: nothing tells its sender to try it again
    return [quota] if isinstance(error, LimitError) and not error.passes else [quota, _retry(RETRY_SECONDS)]


def _precondition(error: Exception) -> list[Message]:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=type(error).__name__.removesuffix("Error").upper(), subject=DOMAIN, description=str(error)
    )
    return [error_details_pb2.PreconditionFailure(violations=[violation])]


def _unavailable(error: Exception) -> list[Message]:
    return [_retry(error.retry_seconds if isinstance(error, NotServingError) else RETRY_SECONDS)]


def _internal(error: Exception) -> list[Message]:
    return [error_details_pb2.ErrorInfo(reason="INTERNAL_ERROR", domain=DOMAIN)]


def _retry(seconds: float) -> Message:
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    info: Message = error_details_pb2.RetryInfo(retry_delay=delay)
    return info


class _Answer(NamedTuple):
    error: type[Exception]
    code: int
    details: Callable[[Exception], list[Message]]


# the first row that fits answers; the last one stands for every bug
_ANSWERS = (
    _Answer(RequestError, code_pb2.INVALID_ARGUMENT, _bad_request),
    _Answer(MediaError, code_pb2.INVALID_ARGUMENT, _bad_request),
    _Answer(UnknownSourceError, code_pb2.NOT_FOUND, _resource),
    _Answer(CapacityError, code_pb2.RESOURCE_EXHAUSTED, _quota),
    _Answer(NotServingError, code_pb2.UNAVAILABLE, _unavailable),
    _Answer(BundleError, code_pb2.FAILED_PRECONDITION, _precondition),
    _Answer(ConfigError, code_pb2.FAILED_PRECONDITION, _precondition),
    _Answer(MissingExtraError, code_pb2.FAILED_PRECONDITION, _precondition),
    _Answer(Exception, code_pb2.INTERNAL, _internal),
)


def status_of(error: Exception) -> status_pb2.Status:
    """The status a caller gets for an error. A bug shows its kind alone; its text may hold what callers may not see."""
    answer = next(answer for answer in _ANSWERS if isinstance(error, answer.error))
    text = str(error) if isinstance(error, LivemosError) else f"a bug in livemos ({type(error).__name__}); see its log"
    status = status_pb2.Status(code=answer.code, message=text)
    for detail in answer.details(error):
        status.details.add().Pack(detail)
    return status


class Gate:
    """Whether calls are served: not before the model is warm, nor once the server drains. Used on its loop alone."""

    def __init__(self) -> None:
        self.serving = False
        self.draining = False

    def check(self) -> None:
        """Raises NotServingError."""
        if self.draining:
            raise NotServingError("the server is about to stop; try again later or elsewhere", RETRY_SECONDS)
        if not self.serving:
            raise NotServingError("the model is warming up; try again in a second", RETRY_SECONDS)

    @asynccontextmanager
    async def answering(self, context: Context) -> AsyncIterator[None]:
        """Everything a handler does happens inside: it is let in, and what it raises becomes a status with details."""
        try:
            self.check()
            yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            if context.done():
                return  # the caller has gone in the middle of a write: nobody is left to tell
            if not isinstance(error, LivemosError):
                _log.exception("a gRPC handler raised")
            await _abort(context, status_of(error))


async def _abort(context: Context, status: status_pb2.Status) -> NoReturn:
    answer = rpc_status.to_status(status)
    metadata: Iterable[tuple[str, str | bytes]] = answer.trailing_metadata or ()
    await context.abort(answer.code, answer.details or "", tuple(metadata))
