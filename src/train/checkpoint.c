/* Checkpoints. run/checkpoints/step_0000100.safetensors holds, per optimiser NAME, the f32 tensors
 * NAME/weight/PARAM, NAME/m/PARAM, NAME/v/PARAM, NAME/ema/PARAM; blobs as u8 tensors blob/NAME;
 * steps in the metadata. run/latest is a list, newest first, of "FILE SHA256" lines: a checkpoint
 * counts from the moment this list, replaced atomically, names it. */
#include "src/train/train.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIST_MAX = 64, NAME_MAX_BYTES = 64, KINDS = 4 };
static const char *const KIND[KINDS] = {"weight", "m", "v", "ema"};

typedef struct entry {
    char file[NAME_MAX_BYTES], sha[65];
} entry;
typedef struct list {
    entry items[LIST_MAX];
    int count;
} list;

static float *block(const rlm_optim *o, int kind)
{
    float *const blocks[KINDS] = {o->params->data, o->m, o->v, o->ema};
    return blocks[kind];
}

/* ---- The list ---- */

static bool plain_name(const char *s)
{
    return *s && *s != '.' && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == strlen(s);
}

/* A run directory without `latest` gives an empty list. */
static int list_read(list *l, const char *run_dir, rlm_error *err)
{
    memset(l, 0, sizeof *l);
    char *path = rlm_path_join(run_dir, "latest"), *text = NULL;
    size_t bytes;
    if (!path)
        return rlm_fail(err, RLM_E_NOMEM, "checkpoint: no memory");
    int code = 0;
    if (access(path, F_OK) == 0)
        code = rlm_file_read(path, 1 << 16, &text, &bytes, err);
    for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL;
         line && !code && l->count < LIST_MAX; line = strtok_r(NULL, "\n", &save)) {
        entry *e = &l->items[l->count];
        if (sscanf(line, "%63s %64s", e->file, e->sha) != 2 || !plain_name(e->file))
            code =
                rlm_fail(err, RLM_E_FORMAT, "%s: line %d is not FILE SHA256", path, l->count + 1);
        else
            l->count++;
    }
    rlm_free(text);
    rlm_free(path);
    return code;
}

static int list_write(const list *l, const char *run_dir, rlm_error *err)
{
    char *path = rlm_path_join(run_dir, "latest");
    if (!path)
        return rlm_fail(err, RLM_E_NOMEM, "checkpoint: no memory");
    rlm_writer w;
    int code = rlm_writer_open(&w, path, err);
    if (!code) {
        for (int i = 0; i < l->count; i++) {
            char line[NAME_MAX_BYTES + 80];
            int n = snprintf(line, sizeof line, "%s %s\n", l->items[i].file, l->items[i].sha);
            rlm_writer_put(&w, line, (size_t)n);
        }
        code = rlm_writer_commit(&w, err);
    }
    rlm_free(path);
    return code;
}

/* Whatever the list does not name goes: older checkpoints and torn temporaries. */
static void sweep(const list *l, const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *f; (f = readdir(d));) {
        bool named = strncmp(f->d_name, "step_", 5) != 0;
        for (int i = 0; i < l->count; i++)
            named = named || !strcmp(l->items[i].file, f->d_name);
        char *path = named ? NULL : rlm_path_join(dir, f->d_name);
        if (path)
            unlink(path);
        rlm_free(path);
    }
    closedir(d);
}

/* ---- Save ---- */

static void add_step(rlm_st_writer *w, const char *name, int64_t step)
{
    char key[96], value[32];
    snprintf(key, sizeof key, "%s.step", name);
    snprintf(value, sizeof value, "%" PRId64, step);
    rlm_st_add_meta(w, key, value);
}

static int add_all(const rlm_checkpoint *c, rlm_st_writer *w, rlm_error *err)
{
    rlm_st_add_meta(w, "format", "reelm-checkpoint");
    rlm_st_add_meta(w, "version", "1");
    add_step(w, "run", c->step);
    for (int i = 0; i < c->optim_count; i++) {
        const rlm_optim *o = c->optims[i];
        add_step(w, c->names[i], o->step);
        for (int kind = 0; kind < KINDS; kind++) {
            char prefix[64];
            snprintf(prefix, sizeof prefix, "%s/%s/", c->names[i], KIND[kind]);
            if (block(o, kind))
                RLM_TRY(rlm_params_save(o->params, w, prefix, RLM_F32, block(o, kind), err));
        }
    }
    for (int i = 0; i < c->blob_count; i++) {
        const rlm_state_blob *b = &c->blobs[i];
        int64_t shape[1] = {(int64_t)b->bytes};
        char name[96];
        snprintf(name, sizeof name, "blob/%s", b->name);
        rlm_tensor t = rlm_tensor_view(b->data, RLM_U8, 1, shape);
        if (b->bytes)
            rlm_st_add(w, name, &t, RLM_U8);
    }
    return 0;
}

/* A name no listed checkpoint has: the file behind a name never changes once it is listed. */
static void free_name(const list *l, int64_t step, char name[NAME_MAX_BYTES])
{
    for (int turn = 0;; turn++) {
        bool taken = false;
        if (turn)
            snprintf(name, NAME_MAX_BYTES, "step_%07" PRId64 "-%d.safetensors", step, turn);
        else
            snprintf(name, NAME_MAX_BYTES, "step_%07" PRId64 ".safetensors", step);
        for (int i = 0; i < l->count; i++)
            taken = taken || !strcmp(l->items[i].file, name);
        if (!taken)
            return;
    }
}

static int save_file(const rlm_checkpoint *c, const char *dir, const char *name, char sha[65],
                     rlm_error *err)
{
    char *path = rlm_path_join(dir, name);
    if (!path)
        return rlm_fail(err, RLM_E_NOMEM, "checkpoint: no memory");
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    int code = add_all(c, &w, err);
    if (!code)
        code = rlm_st_commit(&w, path, err);
    rlm_st_writer_free(&w);
    if (!code)
        code = rlm_file_sha256(path, sha, err);
    rlm_free(path);
    return code;
}

int rlm_checkpoint_save(const rlm_checkpoint *c, const char *run_dir, int keep, rlm_error *err)
{
    list old, now = {0};
    if (keep < 1)
        keep = 1;
    RLM_TRY(list_read(&old, run_dir, err));
    char *dir = rlm_path_join(run_dir, "checkpoints");
    if (!dir)
        return rlm_fail(err, RLM_E_NOMEM, "checkpoint: no memory");
    int code = rlm_mkdirs(dir, err);
    free_name(&old, c->step, now.items[0].file);
    if (!code)
        code = save_file(c, dir, now.items[0].file, now.items[0].sha, err);
    now.count = 1;
    for (int i = 0; i < old.count && now.count < keep && now.count < LIST_MAX; i++)
        now.items[now.count++] = old.items[i];
    if (!code)
        code = list_write(&now, run_dir, err);
    if (!code)
        sweep(&now, dir);
    rlm_free(dir);
    return code;
}

/* ---- Load ---- */

static void shape_text(char out[96], int rank, const int64_t *shape)
{
    int n = 0;
    for (int i = 0; i < rank && n < 80; i++)
        n += snprintf(out + n, 96 - (size_t)n, "%s%" PRId64, i ? "," : "[", shape[i]);
    snprintf(out + n, 96 - (size_t)n, "]");
}

static const rlm_tensor *find(const rlm_safetensors *st, const char *name, const rlm_param *p,
                              rlm_error *err)
{
    char found[96], wanted[96];
    const rlm_tensor *t = rlm_st_find(st, name);
    shape_text(wanted, p->rank, p->shape);
    if (!t) {
        rlm_fail(err, RLM_E_MODEL, "%s: %s is missing, the network has %s", st->path, name, wanted);
        return NULL;
    }
    shape_text(found, t->rank, t->shape);
    if (t->dtype != RLM_F32 || strcmp(found, wanted)) {
        rlm_fail(err, RLM_E_MODEL, "%s: %s is %s%s, the network has %s", st->path, name, found,
                 t->dtype == RLM_F32 ? "" : " and not f32", wanted);
        return NULL;
    }
    return t;
}

/* copy false: only checks that everything is there and fits. */
static int restore_optim(rlm_optim *o, const char *name, const rlm_safetensors *st, bool copy,
                         rlm_error *err)
{
    for (int kind = 0; kind < KINDS; kind++) {
        if (!block(o, kind))
            continue;
        for (int i = 0; i < o->params->count; i++) {
            const rlm_param *p = o->params->items[i];
            char full[256];
            snprintf(full, sizeof full, "%s/%s/%s", name, KIND[kind], p->name);
            const rlm_tensor *t = find(st, full, p, err);
            if (!t)
                return RLM_E_MODEL;
            if (copy)
                memcpy(block(o, kind) + (p->data - o->params->data), t->data,
                       (size_t)p->count * sizeof(float));
        }
    }
    return 0;
}

static int restore_blob(const rlm_state_blob *b, const rlm_safetensors *st, bool copy,
                        rlm_error *err)
{
    char name[96];
    if (!b->bytes)
        return 0;
    snprintf(name, sizeof name, "blob/%s", b->name);
    const rlm_tensor *t = rlm_st_find(st, name);
    if (!t || t->dtype != RLM_U8 || (size_t)rlm_tensor_count(t) != b->bytes)
        return rlm_fail(err, RLM_E_MODEL, "%s: %s has %" PRId64 " bytes, expected %zu", st->path,
                        name, t ? rlm_tensor_count(t) : (int64_t)0, b->bytes);
    if (copy)
        memcpy(b->data, t->data, b->bytes);
    return 0;
}

static int read_step(const rlm_safetensors *st, const char *name, int64_t *step, rlm_error *err)
{
    char key[96], *end;
    snprintf(key, sizeof key, "%s.step", name);
    const char *text = rlm_st_meta(st, key);
    *step = text ? strtoll(text, &end, 10) : -1;
    if (!text || *end || *step < 0)
        return rlm_fail(err, RLM_E_FORMAT, "%s: metadata %s is %s, expected a step", st->path, key,
                        text ? text : "missing");
    return 0;
}

static int restore(rlm_checkpoint *c, const rlm_safetensors *st, rlm_error *err)
{
    const char *format = rlm_st_meta(st, "format"), *version = rlm_st_meta(st, "version");
    int64_t run_step, steps[4] = {0};
    if (!format || strcmp(format, "reelm-checkpoint"))
        return rlm_fail(err, RLM_E_FORMAT, "%s: not a checkpoint", st->path);
    if (!version || strcmp(version, "1"))
        return rlm_fail(err, RLM_E_VERSION, "%s: checkpoint version %s, expected 1", st->path,
                        version ? version : "(none)");
    RLM_TRY(read_step(st, "run", &run_step, err));
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < c->optim_count; i++) {
            RLM_TRY(read_step(st, c->names[i], &steps[i], err));
            RLM_TRY(restore_optim(c->optims[i], c->names[i], st, pass == 1, err));
        }
        for (int i = 0; i < c->blob_count; i++)
            RLM_TRY(restore_blob(&c->blobs[i], st, pass == 1, err));
    }
    for (int i = 0; i < c->optim_count; i++)
        c->optims[i]->step = steps[i];
    c->step = run_step;
    return 0;
}

/* *damaged: the file is not what `latest` says (the caller then tries an older one). */
static int load_file(rlm_checkpoint *c, const char *path, const char *sha, bool *damaged,
                     rlm_error *err)
{
    rlm_safetensors st;
    char found[65];
    *damaged = true;
    RLM_TRY(rlm_file_sha256(path, found, err));
    if (strcmp(found, sha))
        return rlm_fail(err, RLM_E_FORMAT, "%s: damaged: its sha256 is %.12s, `latest` says %.12s",
                        path, found, sha);
    *damaged = false;
    RLM_TRY(rlm_st_open(&st, path, err));
    int code = restore(c, &st, err);
    rlm_st_close(&st);
    return code;
}

int rlm_checkpoint_load(rlm_checkpoint *c, const char *run_dir, rlm_error *err)
{
    list l;
    c->note[0] = 0;
    RLM_TRY(list_read(&l, run_dir, err));
    if (!l.count)
        return rlm_fail(err, RLM_E_IO, "%s: no checkpoint to resume from", run_dir);
    char *dir = rlm_path_join(run_dir, "checkpoints");
    int code = dir ? 0 : rlm_fail(err, RLM_E_NOMEM, "checkpoint: no memory");
    for (int i = 0; dir && i < l.count; i++) {
        bool damaged = false;
        rlm_error why = {0};
        char *path = rlm_path_join(dir, l.items[i].file);
        code = path ? load_file(c, path, l.items[i].sha, &damaged, &why)
                    : rlm_fail(&why, RLM_E_NOMEM, "checkpoint: no memory");
        rlm_free(path);
        if (!code) {
            if (i)
                snprintf(c->note, sizeof c->note, "%s is missing or damaged; continued from %s",
                         l.items[0].file, l.items[i].file);
            break;
        }
        if (err && (i == 0 || !damaged))
            *err = why;
        if (!damaged)
            break;
    }
    rlm_free(dir);
    return code;
}

int rlm_checkpoint_exists(const char *run_dir)
{
    list l;
    return list_read(&l, run_dir, NULL) == 0 && l.count > 0;
}
