"""Trace context and log lines."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from amana.domain.reasons import REFUSALS, Reason
from amana.infra.lossy import Lossy
from amana.infra.trace import Trace, next_span, parse_traceparent
from amana.wire.problems import TYPE_PREFIX, problem

A, B = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

HEADERS = f"""
00-{A}-{B}-01       | good
00-{A}-{B}-00       | good
cc-{A}-{B}-01-more  | good
00-{A}-{B}-01-more  | bad
ff-{A}-{B}-01       | bad
00-{"0" * 32}-{B}-01 | bad
00-{A}-{"0" * 16}-01 | bad
00-{A.upper()}-{B}-01 | bad
00-{A}-{B}          | bad
"""


@pytest.mark.parametrize("line", HEADERS.strip().splitlines())
def test_traceparent_is_read_as_w3c_says(line: str) -> None:
    header, verdict = (part.strip() for part in line.split("|"))
    assert (parse_traceparent(header) is not None) == (verdict == "good")


def test_a_span_stays_in_its_trace() -> None:
    parent = Trace(A, B, "00")
    child = next_span(parent)
    assert (child.trace_id, child.flags) == (A, "00") and child.span_id != B
    assert parse_traceparent(child.header()) == child
    assert next_span(None).trace_id != next_span(None).trace_id


PROGRAM = """
import logging
from amana.infra.telemetry import configure_logging, logger
from amana.infra.trace import Trace, enter_trace
configure_logging("example", "info")
enter_trace(Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"))
log = logger("amana.example")
log.debug("hidden")
log.info("forged\\n{}", value="\\u202e\\r\\n", count=3)
logging.getLogger("library").warning("careful %s", 1)
log.info("half a pair", value="\\ud800")
try:
    1 / 0
except ZeroDivisionError as error:
    log.error("broken", exc_info=error)
"""


def test_every_log_line_is_one_json_object() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(line["severity_text"], line["body"]) for line in lines] == [
        ("info", "forged\n{}"),
        ("warning", "careful 1"),
        ("info", "half a pair"),
        ("error", "broken"),
    ]
    assert all(line["service.name"] == "example" and line["trace_id"] == A for line in lines)
    assert lines[2]["value"] == "\\ud800"
    assert lines[0]["count"] == 3 and lines[0]["timestamp"].endswith("Z")
    assert "ZeroDivisionError" in lines[3]["exception"]


FULL_DISK = """
import logging, sys
from amana.infra.telemetry import configure_logging, logger, render_metrics
configure_logging("example", "info")
for _ in range(300):
    logger("amana.example").warning("unavailable", detail="x" * 100)
logging.getLogger("library").warning("careful")
logging.getLogger("library").warning("%d", "no number")
sys.stderr.buffer.write(render_metrics())
"""


def test_a_log_on_a_full_disk_loses_lines_counts_them_and_raises_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([sys.executable, "-c", FULL_DISK], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 0
    assert b"\namana_log_lines_dropped_total 302.0\n" in ran.stderr and b"Traceback" not in ran.stderr


class Tearing(io.RawIOBase):
    """A file whose disk is full after `room` bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""

    def write(self, data: Any) -> int:
        taken = bytes(data)[: self.room]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += taken
        self.room -= len(taken)
        return len(taken)


def test_a_line_after_a_torn_one_stands_on_its_own() -> None:
    file = Tearing(room=5)
    writer = Lossy(cast(BinaryIO, file))
    writer.write(b"first line\n")
    file.room = 100
    writer.write(b"second line\n")
    assert file.content == b"first\nsecond line\n"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_problem(reason: Reason) -> None:
    made = problem(reason)
    assert (made.type, made.status) == (TYPE_PREFIX + reason, REFUSALS[reason].status)
    assert made.detail == REFUSALS[reason].meaning and made.title
