"""The schema: each role may do what it must and no more."""

import asyncpg
import pytest

from amana.infra.settings import Settings

FORBIDDEN = """
    eligibility | UPDATE decisions SET amount = 1
    eligibility | DELETE FROM decisions
    eligibility | UPDATE policies SET version = 9
    eligibility | UPDATE policy_steps SET valid_from = now()
    eligibility | DELETE FROM policy_steps
    eligibility | DELETE FROM policy_products
    eligibility | DELETE FROM outbox
    eligibility | DELETE FROM customers
    eligibility | UPDATE stream SET last_position = 9
    eligibility | INSERT INTO positions VALUES (1, 1)
    eligibility | SELECT * FROM transactions.loans
    eligibility | UPDATE reviews SET actor = 'nobody'
    eligibility | DELETE FROM reviews
    eligibility | UPDATE review_words SET reason = ''
    eligibility | DELETE FROM appeals
    relay       | SELECT * FROM customers
    relay       | SELECT * FROM review_words
    relay       | SELECT * FROM decisions
    relay       | DELETE FROM outbox
"""


@pytest.mark.parametrize("line", FORBIDDEN.strip().splitlines())
async def test_a_role_may_do_no_more_than_it_must(settings: Settings, line: str) -> None:
    role, statement = (part.strip() for part in line.split("|"))
    url = {"eligibility": settings.eligibility_database_url, "relay": settings.relay_database_url}[role]
    connection = await asyncpg.connect(url, server_settings={"search_path": "eligibility"})
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()
