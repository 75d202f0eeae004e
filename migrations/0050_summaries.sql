-- What the data page shows of an export, summed up once after its end in a compact form: for each code the people who have it, the days
-- and the values, as arrays. A chart reads a few megabytes of them instead of gigabytes of resources, and its numbers are exact.
-- Only workers write it (stage `summarise`), whole and in one transaction; it goes with its export.
CREATE TABLE bulkhead.summaries (
    id         uuid PRIMARY KEY,
    export_id  uuid NOT NULL UNIQUE REFERENCES bulkhead.exports ON DELETE CASCADE,
    -- The end that it was made after. An export that was retried or accepted since has another one: this no longer counts.
    of_end     timestamptz NOT NULL,
    -- Ages are counted at this day: that of the server's data, else of the export. Of those who have died, at the day they did.
    as_of      date NOT NULL,
    -- Everybody who is a Patient or whom a resource is about, numbered from 0.
    people     int NOT NULL,
    records    bigint NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE bulkhead.summary_columns (
    -- Checked at the end of the transaction, so that no lock on the export is held while it is made.
    summary_id uuid NOT NULL REFERENCES bulkhead.summaries ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    -- component: the values of an observation's parts, as of a blood pressure. resource: only counted, and in no other chart; so are those that
    -- their server calls entered in error, cancelled or refuted, of whatever type.
    kind       text NOT NULL CHECK (kind IN ('patient', 'condition', 'encounter', 'observation', 'component', 'medication', 'resource')),
    resource_type text NOT NULL,
    -- Gender, code or class; NULL: not given. A concept without a code goes by its text.
    code       text,
    display    text,
    unit       text,
    -- Of a component: the code of its observation.
    part_of    text,
    records    int NOT NULL,
    -- A number for each record, little-endian, four bytes: who it is about (-1: nobody known).
    people     bytea NOT NULL,
    -- Days since 1970, four bytes (the smallest number: not given), of a birth, an encounter's begin or an observation. Empty for others.
    days       bytea NOT NULL,
    -- Eight bytes (NaN: not given): what was observed, or the day somebody died. Empty where no record has a value.
    vals       bytea NOT NULL
);
CREATE INDEX summary_columns_of ON bulkhead.summary_columns (summary_id, kind);
-- They hardly compress: not trying is faster both ways.
ALTER TABLE bulkhead.summary_columns
    ALTER COLUMN people SET STORAGE EXTERNAL, ALTER COLUMN days SET STORAGE EXTERNAL, ALTER COLUMN vals SET STORAGE EXTERNAL;

-- One more kind of stage, whatever kinds there are by now. No row that is there can break the wider rule: nothing is scanned.
DO $$
BEGIN
    EXECUTE (SELECT format('ALTER TABLE bulkhead.stages DROP CONSTRAINT stages_kind_check, '
                           'ADD CONSTRAINT stages_kind_check CHECK (%s OR kind = %L) NOT VALID', pg_get_expr(conbin, conrelid), 'summarise')
               FROM pg_constraint WHERE conrelid = 'bulkhead.stages'::regclass AND conname = 'stages_kind_check');
END $$;
