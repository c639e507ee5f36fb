/* docs.c - a page over /openapi.json at /docs, from the server itself: nothing comes from anywhere else.
 *
 * The page is the npm package of api/docs/package.json, put into the binary when it is built.  Where that package
 * cannot be had, docs_none.c is built in place of this file.
 */
#include "api/etag.h"

/* The files as they are; `name`_end is the byte behind the last. */
#define INCLUDE_FILE(name, path)                                                                   \
    extern const uint8_t name[], name##_end[];                                                     \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global " #name "\n.global " #name "_end\n.hidden " #name "\n.hidden " #name "_end\n" \
            #name ":\n.incbin \"" path "\"\n" #name "_end:\n.byte 0\n"                             \
            ".popsection\n")

INCLUDE_FILE(docs_script, DOCS_FILES "/swagger-ui-bundle.js");
INCLUDE_FILE(docs_style, DOCS_FILES "/swagger-ui.css");

static const char page[] = "<!doctype html>\n"
                           "<html lang=\"en\">\n"
                           "<head>\n"
                           "<meta charset=\"utf-8\">\n"
                           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                           "<title>haltless API</title>\n"
                           "<link rel=\"icon\" href=\"data:,\">\n"
                           "<link rel=\"stylesheet\" href=\"/docs/page.css\">\n"
                           "</head>\n"
                           "<body>\n"
                           "<main id=\"api\"></main>\n"
                           "<script src=\"/docs/page.js\"></script>\n"
                           "<script src=\"/docs/start.js\"></script>\n"
                           "</body>\n"
                           "</html>\n";

static const char start[] = "SwaggerUIBundle({ url: \"/openapi.json\", dom_id: \"#api\", deepLinking: true, "
                            "validatorUrl: null });\n";

static void
send_file(call *c, const char *type, view body)
{
    call_add_header(c, "Content-Security-Policy",
                    VIEW_LIT("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' "
                             "data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
    etag_send_static(c, type, body);
}

static void
get_page(call *c)
{
    send_file(c, "text/html; charset=utf-8", view_of(page, sizeof page - 1));
}

static void
get_start(call *c)
{
    send_file(c, "text/javascript; charset=utf-8", view_of(start, sizeof start - 1));
}

static void
get_script(call *c)
{
    send_file(c, "text/javascript; charset=utf-8", view_of(docs_script, (size_t)(docs_script_end - docs_script)));
}

static void
get_style(call *c)
{
    send_file(c, "text/css; charset=utf-8", view_of(docs_style, (size_t)(docs_style_end - docs_style)));
}

extern const route docs_routes[];

const route docs_routes[] = {
    { GET, 200, WHO_OPEN, 0, 0, "!/docs", NULL, NULL, get_page, 0, "A page over this description" },
    { GET, 200, WHO_OPEN, 0, 0, "!/docs/start.js", NULL, NULL, get_start, 0, "Of that page" },
    { GET, 200, WHO_OPEN, 0, 0, "!/docs/page.js", NULL, NULL, get_script, 0, "Of that page" },
    { GET, 200, WHO_OPEN, 0, 0, "!/docs/page.css", NULL, NULL, get_style, 0, "Of that page" },
    { 0 },
};
