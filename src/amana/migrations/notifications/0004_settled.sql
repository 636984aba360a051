-- Requests and letters that were settled long ago may go, when the settings say so; a guard lets nothing else go.

-- What was settled first: which of it is old enough.
CREATE INDEX requests_settled ON notifications.requests (settled_at) WHERE settled_at IS NOT NULL;
-- The same of letters.
CREATE INDEX consumer_letters_settled ON notifications.consumer_letters (consumer, settled_at)
  WHERE state IN ('done', 'discarded');

-- A week is longer than the wait of any sender, and than anything is still worth telling.
CREATE FUNCTION notifications.refuse_early_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM gone WHERE settled_at IS NULL OR settled_at > clock_timestamp() - interval '7 days') THEN
    RAISE EXCEPTION 'table % keeps what is not settled, or not for a week', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER requests_kept AFTER DELETE ON notifications.requests
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_early_loss();
CREATE TRIGGER consumer_letters_kept AFTER DELETE ON notifications.consumer_letters
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_early_loss();

GRANT DELETE ON notifications.requests, notifications.consumer_letters TO amana_notifications;
