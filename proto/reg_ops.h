/* reg_ops.h - numbers of the registry's operations (the table is reg_ops.def) and the API's words. */
#ifndef HALTLESS_PROTO_REG_OPS_H
#define HALTLESS_PROTO_REG_OPS_H

#include "proto/base.h"
#include "proto/rows.h"

enum reg_op {
#define X(OP, number, role, writes, action, brief) OP = number,
#include "proto/reg_ops.def"
#undef X
    REG_OP_MAX = 128
};

typedef struct reg_op_row {
    const char *name;
    const char *action; /* for the audit; "" = not audited */
    uint16_t    least_role;
    uint16_t    writes;
} reg_op_row;

const reg_op_row *reg_op_row_of(uint16_t op); /* NULL: no such operation */

/* Word tables of the API: index = the number kept in records. Each ends with NULL. */
extern const char *const role_words[];     /* index enum role: "", viewer, operator, admin */
extern const char *const protocol_words[]; /* opc_ua, modbus_tcp, csv, json, mqtt, mtconnect */
extern const char *const severity_words[]; /* info, warning, critical */
extern const char *const compare_words[];  /* gt, gte, lt, lte, eq, ne */
extern const char *const status_words[];   /* offline, healthy, warning, critical */
extern const char *const scope_words[];    /* bit i of board_key.scopes */
extern const char *const tier_words[];     /* free, pro, enterprise */
int word_index(const char *const *words, view word); /* -1: none */

enum machine_status { STATUS_OFFLINE, STATUS_HEALTHY, STATUS_WARNING, STATUS_CRITICAL };

#endif
