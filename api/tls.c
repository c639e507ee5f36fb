/* tls.c - a certificate and its key (tls.h). */
#include "api/tls.h"

#include "proto/err.h"
#include "proto/log.h"

#include <h2o.h>
#include <openssl/err.h>
#include <stdio.h>

/* TLS 1.2 with forward secrecy and authenticated ciphers alone; 1.3 has no others. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/* A key with a passphrase would be asked for on the terminal. */
static int
no_passphrase(char *out, int room, int writing, void *ctx)
{
    (void)out;
    (void)room;
    (void)writing;
    (void)ctx;
    return 0;
}

static int
failed(SSL_CTX **ctx, const char *what, const char *file)
{
    unsigned long code = ERR_get_error();
    const char   *reason = ERR_reason_error_string(code);
    int           rc = err(E_CONFIG, "%s %s: %s", what, file,
                           reason == NULL ? "cannot be read" : reason);

    ERR_clear_error();
    tls_close(ctx);
    return rc;
}

int
tls_open(SSL_CTX **out, const char *cert, const char *key, bool http2)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL)
        return err(E_NOMEM, "TLS");
    ERR_clear_error();
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets do */
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1)
        return failed(&ctx, "ciphers", CIPHERS);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return failed(&ctx, "certificate", cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return failed(&ctx, "key", key);
    if (EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(ctx)) == EVP_PKEY_RSA)
        log_info("tls.rsa_key", "bits=%d hint=%s", EVP_PKEY_get_bits(SSL_CTX_get0_privatekey(ctx)),
                 log_quote(VIEW_LIT("each handshake holds a front for most of a millisecond; an EC key for 30 us")));
    if (http2)
        h2o_ssl_register_alpn_protocols(ctx, h2o_http2_alpn_protocols);
    *out = ctx;
    return E_OK;
}

void
tls_close(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
    *ctx = NULL;
}
