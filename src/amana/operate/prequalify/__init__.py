"""`amana eligibility prequalify`: every customer of a lender, decided in one go, as a file of what could be offered."""
