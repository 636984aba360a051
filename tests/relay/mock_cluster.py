"""Brokers that fail as they are told to: librdkafka's own mock cluster, which speaks the protocol on loopback.

The Python package carries the library but no way to the cluster, so it is called through ctypes. It keeps messages in
memory, and knows how to produce, fetch and describe; topics are made when they are first asked for.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
from confluent_kafka import KafkaError

PRODUCE = 0
"""The number of the request in the protocol."""
ALL_BROKERS = -1


def _library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    (file,) = package.parent.glob("confluent_kafka.libs/librdkafka-*.so*")
    library = ctypes.CDLL(str(file))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockCluster:
    """`bootstrap`, and ways to go wrong."""

    def __init__(self, library: ctypes.CDLL, cluster: ctypes.c_void_p) -> None:
        self._library = library
        self._cluster = cluster
        self.bootstrap: str = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def answer(self, error: int, times: int) -> None:
        """The next requests to produce get this error."""
        errors = (ctypes.c_int * times)(*[error] * times)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(PRODUCE), ctypes.c_size_t(times), errors
        )

    def answer_well(self) -> None:
        """Whatever errors are still to come do not."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(PRODUCE))

    def slow_down(self, round_trip_ms: int) -> None:
        """Every answer takes so long."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, ctypes.c_int32(ALL_BROKERS), round_trip_ms)

    def go_down(self) -> None:
        """No broker listens."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, ctypes.c_int32(ALL_BROKERS))

    def come_up(self) -> None:
        """They listen again, with what they had."""
        self._library.rd_kafka_mock_broker_set_up(self._cluster, ctypes.c_int32(ALL_BROKERS))


@contextmanager
def mock_cluster(brokers: int = 1) -> Iterator[MockCluster]:
    """So many brokers, until the end of the block."""
    library = _library()
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    client = ctypes.c_void_p(library.rd_kafka_new(0, conf, error, ctypes.c_size_t(len(error))))
    assert client.value, error.value
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, brokers))
    assert cluster.value, "no mock cluster"
    try:
        yield MockCluster(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


NOT_ENOUGH_REPLICAS = KafkaError.NOT_ENOUGH_REPLICAS
