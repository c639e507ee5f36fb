/* tls.h - a certificate and its key, as OpenSSL wants them. */
#ifndef HALTLESS_API_TLS_H
#define HALTLESS_API_TLS_H

#include "proto/base.h"

#include <openssl/ssl.h>

/* PEM files, the chain with the server's own certificate first.  TLS 1.2 and 1.3. */
NODISCARD int tls_open(SSL_CTX **out, const char *cert, const char *key, bool http2);
void          tls_close(SSL_CTX **ctx); /* NULL inside is fine */

#endif
