"""Whether brokers share a group's partitions among its members, found out by what they can do.

Apache Kafka does; the embedded broker (Tansu 0.6) takes part in the protocol, but a member may wait for ever to join. A
broker that coordinates groups has a setting for how long it lets the first members gather, and tells it to who asks;
the embedded one has no such setting. Where the question is not allowed (it needs DescribeConfigs on the cluster) the
answer is no: then every member reads everything, which costs more and loses nothing.
"""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # public, not in __all__

from amana.infra.kafka_client import ADMIN_TIMEOUT_S, Bootstrap, KafkaUnavailable, common

TELLING_SETTING = "group.initial.rebalance.delay.ms"


def coordinates_groups(bootstrap: Bootstrap) -> bool:
    """Asks one broker. Blocks; raises `KafkaUnavailable` when none answers."""
    admin = AdminClient(common(bootstrap))
    try:
        nodes = admin.describe_cluster(request_timeout=ADMIN_TIMEOUT_S).result().nodes
    except KafkaException as error:
        raise KafkaUnavailable(f"the cluster: {error}") from error
    broker = ConfigResource(ResourceType.BROKER, str(nodes[0].id))
    try:
        settings = admin.describe_configs([broker], request_timeout=ADMIN_TIMEOUT_S)[broker].result()
    except KafkaException:
        return False
    return TELLING_SETTING in settings
