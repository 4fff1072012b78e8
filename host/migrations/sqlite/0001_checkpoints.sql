-- How far each pillow is, what it parked, and who runs it. Times are RFC 3339 in UTC with microseconds. A position is
-- two unsigned 64-bit numbers, stored with their bits as they are, and compared by the program alone.

create table pillowtop_checkpoints (
    pillow text not null,
    topic text not null,
    partition_number integer not null,
    epoch integer not null,
    -- Null until the first settle.
    incarnation text,
    position_first integer,
    position_second integer,
    position_token text,
    moved_at text,
    primary key (pillow, topic, partition_number)
) strict, without rowid;

create table pillowtop_history (
    number integer primary key autoincrement,
    pillow text not null,
    topic text not null,
    partition_number integer not null,
    incarnation text not null,
    position_first integer not null,
    position_second integer not null,
    position_token text,
    who text not null,
    why text not null,
    at text not null,
    -- Minutes since 1970 for the engine's own moves, of which one is kept for each; null for an operator's.
    minute integer
) strict;

create unique index pillowtop_history_by_minute on pillowtop_history (pillow, topic, partition_number, minute);

create table pillowtop_parked (
    number integer primary key autoincrement,
    pillow text not null,
    -- '' where no processor was reached, or where the failure is the whole processor's.
    processor text not null,
    part text not null,
    source text not null,
    document text not null,
    topic text not null,
    partition_number integer not null,
    position_first integer not null,
    position_second integer not null,
    position_token text,
    kind text not null,
    message text not null,
    last_log text,
    retry_helps integer not null,
    digest text,
    -- The change as JSON, to be tried again; null where the entry could not be decoded.
    change text,
    bytes blob,
    attempts integer not null,
    first_at text not null,
    last_at text not null,
    due integer not null default 0
) strict;

create unique index pillowtop_parked_by_document on pillowtop_parked (pillow, processor, source, document, part);

create index pillowtop_parked_due on pillowtop_parked (pillow) where due = 1;

create table pillowtop_version (
    singleton integer primary key check (singleton = 1),
    version integer not null
) strict;

create table pillowtop_paused (
    pillow text primary key not null
) strict, without rowid;

create table pillowtop_heartbeats (
    pillow text not null,
    host text not null,
    at text not null,
    status text not null,
    primary key (pillow, host)
) strict, without rowid;
