-- A settled request that is about to be deleted is out of sight first, and only then it is asked whom a legal hold
-- keeps: so a hold that was acknowledged keeps all that was there to be seen at that moment.

ALTER TABLE notifications.requests
  ADD COLUMN leaving uuid,            -- what leaves together: only who put it out of sight deletes it
  -- Since when it is out of sight. After a minute that is over, and the row is as before: who deletes may have died.
  ADD COLUMN leaving_at timestamptz;

-- What leaves together is deleted together; partial, because hardly any row leaves.
CREATE INDEX requests_leaving ON notifications.requests (leaving) WHERE leaving IS NOT NULL;

CREATE FUNCTION notifications.refuse_sudden_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM gone WHERE leaving IS NULL) THEN
    RAISE EXCEPTION 'table % keeps what was in sight until now', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER requests_left_first AFTER DELETE ON notifications.requests
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_sudden_loss();
