"""Logs and metrics, with the names that the rest of the world uses.

Logs are JSON lines on stdout in the shape of the OpenTelemetry log model, with the ids of their `trace`. Metrics follow
its HTTP conventions as Prometheus spells them.

A log line that can't be written (the disk is full, the reader of the pipe is gone) is lost and counted: no request
fails because of its log.
"""

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping
from itertools import accumulate
from typing import Any

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from amana.infra.lossy import LINES_DROPPED, Lossy
from amana.infra.trace import current_trace

DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""What Prometheus is shown."""
_DECADE = (100, 125, 160, 200, 250, 320, 400, 500, 600, 750, 900)
FINE_BUCKETS_US = (*(step * 10**power for power in range(5) for step in _DECADE), 10_000_000)
"""What is counted, in microseconds: 11 buckets to a decade from 0.1 ms to 10 s, none wider than 28 % of where it
begins. Every bound that Prometheus is shown is among them."""
_FINE_BUCKETS_S = tuple(bound / 1_000_000 for bound in FINE_BUCKETS_US)
_FINEST_S = _FINE_BUCKETS_S[0]
_SHOWN = tuple(_FINE_BUCKETS_S.index(bound) for bound in DURATION_BUCKETS_S)
METRICS_MEDIA_TYPE = CONTENT_TYPE_LATEST


class Durations(Collector):
    """A histogram of seconds that only the loop's own thread writes: nothing is locked, so that it costs a tenth of
    `prometheus_client.Histogram`, which would be a seventh of a hot request's time."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._series: dict[tuple[str, ...], Series] = {}
        REGISTRY.register(self)

    def series(self, *values: str) -> "Series":
        """What is observed under these values of the labels; worth keeping."""
        assert len(values) == len(self._labels), "one value for each label"
        return self._series.setdefault(values, Series())

    def all_series(self) -> list[tuple[tuple[str, ...], "Series"]]:
        """Every (values of the labels, series) so far."""
        return list(self._series.items())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, series in self.all_series():
            family.add_metric(values, series.cumulated(), series.total_s)
        yield family


class Series:
    """One line of a histogram: how many observations fell in each fine bucket, and the sum of those.

    The last bucket is for what is longer than every bound.
    """

    __slots__ = ("counts", "totals_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_FINE_BUCKETS_S) + 1)
        self.totals_s = [0.0] * (len(_FINE_BUCKETS_S) + 1)

    def observe(self, seconds: float) -> None:
        """Adds one."""
        bucket = bisect_left(_FINE_BUCKETS_S, seconds) if seconds > _FINEST_S else 0
        self.counts[bucket] += 1
        self.totals_s[bucket] += seconds

    @property
    def total_s(self) -> float:
        """The sum of all."""
        return sum(self.totals_s)

    def cumulated(self) -> list[tuple[str, float]]:
        """(upper bound, how many are at most that) for the bounds that are shown, the last without bound."""
        until = list(accumulate(self.counts))
        shown = [(str(float(bound)), until[at]) for bound, at in zip(DURATION_BUCKETS_S, _SHOWN, strict=True)]
        return [*shown, ("+Inf", until[-1])]


REQUEST_DURATION = Durations(
    "http_server_request_duration_seconds",
    "Time to answer an HTTP request.",
    ("http_request_method", "http_route", "http_response_status_code"),
)
BUILD_INFO = Gauge("amana_build_info", "Always 1; the labels say what runs.", ("service", "version"))

_SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}


class _Least:
    """The least that is logged; before logging is configured everything is."""

    severity = 0


_least = _Least()


def render_metrics() -> bytes:
    """Every metric of this process in Prometheus' text format, to be served as `METRICS_MEDIA_TYPE`."""
    return generate_latest(REGISTRY)


def configure_logging(service: str, level: str = "info") -> None:
    """JSON lines on stdout from structlog and, in the same shape, warnings and worse from the standard library."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    _least.severity = _SEVERITY.get(logging.getLevelName(number).lower(), _SEVERITY["info"])
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _shaped(service), _encoded],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Loggers(Lossy(sys.stdout.buffer)),
        cache_logger_on_first_use=True,
    )
    handler = _Forward()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def is_logged(level: str) -> bool:
    """Whether anything of this level is written, for those who would work for it. Asking a logger takes ten times as
    long."""
    return _SEVERITY[level] >= _least.severity


def logger(name: str) -> Any:
    """A structlog logger; `name` is the module's. Pass figures and codes as keywords, never personal data."""
    return structlog.get_logger(logger_name=name)


class _Loggers:
    def __init__(self, file: Lossy) -> None:
        self._logger = structlog.BytesLogger(file)  # type: ignore[arg-type] # it needs `write` and `flush` only

    def __call__(self, *_names: Any) -> structlog.BytesLogger:
        return self._logger


class _Forward(logging.Handler):
    """Hands records of libraries that use the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        try:
            logger(record.name).log(record.levelno, record.getMessage(), exc_info=error)
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A record that can't be told, such as one whose arguments do not fit its message, is dropped too."""
        LINES_DROPPED.inc()


def _shaped(service: str) -> structlog.types.Processor:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp")

    def shape(target: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        level = {"warn": "warning", "exception": "error", "msg": "info"}.get(method, method)
        shaped: dict[str, Any] = {
            "severity_text": level,
            "severity_number": _SEVERITY.get(level, 9),
            "body": event.pop("event", ""),
            "service.name": service,
        }
        if trace := current_trace():
            shaped |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        return stamp(target, method, shaped | dict(event))

    return shape


def _encoded(_target: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
    """One line: JSON escapes every control character, so that no value can forge a second one."""
    try:
        return msgspec.json.encode(event, enc_hook=str)
    except (ValueError, OverflowError):  # half a surrogate pair, a number beyond JSON's
        return msgspec.json.encode({name: _ascii(value) for name, value in event.items()})


def _ascii(value: Any) -> str:
    return str(value).encode("ascii", "backslashreplace").decode()
