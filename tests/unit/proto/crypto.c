#include "proto/secrets.h"
#include "tests/unit/check.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static int
start(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/haltless-crypto-XXXXXX");
    return crypto_start() < 0 || mkdtemp(dir) == NULL;
}

static int
end(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/secrets", dir);
    unlink(path);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

static void
a_uuid_reads_back_in_any_case(void **state)
{
    uuid u, back;
    char text[UUID_TEXT_LEN];

    (void)state;
    crypto_uuid4(&u);
    uuid_format(&u, text);
    CHECK_EQ(text[14], '4');
    CHECK(uuid_parse(view_of(text, sizeof text), &back) && uuid_eq(&u, &back));
    for (size_t i = 0; i < sizeof text; i++)
        if (text[i] >= 'a')
            text[i] = (char)(text[i] - 32);
    CHECK(uuid_parse(view_of(text, sizeof text), &back) && uuid_eq(&u, &back));
}

static void
what_is_no_uuid_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "00000000-0000-4000-8000-00000000000",
        "00000000-0000-4000-8000-0000000000000",
        "00000000x0000-4000-8000-000000000000",
        "00000000-0000-4000-8000-00000000000g",
        "000000000000-4000-8000-0000000000000",
        "{0000000-0000-4000-8000-000000000000",
    };
    uuid out;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(!uuid_parse(view_str(bad[i]), &out));
}

static void
hmac_is_the_one_of_rfc_4231(void **state)
{
    /* test case 2 has a 4-byte key: padded with zeros it is the same key */
    uint8_t              key[SECRET_LEN] = "Jefe", mac[DIGEST_LEN];
    static const uint8_t want[4] = { 0x5b, 0xdc, 0xc1, 0x46 };

    (void)state;
    crypto_hmac_sha256(key, VIEW_LIT("what do ya want for nothing?"), mac);
    assert_memory_equal(mac, want, sizeof want);
}

static void
base64url_goes_there_and_back_at_every_length(void **state)
{
    uint8_t in[70], back[70];
    char    text[100];

    (void)state;
    crypto_random(in, sizeof in);
    for (size_t len = 0; len <= sizeof in; len++) {
        size_t n = base64url_encode(view_of(in, len), text, sizeof text);

        CHECK_EQ(base64url_decode(view_of(text, n), back, sizeof back), len);
        assert_memory_equal(in, back, len);
    }
    CHECK_EQ(base64url_encode(VIEW_LIT("\xfb\xff"), text, sizeof text), 3);
    assert_memory_equal(text, "-_8", 3);
}

static void
malformed_base64url_is_refused(void **state)
{
    static const char *const bad[] = {
        "A", "AA==", "A+A/", "AAA\n", "AB", "AAAAA", "\xc1\xc1\xc1\xc1"
    };
    uint8_t out[16];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_EQ(base64url_decode(view_str(bad[i]), out, sizeof out), -1);
    CHECK_EQ(base64url_decode(VIEW_LIT("AAAA"), out, 2), -1);
}

static void
an_api_key_is_hk_and_43_characters_and_never_the_same(void **state)
{
    char    a[API_KEY_TEXT_LEN], b[API_KEY_TEXT_LEN];
    uint8_t raw[32];

    (void)state;
    crypto_api_key(a);
    crypto_api_key(b);
    assert_memory_equal(a, "hk_", 3);
    CHECK_EQ(base64url_decode(view_of(a + 3, sizeof a - 3), raw, sizeof raw), 32);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

static void
a_password_matches_its_hash_and_no_other(void **state)
{
    char hash[PASSWORD_HASH_MAX];

    (void)state;
    CHECK_OK(password_hash(VIEW_LIT("correct horse 1"), hash));
    assert_memory_equal(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31);
    CHECK(password_matches(VIEW_LIT("correct horse 1"), hash));
    CHECK(!password_matches(VIEW_LIT("correct horse 2"), hash));
    CHECK(!password_matches(VIEW_LIT("correct horse 1"), "garbage"));
}

static void
secrets_are_made_once_though_processes_race(void **state)
{
    enum { RACERS = 8 };
    secrets first, mine;
    pid_t   pids[RACERS];
    int     pipes[2];

    (void)state;
    CHECK_EQ(pipe(pipes), 0);
    for (int i = 0; i < RACERS; i++)
        if ((pids[i] = fork()) == 0) {
            int rc = secrets_load(&mine, dir);
            _exit(rc < 0 || write(pipes[1], &mine, sizeof mine) != (ssize_t)sizeof mine);
        }
    for (int i = 0; i < RACERS; i++) {
        int status;

        CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
        CHECK_EQ(status, 0);
        CHECK_EQ(read(pipes[0], &mine, sizeof mine), sizeof mine);
        if (i == 0)
            first = mine;
        assert_memory_equal(&first, &mine, sizeof mine);
    }
    close(pipes[0]);
    close(pipes[1]);
}

static void
secrets_that_others_can_read_or_that_are_damaged_are_refused(void **state)
{
    secrets     s;
    struct stat st;
    char        path[128];
    int         fd;

    (void)state;
    CHECK_OK(secrets_load(&s, dir));
    snprintf(path, sizeof path, "%s/secrets", dir);
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_EQ(chmod(path, 0640), 0);
    CHECK_EQ(secrets_load(&s, dir), E_PERM);
    CHECK_EQ(chmod(path, 0600), 0);
    CHECK((fd = open(path, O_WRONLY)) >= 0);
    CHECK_EQ(pwrite(fd, "x", 1, 50), 1);
    close(fd);
    CHECK_EQ(secrets_load(&s, dir), E_BAD);
    CHECK_EQ(truncate(path, 20), 0);
    CHECK_EQ(secrets_load(&s, dir), E_BAD);
    err_clear();
}

static void
a_new_signing_secret_is_known_before_it_signs_and_the_old_one_until_its_tokens_end(void **state)
{
    secrets       before, announced, after, again;
    secrets_stamp seen = { 0 };
    char          path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/secrets", dir);
    CHECK_EQ(unlink(path), 0);
    CHECK_OK(secrets_load(&before, dir));
    CHECK_EQ(before.also_until_s, 0);
    CHECK_OK(secrets_look(&announced, &seen, dir));
    CHECK_OK(secrets_announce(dir));
    CHECK_OK(secrets_look(&announced, &seen, dir));
    assert_memory_equal(announced.jwt, before.jwt, SECRET_LEN);
    assert_memory_not_equal(announced.also, before.jwt, SECRET_LEN);
    CHECK(announced.also_until_s == INT64_MAX);
    CHECK_OK(secrets_announce(dir)); /* the same one */
    CHECK_OK(secrets_renew(dir, 1000, 900));
    CHECK_OK(secrets_look(&after, &seen, dir));
    assert_memory_equal(after.jwt, announced.also, SECRET_LEN);
    assert_memory_equal(after.also, before.jwt, SECRET_LEN);
    CHECK_EQ(after.also_until_s, 1900);
    assert_memory_equal(after.keys, before.keys, SECRET_LEN);
    assert_memory_equal(after.refresh, before.refresh, SECRET_LEN);
    memset(&again, 0xaa, sizeof again);
    CHECK_OK(secrets_look(&again, &seen, dir)); /* nothing changed: nothing is touched */
    CHECK_EQ(again.jwt[0], 0xaa);
    CHECK_OK(secrets_renew(dir, 2000, 0));
    CHECK_OK(secrets_load(&again, dir));
    CHECK_EQ(again.also_until_s, 0);
}

static void
secrets_of_the_first_version_are_read(void **state)
{
    uint8_t file[136] = "HLSECR1\n";
    secrets s;
    char    path[128];
    int     fd;

    (void)state;
    memset(file + 8, 1, 32);
    memset(file + 40, 2, 32);
    memset(file + 72, 3, 32);
    CHECK_EQ(crypto_generichash(file + 104, 32, file, 104, NULL, 0), 0);
    snprintf(path, sizeof path, "%s/secrets", dir);
    CHECK_EQ(unlink(path), 0);
    CHECK((fd = open(path, O_WRONLY | O_CREAT, 0600)) >= 0);
    CHECK_EQ(write(fd, file, sizeof file), (long)sizeof file);
    close(fd);
    CHECK_OK(secrets_load(&s, dir));
    CHECK_EQ(s.jwt[31], 1);
    CHECK_EQ(s.refresh[0], 3);
    CHECK_EQ(s.also_until_s, 0);
    CHECK_OK(secrets_renew(dir, 10, 5));
    CHECK_OK(secrets_load(&s, dir));
    CHECK_EQ(s.keys[7], 2);
    CHECK_EQ(s.also[0], 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_uuid_reads_back_in_any_case),
        TEST(what_is_no_uuid_is_refused),
        TEST(hmac_is_the_one_of_rfc_4231),
        TEST(base64url_goes_there_and_back_at_every_length),
        TEST(malformed_base64url_is_refused),
        TEST(an_api_key_is_hk_and_43_characters_and_never_the_same),
        TEST(a_password_matches_its_hash_and_no_other),
        TEST(secrets_are_made_once_though_processes_race),
        TEST(secrets_that_others_can_read_or_that_are_damaged_are_refused),
        TEST(a_new_signing_secret_is_known_before_it_signs_and_the_old_one_until_its_tokens_end),
        TEST(secrets_of_the_first_version_are_read),
    };

    return cmocka_run_group_tests_name("proto/crypto", tests, start, end);
}
