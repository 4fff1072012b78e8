-- Why a pillow halted, as a JSON list of causes; null where an operator paused it.
alter table pillowtop_paused add column halted text;
