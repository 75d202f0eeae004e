-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.exports, bulkhead.sources, bulkhead.access_tokens IN ACCESS EXCLUSIVE MODE;

-- What a server says of itself in its smart-configuration, or else in its CapabilityStatement. A token_url that a user gave wins.
ALTER TABLE bulkhead.sources
    ADD COLUMN token_endpoint   text,
    ADD COLUMN scopes_supported text[] NOT NULL DEFAULT '{}',
    ADD COLUMN capabilities     text[] NOT NULL DEFAULT '{}',
    -- Also when it said nothing; it is asked again a day later.
    ADD COLUMN discovered_at    timestamptz;

-- A source without a token_url is one whose server is asked for it.
ALTER TABLE bulkhead.sources DROP CONSTRAINT sources_check2;
ALTER TABLE bulkhead.sources ADD CONSTRAINT sources_smart_has_client CHECK (auth <> 'smart' OR client_id <> '');

-- What the token was asked for; `scope` is what was granted. Exports of other types ask for more, never for less.
ALTER TABLE bulkhead.access_tokens ADD COLUMN asked text;

-- What was granted when the export was asked for: finish compares it with the types.
ALTER TABLE bulkhead.exports ADD COLUMN granted_scope text;
