"""Replies from memory, in bytes: what they say of a customer is rendered once for all customers of whom it is true.

A reply begins with the decision's id and ends with its age; what stands between them (outcome, limit, price, reasons,
policy) follows from the standing of the verdict, of which there are few, and from the amount, of which a lender's menu
has few. It is taken out of the reply that the long way makes, so that both ways say the same.
"""

from datetime import datetime

import msgspec

from amana.eligibility import views
from amana.eligibility.flow import Asked, Flow, quoted
from amana.eligibility.policies import Policies
from amana.wire.eligibility import CheckRequest

PARTS_MAX = 20_000
"""Rendered parts that are kept, some 600 bytes each; the one made first goes first."""

_BEGIN = len('{"decision_id":"00000000-0000-0000-0000-000000000000"')
_END = b',"as_of":'
_TAIL = b',"source":"memory","offer":null,"replayed":false,"degraded":'
_TAILS = {False: _TAIL + b"false}", True: _TAIL + b"true}"}
_encode = msgspec.json.Encoder().encode


class Quotes:
    """The replies of one process."""

    def __init__(self, flow: Flow, parts_max: int = PARTS_MAX) -> None:
        self._policies: Policies = flow.policies
        self._memory = flow.cache.memory
        self._parts_max = parts_max
        self._parts: dict[tuple[int, Asked], bytes] = {}

    def reply(self, tenant: int, asked: CheckRequest, now: datetime) -> msgspec.Raw | None:
        """The bytes of the `CheckView` that answers a plain question, where memory has it; else None, and the flow
        knows why."""
        if asked.id is not None or asked.as_of is not None or asked.terms is not None:
            return None
        known = self._policies.known(tenant, asked.product)
        if known is None:
            return None
        policy, is_recent = known
        kept = self._memory.kept((tenant, asked.product, asked.customer.int), policy.hash)
        if kept is None or policy.document.currency is not asked.currency:
            return None
        verdict = kept.verdict
        what = kept.standing, (asked.amount, asked.term_days, asked.network)
        part = self._parts.get(what)
        if part is None:
            answer = quoted(policy, verdict, what[1], "memory", degraded=False)
            part = self._part(what, _encode(views.check_view(answer, now)))
        age = now - verdict.assessed_at
        age_ms = max(0, age.days * 86_400_000 + age.seconds * 1_000 + age.microseconds // 1_000)
        whole = (
            b'{"decision_id":',
            _encode(verdict.decision_id),
            part,
            _encode(verdict.assessed_at),
            b',"age_ms":%d' % age_ms,
            _TAILS[not is_recent],
        )
        return msgspec.Raw(b"".join(whole))

    def _part(self, what: tuple[int, Asked], whole: bytes) -> bytes:
        if len(self._parts) >= self._parts_max:
            self._parts.pop(next(iter(self._parts)))
        part = self._parts[what] = whole[_BEGIN : whole.rindex(_END) + len(_END)]
        return part
