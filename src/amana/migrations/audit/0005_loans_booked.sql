-- The event that booked a loan, by the loan: the trail of metrics asks for the product of each loan that it meets.
-- Partial, because few events book a loan; without it every page of the trail read the whole log.
CREATE INDEX leaves_loans_booked ON audit.leaves (tenant, aggregate_id) WHERE type = 'LoanBooked';
