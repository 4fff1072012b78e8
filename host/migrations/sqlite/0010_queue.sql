-- When an entry of the queue is tried: those are no failures, but documents that a processor wants later. Null for what
-- is parked.
alter table pillowtop_parked add column due_at text;

create index pillowtop_parked_queue on pillowtop_parked (pillow, due_at) where due_at is not null;
