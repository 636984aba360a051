"""The lender's own record of a customer: all of it, and what of it decisions see."""

from datetime import date
from enum import StrEnum

import msgspec


class Employment(StrEnum):
    """How a customer earns a living."""

    PERMANENT = "permanent"
    CONTRACT = "contract"
    SELF_EMPLOYED = "self_employed"
    STUDENT = "student"
    UNEMPLOYED = "unemployed"
    RETIRED = "retired"


class CustomerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the lender recorded about a customer; income in kobo. Holds personal data: it never enters an event.

    `bvn` and `nin` are 11 digits, `nuban` (an account at the bank of `bank_code`) 10, `phone` is in E.164.
    """

    kyc_tier: int
    birth_date: date | None = None
    employment: Employment | None = None
    monthly_income: int | None = None
    bank_code: str | None = None
    nuban: str | None = None
    phone: str | None = None
    bvn: str | None = None
    nin: str | None = None
    blocked: bool = False

    def profile(self) -> "Profile":
        """What decisions see of it."""
        return Profile(
            kyc_tier=self.kyc_tier,
            birth_date=self.birth_date,
            employment=self.employment,
            monthly_income=self.monthly_income,
            bank_known=self.bank_code is not None,
            bvn_known=self.bvn is not None,
            nin_known=self.nin is not None,
            blocked=self.blocked,
        )


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions see of a customer's record. Of what identifies them: the birth date, for the age."""

    kyc_tier: int
    birth_date: date | None
    employment: Employment | None
    monthly_income: int | None
    bank_known: bool
    bvn_known: bool
    nin_known: bool
    blocked: bool
