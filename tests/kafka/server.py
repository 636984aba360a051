"""A real Apache Kafka: one process in KRaft mode on loopback, from its published jars.

It has a listener in the clear and one with TLS where `USER` signs in. What it was told is on disk, and survives a
restart unless it is made to forget.
"""

import asyncio
import base64
import datetime as dt
import ipaddress
import os
import shutil
import uuid
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from amana.infra.embedded.ports import LOOPBACK, find_free, listens
from amana.infra.embedded.process import Process
from amana.infra.kafka import Brokers

USER, PASSWORD, MECHANISM = "amana", "for the tests", "SCRAM-SHA-512"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
JVM = ("-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{clear},SASL_SSL://{host}:{secured},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{clear},SASL_SSL://{host}:{secured}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms={mechanism}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
log.dirs={folder}/data
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class ApacheKafka:
    """As `amana.infra.embedded.broker.Broker`: `start()`, `bootstrap`, `stop()`; and `secured`, the other listener."""

    def __init__(self, jars: Path, folder: Path, log: Path) -> None:
        self._folder = folder
        self._clear, self._secured, self._controller = find_free(3)
        self.bootstrap = f"{LOOPBACK}:{self._clear}"
        self.ca_file = folder / "server.crt"
        self._java = [shutil.which("java") or "java", *JVM, "-cp", f"{jars}/*"]
        self._properties = folder / "server.properties"
        command = [*self._java, "kafka.Kafka", str(self._properties)]
        environ = {"PATH": os.defpath, "LC_ALL": "C"}
        self.process = Process(
            "Apache Kafka", command, log, environ=environ, folder=folder, stop_timeout_s=STOP_TIMEOUT_S
        )

    @property
    def secured(self) -> Brokers:
        """The listener with TLS and a password."""
        address = f"{LOOPBACK}:{self._secured}"
        return Brokers(address, "sasl_ssl", MECHANISM, USER, PASSWORD, str(self.ca_file))

    async def start(self) -> None:
        """Start and wait until it accepts connections. `ServerError` with the end of its log when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.ca_file.exists():
            make_certificate(self._folder)
            self._properties.write_text(
                PROPERTIES.format(
                    host=LOOPBACK,
                    clear=self._clear,
                    secured=self._secured,
                    controller=self._controller,
                    mechanism=MECHANISM,
                    folder=self._folder,
                )
            )
        if not (self._folder / "data").exists():
            await self._format()
        self.process.start()
        for port in (self._clear, self._secured):
            await self.process.wait_ready(partial(listens, port), START_TIMEOUT_S)

    async def stop(self) -> None:
        """Stop within bounds; what it holds stays."""
        await self.process.stop()

    def forget(self) -> None:
        """While it is stopped: begin empty at the next start."""
        shutil.rmtree(self._folder / "data")

    async def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        user = f"{MECHANISM}=[name={USER},password={PASSWORD}]"
        tool = [
            *self._java,
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster}",
            "-c",
            str(self._properties),
        ]
        process = await asyncio.create_subprocess_exec(
            *tool, "--add-scram", user, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(START_TIMEOUT_S):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()


def make_certificate(folder: Path) -> None:
    """A certificate for loopback that vouches for itself: `server.crt`, and with its key `server.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.pem").write_bytes(key.private_bytes(*form) + certificate)
