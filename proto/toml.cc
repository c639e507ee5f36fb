/* toml.cc - the extern "C" shim over toml++: it reads, orders the leaves as the file has them, and
 * hands them on. No exception leaves it. */
#include "proto/toml.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include <toml++/toml.h>

namespace
{

struct leaf {
    std::string       path;
    const toml::node *node;
};

void
collect(const toml::node &node, const std::string &path, std::vector<leaf> &out)
{
    const std::string prefix = path.empty() ? "" : path + ".";

    if (const toml::table *table = node.as_table()) {
        for (auto &&[key, value] : *table)
            collect(value, prefix + std::string(key.str()), out);
    } else if (const toml::array *array = node.as_array()) {
        for (size_t i = 0; i < array->size(); i++)
            collect(*array->get(i), prefix + std::to_string(i), out);
    } else {
        out.push_back({ path, &node });
    }
}

int
hand_on(const leaf &l, int (*row)(void *, const toml_row *), void *ctx)
{
    std::string text;
    toml_row    r = {};

    r.path = l.path.c_str();
    r.line = l.node->source().begin.line;
    if (auto *s = l.node->as_string()) {
        r.type = TOML_STRING;
        text = s->get();
    } else {
        std::ostringstream written;

        written << toml::node_view<const toml::node>(l.node);
        text = written.str();
        r.type = TOML_OTHER;
        if (auto *i = l.node->as_integer()) {
            r.type = TOML_INTEGER;
            r.integer = i->get();
        } else if (auto *f = l.node->as_floating_point()) {
            r.type = TOML_FLOAT;
            r.number = f->get();
        } else if (auto *b = l.node->as_boolean()) {
            r.type = TOML_BOOLEAN;
            r.boolean = b->get() ? 1 : 0;
        }
    }
    r.text = text.c_str();
    return row(ctx, &r);
}

bool
earlier(const leaf &a, const leaf &b)
{
    auto x = a.node->source().begin, y = b.node->source().begin;

    return x.line != y.line ? x.line < y.line : x.column < y.column;
}

} // namespace

int
toml_read(const char *file, int (*row)(void *ctx, const toml_row *r), void *ctx, char *error,
          uint32_t room)
{
    try {
        toml::table       table = toml::parse_file(std::string_view(file));
        std::vector<leaf> leaves;

        collect(table, "", leaves);
        std::stable_sort(leaves.begin(), leaves.end(), earlier);
        for (const leaf &l : leaves)
            if (int rc = hand_on(l, row, ctx))
                return rc;
        return 0;
    } catch (const toml::parse_error &e) {
        std::snprintf(error, room, "line %u: %s", static_cast<unsigned>(e.source().begin.line),
                      e.what());
    } catch (const std::exception &e) {
        std::snprintf(error, room, "%s", e.what());
    }
    return -1;
}
