#!/usr/bin/env python3
"""mutate.py NAME IN OUT: a source with one thing broken on purpose, for a simulator that has to find it.

A mutant whose text is no longer there is an error: then it would prove nothing."""
import sys

MUTANTS = {
    # What is applied already is applied once more.
    "watermark": ("    if (m->pos_end <= part_applied(in->part, &source.generation, m->from)) {", "    if (false) {"),
    # Readings are acknowledged before they are durable.
    "commit": ("    part_end_block(in->part, ak_wall_us(k));\n",
               "    part_end_block(in->part, ak_wall_us(k));\n    answer(in, E_OK);\n    ak_publish(k);\n"),
    # No second look at the lanes after having said "asleep".
    "park": ("    wire_sleep(k->wire);\n    if (something_waits(k)) {", "    wire_sleep(k->wire);\n    if (false) {"),
    # The look at the peer's word before the store of tail.
    "kick": ("        if (lane_publish(o->lane)) {\n            world_pause();\n            wire_kick(k->wire, o->edge);\n        }\n",
             "        wire_kick(k->wire, o->edge);\n        world_pause();\n        (void)lane_publish(o->lane);\n"),
    # The journal is trimmed although RocksDB's log was not synced.
    "trim": ("    rocksdb_flush_wal(p->rocks->db, 1, &text);\n    p->sync_rc = ", "    p->sync_rc = "),
    # A chunk's summary counts one too many.
    "summary": ("    a->count += s->count;\n", "    a->count += s->count + 1;\n"),
    # A late reading opens and closes alerts.
    "late": ("        return s->has_newest && time_us < s->newest_us;\n", "        return false;\n"),
    # The alert actor overlooks that something is missing in front of what it got.
    "gap": ("    if (h->after > f->cursor) {\n        fall_behind(a, f);", "    if (false) {\n        fall_behind(a, f);"),
    # What it saves is said to reach farther than it does.
    "cursor": ("        cursor c = { a->feeds[i].cursor, a->feeds[i].stamp, ", "        cursor c = { a->feeds[i].cursor + 40, a->feeds[i].stamp, "),
    # Transitions that wait for the registry are not in it.
    "waiting": ("    load_turns(a, turns, h.turns);\n", "    (void)load_turns;\n"),
    # The registry makes a transition again that it made already.
    "again": ("    return last != NULL && pos_of(c) != 0 && pos_of(c) <= last->pos;", "    (void)c;\n    (void)last;\n    return false;"),
    # The journal is trimmed before the alert actor has what is in it.
    "hold": ("    part_hold(in->part, all ? UINT64_MAX : w->heard ? w->judged.saved : 0);", "    part_hold(in->part, all ? UINT64_MAX : UINT64_MAX - 1);"),
    # What a killed predecessor wrote and did not sync is taken for durable.
    "resync": ("    return rc < 0 ? rc : make_newest_durable(j, &found);", "    (void)make_newest_durable;\n    return rc;"),
}


def main():
    name, source, out = sys.argv[1:]
    before, after = MUTANTS[name]
    with open(source, encoding="utf-8") as f:
        text = f.read()
    if before not in text:
        sys.exit(f"mutate.py: {name}: its text is not in {source} any longer")
    with open(out, "w", encoding="utf-8") as f:
        f.write(text.replace(before, after))


if __name__ == "__main__":
    main()
