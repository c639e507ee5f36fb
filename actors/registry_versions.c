/* registry_versions.c - what rules were before they were changed, for readings that were accepted then and are judged later.
 *
 *   was[0] in force from rules_seq 12 to 40 | was[1] 40 to 41 | ...      with the rule, in the batch of its change
 */
#include "actors/registry_internal.h"
#include "actors/rules.h"
#include "proto/err.h"

enum { PAGE_BYTES = 16 << 10 };

void
reg_rule_keep(registry *r, reg_rule *u)
{
    uint8_t    packed[RULE_PACKED_MAX];
    board_rule form = reg_rule_form(u);
    uint32_t   n = 0;

    if (!(form.flags & BOARD_LIVE))
        return;
    form.until = r->rules_seq + 1; /* what store_rule() gives to the change */
    while (n < REG_VERSIONS && u->was[n].at != NULL)
        n++;
    if (n == REG_VERSIONS) {
        reg_text_fini(&u->was[0]);
        memmove(u->was, u->was + 1, --n * sizeof u->was[0]);
        u->was[n] = (view){ 0 };
    }
    reg_text_set(&u->was[n], view_of(packed, rule_pack(&form, u->metric, u->conditions, packed)));
}

void
reg_versions_pack(pack *p, const reg_rule *u)
{
    uint32_t n = 0;

    while (n < REG_VERSIONS && u->was[n].at != NULL)
        n++;
    pack_str(p, VIEW_LIT("was"));
    pack_array(p, n);
    for (uint32_t i = 0; i < n; i++)
        pack_bin(p, u->was[i]);
}

/* Those that another version of this program stored may be of another shape. */
void
reg_versions_load(reg_rule *u, const msgpack_object *map)
{
    const msgpack_object *was = pack_get(map, "was");
    uint32_t              n = 0;

    for (uint32_t i = 0; was != NULL && was->type == MSGPACK_OBJECT_ARRAY && i < was->via.array.size && n < REG_VERSIONS; i++) {
        const msgpack_object *one = &was->via.array.ptr[i];
        ruleset               set = { 0 };

        if (one->type == MSGPACK_OBJECT_BIN && ruleset_from(&set, view_of(one->via.bin.ptr, one->via.bin.size)) == E_OK)
            reg_text_set(&u->was[n++], view_of(one->via.bin.ptr, one->via.bin.size));
        ruleset_free(&set);
        err_clear();
    }
}

void
reg_versions_free(reg_rule *u)
{
    for (uint32_t i = 0; i < REG_VERSIONS; i++)
        reg_text_fini(&u->was[i]);
}

static uint64_t
until_of(view packed)
{
    board_rule rule;

    memcpy(&rule, packed.at, sizeof rule);
    return rule.until;
}

static uint16_t
op_rule_versions(reg_call *c)
{
    const reg_list *rules = &c->r->rules;
    uint64_t        since = (uint64_t)reg_int(c, "since", 0);
    uint64_t        no = (uint64_t)reg_int(c, "after", 0);
    uint8_t         found[PAGE_BYTES + REG_VERSIONS * RULE_PACKED_MAX];
    size_t          len = 0;

    for (; no < rules->count && len < PAGE_BYTES; no++) {
        const reg_rule *u = rules->at[no];

        for (uint32_t i = 0; u != NULL && i < REG_VERSIONS && u->was[i].at != NULL; i++) {
            if (until_of(u->was[i]) <= since)
                continue;
            memcpy(found + len, u->was[i].at, u->was[i].len);
            len += u->was[i].len;
        }
    }
    pack_map(c->out, 3);
    pack_name_int(c->out, "rules_seq", (int64_t)c->r->rules_seq);
    pack_str(c->out, VIEW_LIT("versions"));
    pack_bin(c->out, view_of(found, len));
    pack_name_int(c->out, "next", no < rules->count ? (int64_t)no : 0);
    return 200;
}

const reg_op_fn reg_version_ops[] = { { REG_RULE_VERSIONS, op_rule_versions }, { 0 } };
