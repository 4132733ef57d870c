/* The server's parsers and guards: base64, forms, wishes, keys, names, rates. */
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/server/guard.h"
#include "src/server/wish.h"
#include "tests/test.h"

static rlm_wish_limits limits = {128, 128, 17, 8, 60, 1458, 1, 4, 13, NULL};
static const char png[] = "\x89PNG\r\n\x1a\n....";

/* ---- Bytes ----------------------------------------------------------------------------------- */

static void case_base64_round_trip(void)
{
    uint8_t data[64];
    for (size_t n = 0; n <= sizeof data; n++) {
        rlm_bytes b = {0};
        uint8_t *back = NULL;
        size_t bytes = 0;
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)(i * 37 + n);
        rlm_bytes_base64(&b, data, n);
        CHECK(b.used == (n + 2) / 3 * 4);
        CHECK(!rlm_base64_decode(b.data ? b.data : "", b.used, &back, &bytes));
        CHECK(bytes == n && !memcmp(back, data, n));
        free(back);
        rlm_bytes_free(&b);
    }
}

static void case_base64_refuses(void)
{
    static const char *const bad[] = {
        "A", "AA", "AAA", "A===", "AA=", "AAAA=", "AA=A", "A*AA", "===="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t *out = NULL;
        size_t bytes;
        int code = rlm_base64_decode(bad[i], strlen(bad[i]), &out, &bytes);
        if (code != -1)
            TEST_FAILED("'%s' was taken", bad[i]);
        if (!code)
            free(out);
    }
}

/* What does not fit in one formatted line is a failure, not a part of it. */
static void case_long_lines_fail(void)
{
    char text[1025];
    rlm_bytes b = {0};
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    rlm_bytes_printf(&b, "%.1023s", text);
    CHECK(!b.failed && b.used == 1023);
    rlm_bytes_printf(&b, "%s", text);
    CHECK(b.failed && b.used == 1023);
    rlm_bytes_puts(&b, "more");
    CHECK(b.used == 1023);
    rlm_bytes_free(&b);
}

static void case_utf8(void)
{
    CHECK(rlm_utf8_valid("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x8e\xac", 10));
    static const char *const bad[] = {"\x80",         "\xc0\xaf",         "\xe0\x80\xaf",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
                                      "\xc3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(!rlm_utf8_valid(bad[i], strlen(bad[i])));
    CHECK(!rlm_utf8_valid("a\0b", 3));
}

static void case_cut_texts_are_mended(void)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"a\xc3\xa4", "a\xc3\xa4"},
                                           {"a\xc3", "a?"},
                                           {"\xe2\x82x\xff\xfe", "??x??"},
                                           {"\xf0\x9f\x8e\xac\xf0\x9f", "\xf0\x9f\x8e\xac??"}};
    rlm_refusal r;
    char text[16];
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        snprintf(text, sizeof text, "%s", pairs[i][0]);
        rlm_utf8_mend(text);
        CHECK_STR(text, pairs[i][1]);
    }
    rlm_refuse(&r, 400, "c", "x\xc3\xa9", "'%.2s' is not", "x\xc3\xa9");
    CHECK_STR(r.message, "'x?' is not");
    CHECK_STR(r.param, "x\xc3\xa9");
}

static void case_ids(void)
{
    char a[RLM_ID_BYTES], b[RLM_ID_BYTES];
    rlm_id_make(a, "video_");
    rlm_id_make(b, "video_");
    CHECK(rlm_id_valid(a) && rlm_id_valid(b) && strcmp(a, b));
    CHECK(!rlm_id_valid("video_") && !rlm_id_valid("..") &&
          !rlm_id_valid("video_../../../../../../../etc/passwd"));
    a[10] = 'G';
    CHECK(!rlm_id_valid(a));
}

static void case_paths_are_hidden(void)
{
    char text[] = "/var/lib/x/output.mp4: no space; see '/a/b' and 1/2, https://c/d/ / (/e/f.png)";
    rlm_paths_hide(text);
    CHECK_STR(text, "output.mp4: no space; see 'b' and 1/2, https://c/d/ / (f.png)");
}

/* ---- Forms ----------------------------------------------------------------------------------- */

/* Parse a copy; the caller frees *body and the form. */
static int parse(rlm_form *f, const char *type, const char *text, size_t bytes, char **body,
                 rlm_refusal *r)
{
    *body = malloc(bytes + 2);
    memcpy(*body, text, bytes);
    return rlm_form_parse(f, type, *body, bytes, r);
}

static const rlm_field *find(const rlm_form *f, const char *name)
{
    for (int i = 0; i < f->count; i++)
        if (!strcmp(f->fields[i].name, name))
            return &f->fields[i];
    return NULL;
}

static void case_multipart(void)
{
    static const char text[] =
        "preamble\r\n--x y\r\n"
        "Content-Disposition: form-data; name=\"prompt\"\r\n\r\na red ball\r\n--x y  \r\n"
        "content-disposition: form-data; filename=\"a; name=\\\"b\\\".png\"; name=file\r\n"
        "Content-Type: image/png\r\n\r\n\0\r\n--x\r\n\r\n--x y\r\n"
        "Content-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--x y--\r\nepilogue";
    rlm_form f;
    rlm_refusal r = {0};
    char *body;
    int code = parse(&f, "multipart/form-data; boundary=\"x y\"", text, sizeof text - 1, &body, &r);
    CHECK_STR(r.message, "");
    CHECK(!code && f.count == 3);
    const rlm_field *prompt = find(&f, "prompt"), *file = find(&f, "file"),
                    *empty = find(&f, "empty");
    CHECK(prompt && prompt->kind == RLM_FIELD_TEXT && !strcmp(prompt->value, "a red ball"));
    CHECK(file && file->kind == RLM_FIELD_FILE && file->bytes == 8 &&
          !memcmp(file->value, "\0\r\n--x\r\n", 8));
    CHECK(empty && empty->bytes == 0 && !strcmp(empty->value, ""));
    rlm_form_free(&f);
    free(body);
}

static void case_json_is_flattened(void)
{
    static const char text[] =
        "{\"prompt\":\"p\",\"a\":{\"b\":[1,{\"c\":true}]},\"n\":null,\"x\":-0.5,\"k\":3e3}";
    rlm_form f;
    rlm_refusal r;
    char *body;
    CHECK(!parse(&f, "application/json; charset=utf-8", text, sizeof text - 1, &body, &r));
    CHECK(f.count == 5);
    const rlm_field *b = find(&f, "a[b][0]"), *c = find(&f, "a[b][1][c]"), *x = find(&f, "x");
    CHECK(b && b->kind == RLM_FIELD_NUMBER && !strcmp(b->value, "1"));
    CHECK(c && c->kind == RLM_FIELD_BOOL && !strcmp(c->value, "true"));
    CHECK(x && !strcmp(x->value, "-0.5") && !strcmp(find(&f, "k")->value, "3000"));
    rlm_form_free(&f);
    free(body);
}

static void case_forms_refuse(void)
{
    static const struct {
        const char *type, *text;
        int status;
    } bad[] = {
        {"application/json", "{\"a\":1,\"a\":2}", 400},
        {"application/json", "{}x", 400},
        {"application/json", "{\"a\":\"\\u0000\"}", 400},
        {"application/json", "{\"\":1}", 400},
        {NULL, "{}", 415},
        {"application/xml", "<a/>", 415},
        {"multipart/form-data", "x", 400},
        {"multipart/form-data; boundary=", "x", 400},
        {"multipart/form-data; boundary=B", "--B\r\n\r\n\r\n--B--", 400},
        {"multipart/form-data; boundary=B",
         "--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--B--", 400},
        {"multipart/form-data; boundary=B", "--Bx\r\n", 400},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rlm_form f;
        rlm_refusal r = {0};
        char *body;
        int code = parse(&f, bad[i].type, bad[i].text, strlen(bad[i].text), &body, &r);
        if (!code || r.status != bad[i].status || !r.message[0])
            TEST_FAILED("%s: %d, status %d", bad[i].text, code, r.status);
        rlm_form_free(&f);
        free(body);
    }
}

/* ---- Wishes ---------------------------------------------------------------------------------- */

static int wish_of(rlm_wish *w, int kind, const char *json, rlm_refusal *r)
{
    rlm_form *f = malloc(sizeof *f);
    char *body;
    int code = parse(f, "application/json", json, strlen(json), &body, r);
    *w = (rlm_wish){0};
    if (!code)
        code = rlm_wish_parse(w, kind, f, r);
    if (!code)
        code = rlm_wish_settle(w, &limits, r);
    rlm_form_free(f);
    free(f);
    free(body);
    return code;
}

static void case_wish_defaults_and_ranges(void)
{
    rlm_wish w;
    rlm_refusal r;
    CHECK(!wish_of(&w, RLM_WISH_CREATE, "{\"prompt\":\"p\"}", &r));
    CHECK(w.width == 128 && w.height == 128 && w.frames == 17 && w.fps == 8 && w.seed >= 0 &&
          w.sound == 1);
    CHECK(w.sampling.temperature < 0 && w.sampling.top_k < 0 && w.task == RLM_TASK_AUTO &&
          !w.warning_count);
    rlm_wish_free(&w);
    CHECK(!wish_of(&w, RLM_WISH_CREATE,
                   "{\"prompt\":\"p\",\"seconds\":\"4\",\"size\":\"40x24\",\"seed\":5}", &r));
    CHECK(w.frames == 32 && w.width == 40 && w.height == 24 && w.seed == 5);
    rlm_wish_free(&w);
    CHECK(!wish_of(&w, RLM_WISH_CREATE, "{\"prompt\":\"p\",\"size\":\"4000x3000\"}", &r));
    CHECK((w.width + 7) / 8 * ((w.height + 7) / 8) <= 1458 && w.warning_count == 1);
    CHECK_NEAR((double)w.width / w.height, 4.0 / 3, 0.05);
    rlm_wish_free(&w);
    static const char *const bad[][2] = {
        {"{}", "prompt"},
        {"{\"prompt\":\"p\",\"fps\":0}", "fps"},
        {"{\"prompt\":\"p\",\"seconds\":61}", "seconds"},
        {"{\"prompt\":\"p\",\"num_frames\":257}", "num_frames"},
        {"{\"prompt\":\"p\",\"seed\":1.5}", "seed"},
        {"{\"prompt\":\"p\",\"size\":\"9x9\"}", "size"},
        {"{\"prompt\":\"p\",\"size\":\"128x128x\"}", "size"},
        {"{\"prompt\":5}", "prompt"},
        {"{\"prompt\":[\"p\"]}", "prompt[0]"},
        {"{\"prompt\":\"p\",\"size\":{\"w\":16}}", "size[w]"},
        {"{\"prompt\":\"p\",\"task\":\"dance\"}", "task"},
        {"{\"prompt\":\"p\",\"mask_box\":\"1,2,3\"}", "mask_box"},
        {"{\"prompt\":\"p\",\"mask_box\":\"1,2,3,4@5-5\"}", "mask_box"},
        {"{\"prompt\":\"p\",\"outpaint\":\"1,2,3,-4\"}", "outpaint"},
        {"{\"prompt\":\"p\",\"generate_sound\":\"maybe\"}", "generate_sound"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(wish_of(&w, RLM_WISH_CREATE, bad[i][0], &r) && r.status == 400);
        CHECK_STR(r.param, bad[i][1]);
        rlm_wish_free(&w);
    }
}

static int asks_of_red(const char *prompt)
{
    return strstr(prompt, "red") != NULL;
}

/* The wish to choose stands where a judge can see what is named; else it is said why not. */
static void case_wish_choice(void)
{
    static const struct {
        const char *json, *why;
        int kind, judge, left;
    } rows[] = {
        {"{\"prompt\":\"red\",\"best_of\":4}", NULL, RLM_WISH_CREATE, 1, 4},
        {"{\"prompt\":\"red\",\"best_of\":1}", NULL, RLM_WISH_CREATE, 0, 0},
        {"{\"prompt\":\"red\",\"best_of\":4}", "no judge", RLM_WISH_CREATE, 0, 0},
        {"{\"prompt\":\"sea\",\"best_of\":4}", "names nothing", RLM_WISH_CREATE, 1, 0},
        {"{\"prompt\":\"red\",\"best_of\":4,\"seconds\":1,"
         "\"video\":{\"id\":\"video_00112233445566778899aabbccddeeff\"}}",
         "an extension", RLM_WISH_EXTEND, 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rlm_wish w;
        rlm_refusal r = {0};
        limits.asks = rows[i].judge ? asks_of_red : NULL;
        CHECK(!wish_of(&w, rows[i].kind, rows[i].json, &r));
        CHECK(w.best_of == rows[i].left && w.warning_count == (rows[i].why != NULL));
        if (rows[i].why)
            CHECK_HAS(w.warnings[0], rows[i].why);
        rlm_wish_free(&w);
    }
    limits.asks = NULL;
}

static void case_wish_saves_and_loads(void)
{
    static const char json[] = "{\"prompt\":\"p\\u00e4\",\"negative_prompt\":\"n\",\"width\":48,"
                               "\"height\":32,\"num_frames\":9,\"seed\":77,"
                               "\"temperature\":0,\"top_k\":0,\"top_p\":0.5,\"guidance_scale\":3."
                               "25,\"generate_sound\":false,\"fps\":12.5,"
                               "\"mask_box\":\"1,2,3,4@5-6;7,8,9,10\",\"outpaint\":\"8,0,0,16\","
                               "\"output_format\":\"webm\",\"nonsense\":1,"
                               "\"video\":{\"id\":\"video_00112233445566778899aabbccddeeff\"}}";
    rlm_wish w, again;
    rlm_refusal r = {0};
    CHECK(!wish_of(&w, RLM_WISH_EDIT, json, &r));
    CHECK_STR(r.message, "");
    CHECK(w.task == RLM_TASK_PAINT && w.box_count == 2 && w.boxes[0].to == 6 &&
          w.outpaint[3] == 16);
    cJSON *saved = rlm_wish_save(&w);
    CHECK(!rlm_wish_load(&again, saved, &r));
    cJSON *second = rlm_wish_save(&again);
    CHECK(cJSON_Compare(saved, second, 1));
    CHECK(again.kind == RLM_WISH_EDIT && again.sampling.top_k == 0 &&
          again.sampling.temperature == 0 && again.sound == 0);
    CHECK(again.input_count == 1 && again.warning_count == 1 && again.boxes[1].height == 10);
    cJSON_Delete(saved);
    cJSON_Delete(second);
    rlm_wish_free(&w);
    rlm_wish_free(&again);
}

/* The narrowest of spans is the same after a restart. */
static void case_wish_keeps_its_spans(void)
{
    rlm_wish w, again;
    rlm_refusal r = {0};
    CHECK(!wish_of(&w, RLM_WISH_EDIT,
                   "{\"sound_spans\":\"0.1000000001-0.1000000002\","
                   "\"video\":{\"id\":\"video_00112233445566778899aabbccddeeff\"}}",
                   &r));
    cJSON *saved = rlm_wish_save(&w);
    CHECK(!rlm_wish_load(&again, saved, &r) && again.span_count == 1);
    CHECK(again.spans[0].from == w.spans[0].from && again.spans[0].to == w.spans[0].to);
    cJSON_Delete(saved);
    rlm_wish_free(&w);
    rlm_wish_free(&again);
}

/* Whatever a strict wish would be warned of refuses it. */
static void case_strict(void)
{
    static const char *const bad[] = {
        "{\"prompt\":\"p\",\"strict\":true,\"bogus\":1}",
        "{\"prompt\":\"p\",\"strict\":true,\"num_frames\":5,\"seconds\":4}"};
    rlm_wish w;
    rlm_refusal r;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(wish_of(&w, RLM_WISH_CREATE, bad[i], &r) && r.status == 400);
        CHECK_HAS(r.message, "strict");
        rlm_wish_free(&w);
    }
}

/* Through text, as a job's file is read: every bit of the seed stays. */
static void case_wish_keeps_its_seed(void)
{
    rlm_wish w, again;
    rlm_refusal r = {0};
    CHECK(!wish_of(&w, RLM_WISH_CREATE, "{\"prompt\":\"p\",\"seed\":9007199254740991}", &r));
    cJSON *saved = rlm_wish_save(&w);
    char *text = cJSON_Print(saved);
    cJSON *read = cJSON_Parse(text);
    CHECK(!rlm_wish_load(&again, read, &r));
    CHECK(w.seed == 9007199254740991 && again.seed == w.seed);
    cJSON_Delete(saved);
    cJSON_Delete(read);
    cJSON_free(text);
    rlm_wish_free(&w);
    rlm_wish_free(&again);
}

static void case_wish_inputs(void)
{
    rlm_wish w;
    rlm_refusal r;
    char json[512], url[64];
    rlm_bytes b = {0};
    rlm_bytes_base64(&b, png, sizeof png - 1);
    snprintf(url, sizeof url, "data:image/png;base64,%s", b.data);
    snprintf(json, sizeof json,
             "{\"prompt\":\"p\",\"input_reference\":{\"image_url\":\"%s\"},\"keyframes[-1]\":null,"
             "\"end_image\":{\"image_url\":\"%s\"}}",
             url, url);
    CHECK(!wish_of(&w, RLM_WISH_CREATE, json, &r) && w.input_count == 2);
    CHECK(w.inputs[0].role == RLM_INPUT_CONDITION && w.inputs[0].bytes == sizeof png - 1);
    CHECK(w.inputs[1].role == RLM_INPUT_KEYFRAME && w.inputs[1].frame == -1 && w.width == 0);
    rlm_wish_free(&w);
    snprintf(json, sizeof json,
             "{\"prompt\":\"p\",\"video\":{\"url\":\"%s\"},\"input_reference\":{\"url\":\"%s\"}}",
             url, url);
    CHECK(wish_of(&w, RLM_WISH_CREATE, json, &r));
    CHECK_STR(r.code, "conflicting_parameters");
    rlm_wish_free(&w);
    snprintf(json, sizeof json, "{\"prompt\":\"p\",\"control_reference\":{\"url\":\"%s\"}}", url);
    CHECK(wish_of(&w, RLM_WISH_CREATE, json, &r));
    CHECK_STR(r.param, "control_type");
    rlm_wish_free(&w);
    rlm_bytes_free(&b);
}

/* ---- Guards ---------------------------------------------------------------------------------- */

static void case_keys(void)
{
    rlm_keys *k = malloc(sizeof *k);
    rlm_error err;
    CHECK(!rlm_keys_read(k, "first-key, second-key ,", NULL, &err) && k->count == 2);
    CHECK(rlm_keys_match(k, "first-key") && rlm_keys_match(k, "second-key"));
    CHECK(!rlm_keys_match(k, "") && !rlm_keys_match(k, "first-ke") &&
          !rlm_keys_match(k, "first-key2"));
    char longer[600];
    memset(longer, 'a', sizeof longer);
    longer[599] = 0;
    CHECK(!rlm_keys_match(k, longer));
    CHECK(rlm_keys_read(k, "short", NULL, &err) == RLM_E_ARG);
    CHECK(rlm_keys_read(k, longer, NULL, &err) == RLM_E_ARG);
    CHECK(rlm_keys_read(k, ",", NULL, &err) == RLM_E_ARG);
    CHECK(rlm_keys_read(k, NULL, "/no/such/file", &err) == RLM_E_IO);
    free(k);
}

static void case_hosts_and_origins(void)
{
    static const char *const good[] = {"localhost",  "LOCALHOST:8080", "127.0.0.1",
                                       "10.0.0.1:1", "[::1]:80",       "a.b:3"};
    static const char *const bad[] = {"",      "evil",          "localhost.evil", "[::1",
                                      "1.2.3", "localhost:80x", "a.b.c",          "127.0.0.1:"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!rlm_host_allowed(good[i], "x,a.b"))
            TEST_FAILED("%s was refused", good[i]);
    for (size_t i = 0; i + 1 < sizeof bad / sizeof bad[0]; i++)
        if (rlm_host_allowed(bad[i], "x,a.b"))
            TEST_FAILED("%s was let in", bad[i]);
    CHECK(!rlm_host_allowed(NULL, NULL));
    CHECK(rlm_origin_allowed("http://localhost:80", "localhost:80", NULL));
    CHECK(!rlm_origin_allowed("http://localhost:81", "localhost:80", NULL));
    CHECK(!rlm_origin_allowed("null", "localhost", NULL) &&
          !rlm_origin_allowed("http://x", NULL, NULL));
    CHECK(rlm_origin_allowed("https://a.b", "localhost", "http://c,https://a.b"));
}

static void case_rates(void)
{
    rlm_rates *r = calloc(1, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    int may = 0;
    for (int i = 0; i < 100; i++)
        may += rlm_rates_take(r, "10.0.0.1", 5, 1000);
    CHECK(may == 10);
    CHECK(rlm_rates_take(r, "10.0.0.2", 5, 1000));
    CHECK(!rlm_rates_take(r, "10.0.0.1", 5, 1000.1) && rlm_rates_take(r, "10.0.0.1", 5, 1000.3));
    CHECK(rlm_rates_take(r, "10.0.0.1", 0, 1000.3));
    pthread_mutex_destroy(&r->lock);
    free(r);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_base64_round_trip);
    TEST_CASE(case_base64_refuses);
    TEST_CASE(case_long_lines_fail);
    TEST_CASE(case_utf8);
    TEST_CASE(case_cut_texts_are_mended);
    TEST_CASE(case_ids);
    TEST_CASE(case_paths_are_hidden);
    TEST_CASE(case_multipart);
    TEST_CASE(case_json_is_flattened);
    TEST_CASE(case_forms_refuse);
    TEST_CASE(case_wish_defaults_and_ranges);
    TEST_CASE(case_wish_choice);
    TEST_CASE(case_wish_saves_and_loads);
    TEST_CASE(case_wish_keeps_its_seed);
    TEST_CASE(case_wish_keeps_its_spans);
    TEST_CASE(case_strict);
    TEST_CASE(case_wish_inputs);
    TEST_CASE(case_keys);
    TEST_CASE(case_hosts_and_origins);
    TEST_CASE(case_rates);
    return TEST_END();
}
