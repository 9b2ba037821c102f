CREATE TABLE datapoints (
    -- The order of arrival. Rises, with gaps: a reading that comes twice uses a number up.
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Made by the measuring program, so that a retry is not a duplicate.
    id uuid NOT NULL UNIQUE,
    source text NOT NULL,
    name text NOT NULL,
    value double precision NOT NULL,
    unit text,
    measured_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);
