"""A process of its own that is flooded for a while: `quota_process.py URL RATE BURST SECONDS`.

Prints when it began and ended (monotonic seconds, the same for all processes of this machine) and what it admitted.
"""

import asyncio
import sys
import time

from tests.gateway.quota_world import a_key

from amana.gateway.quota import Quotas
from amana.infra.cache import Cache

ATTEMPTS = 3


async def main(url: str, rate: int, burst: int, seconds: float) -> None:
    quotas = Quotas(Cache(url, deadline_ms=2_000), replicas=3)
    stored = a_key(rate, burst, key_id="threeprocess")
    began_s = time.monotonic()
    admitted = 0
    while time.monotonic() < began_s + seconds:
        admitted += sum(quotas.take(stored) is None for _ in range(ATTEMPTS))
        await asyncio.sleep(0.002)
    sys.stdout.write(f"{began_s} {time.monotonic()} {admitted} {int(quotas.away)}\n")
    await quotas.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
