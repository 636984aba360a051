"""Replies to plain questions, in bytes: what they say of a customer is rendered once for all of whom it is true.

A reply begins with the decision's id and ends with its age; what stands between them (outcome, limit, price, reasons,
policy) follows from the standing of the verdict, of which there are few, from the amount, of which a lender's menu has
few, and from the policy's version: one document has another number at every lender. It is taken out of the reply that
the long way makes, so that both ways say the same.
"""

import msgspec

from amana.domain.decision import CompiledPolicy, Verdict
from amana.eligibility import views
from amana.eligibility.answers import Asked, Quotable, quoted
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Kept
from amana.eligibility.policies import Policies
from amana.eligibility.records import Check
from amana.wire.eligibility import CheckRequest

PARTS_MAX = 20_000
"""Rendered parts that are kept, some 600 bytes each; the one made first goes first."""

_ID = b'{"decision_id":'
_BEGIN = len(_ID + b'"00000000-0000-0000-0000-000000000000"')
_END = b',"as_of":'
_TAIL = b',"source":"%b","offer":null,"replayed":false,"degraded":%b}'
_MEMORY = {False: _TAIL % (b"memory", b"false"), True: _TAIL % (b"memory", b"true")}
_CACHE = {False: _TAIL % (b"cache", b"false"), True: _TAIL % (b"cache", b"true")}
_FRESH = {False: _TAIL % (b"fresh", b"false"), True: _TAIL % (b"fresh", b"true")}
"""By whether it is `degraded`."""
_encode = msgspec.json.Encoder().encode


class Quotes:
    """The replies of one process."""

    def __init__(self, flow: Flow, parts_max: int = PARTS_MAX) -> None:
        self._policies: Policies = flow.policies
        self._memory = flow.cache.memory
        self._parts_max = parts_max
        self._parts: dict[tuple[int, int, int, int | None, str | None], bytes] = {}

    def reply(self, tenant: int, asked: CheckRequest, now_us: int) -> bytes | None:
        """The bytes of the `CheckView` that answers a plain question at `now_us`, microseconds since 1970, where memory
        has it; else None, and the flow knows why."""
        if asked.id is not None or asked.as_of is not None or asked.terms is not None:
            return None
        known = self._policies.known(tenant, asked.product)
        if known is None:
            return None
        policy, is_recent = known
        kept = self._memory.kept((tenant, asked.product, asked.customer.int), policy.hash)
        if kept is None or policy.document.currency is not asked.currency:
            return None
        return self._whole(policy, kept, asked, now_us, _MEMORY[not is_recent])

    def told(self, asked: Check, found: Quotable, now_us: int) -> bytes:
        """The same for a plain question that memory did not answer."""
        tail = (_CACHE if found.computed is None else _FRESH)[found.degraded]
        return self._whole(found.policy, found.kept, asked, now_us, tail)

    def _whole(
        self, policy: CompiledPolicy, kept: Kept, asked: CheckRequest | Check, now_us: int, tail: bytes
    ) -> bytes:
        part = self._parts.get((kept.standing, policy.version, asked.amount, asked.term_days, asked.network))
        if part is None:
            part = self._part(policy, kept.verdict, kept.standing, (asked.amount, asked.term_days, asked.network))
        age_ms = (now_us - kept.at_us) // 1_000 if now_us > kept.at_us else 0
        return b"".join((_ID, kept.id, part, kept.as_of, b',"age_ms":%d' % age_ms, tail))

    def _part(self, policy: CompiledPolicy, verdict: Verdict, standing: int, asked: Asked) -> bytes:
        """Takes it out of a whole reply, whose age does not matter."""
        answer = quoted(policy, verdict, asked, "memory", degraded=False)
        whole = _encode(views.check_view(answer, verdict.assessed_at))
        if len(self._parts) >= self._parts_max:
            self._parts.pop(next(iter(self._parts)))
        part = self._parts[standing, policy.version, *asked] = whole[_BEGIN : whole.rindex(_END) + len(_END)]
        return part
