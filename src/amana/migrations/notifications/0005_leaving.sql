-- A settled request that is about to be deleted is out of sight first, and only then it is asked whom a legal hold
-- keeps: so a hold that was acknowledged keeps all that was there to be seen at that moment.

-- Since when it is out of sight. After a minute that is over, and the row is as before: who deletes may have died.
ALTER TABLE notifications.requests ADD COLUMN leaving_at timestamptz;

-- What leaves at one instant: it is deleted together.
CREATE INDEX requests_leaving ON notifications.requests (leaving_at) WHERE leaving_at IS NOT NULL;

CREATE FUNCTION notifications.refuse_sudden_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM gone WHERE leaving_at IS NULL) THEN
    RAISE EXCEPTION 'table % keeps what was in sight until now', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER requests_left_first AFTER DELETE ON notifications.requests
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION notifications.refuse_sudden_loss();
