/* All that the language model would learn from, as one file: codes and captions of every clip, and
 * the sequences that the validation looks at. tests/golden/twin_train_lm.py trains from it on
 * other machines, building sequences by the rules of prompts/layout.h; the ones in the file show
 * that it builds the same. docs/FORMATS.md, "Training dump". */
#include <string.h>

#include "src/train/lm_train.h"

enum { CLIP_COLUMNS = 3, VIEW_COLUMNS = 6, SEQUENCE_COLUMNS = 4, OF_A_KIND = 32 };

/* A list of int32 that grows; `failed` sticks. */
typedef struct list {
    int32_t *items;
    int64_t count, room;
    bool failed;
} list;

static void add(list *l, int64_t n, const int32_t *items)
{
    if (!l->failed && l->count + n > l->room) {
        int64_t room = 2 * l->room + n + 4096;
        int32_t *more = rlm_alloc(rlm_size_mul((size_t)room, sizeof *more));
        l->failed = !more;
        if (more && l->count)
            memcpy(more, l->items, (size_t)l->count * sizeof *more);
        if (more) {
            rlm_free(l->items);
            l->items = more;
            l->room = room;
        }
    }
    if (l->failed || n < 1)
        return;
    memcpy(l->items + l->count, items, (size_t)n * sizeof *items);
    l->count += n;
}

/* The tensors of the file, in its order. */
enum { CLIPS, TEXT_COUNT, TEXT, VIEWS, CODES, SEQUENCES, IDS, POS, TARGET, LISTS };
static const struct {
    const char *name;
    int columns;
} TENSOR[LISTS] = {
    [CLIPS] = {"clips", CLIP_COLUMNS},
    [TEXT_COUNT] = {"text_count", RLM_LM_TEXTS},
    [TEXT] = {"text", 1},
    [VIEWS] = {"views", VIEW_COLUMNS},
    [CODES] = {"codes", 1},
    [SEQUENCES] = {"sequences", SEQUENCE_COLUMNS},
    [IDS] = {"ids", 1},
    [POS] = {"pos", 3},
    [TARGET] = {"target", 1},
};

static void add_clip(list l[LISTS], const rlm_lm_mix *m, int place)
{
    const rlm_lm_clip *c = &m->store->clips[place];
    int32_t row[CLIP_COLUMNS] = {c->source, !rlm_lm_mix_trained_on(m, place), c->view_count};
    add(&l[CLIPS], CLIP_COLUMNS, row);
    add(&l[TEXT_COUNT], RLM_LM_TEXTS, c->text_count);
    for (int i = 0; i < RLM_LM_TEXTS; i++)
        add(&l[TEXT], c->text_count[i], c->text[i]);
    for (int n = 0; n < c->view_count; n++) {
        const rlm_lm_view *v = &c->views[n];
        int64_t video = v->video ? (int64_t)v->dims[0] * v->dims[1] * v->dims[2] : 0;
        int32_t about[VIEW_COLUMNS] = {v->dims[0], v->dims[1], v->dims[2],
                                       v->levels,  v->frames,  v->control != NULL};
        add(&l[VIEWS], VIEW_COLUMNS, about);
        add(&l[CODES], video, v->video);
        add(&l[CODES], (int64_t)v->levels * v->frames, v->sound);
        add(&l[CODES], v->control ? video : 0, v->control);
    }
}

static int add_sequence(list l[LISTS], rlm_lm_mix *m, int kind, int place, int *made,
                        rlm_error *err)
{
    rlm_lm_batch b;
    RLM_TRY(rlm_lm_mix_one(m, kind, place, &b, err));
    if (b.batch < 1)
        return 0;
    int32_t row[SEQUENCE_COLUMNS] = {kind, place, b.prefix[0], b.length[0]};
    add(&l[SEQUENCES], SEQUENCE_COLUMNS, row);
    add(&l[IDS], b.len, b.ids);
    add(&l[POS], 3 * (int64_t)b.len, b.pos);
    for (int i = 0; i < b.len; i++) {
        const int32_t target = b.target[i];
        add(&l[TARGET], 1, &target);
    }
    ++*made;
    return 0;
}

/* Every kind of sequence (pairs are no kind of their own) of the first validation clips of both
 * sources that suit it. */
static int add_sequences(list l[LISTS], rlm_lm_mix *m, rlm_error *err)
{
    static const int sources[] = {RLM_SOURCE_REAL, RLM_SOURCE_PLAYGROUND};
    for (int s = 0; s < 2; s++)
        for (int kind = 0; kind < RLM_LM_MIX_WORDS; kind++) {
            int count = rlm_lm_mix_val_count(m, sources[s]), made = 0;
            for (int i = 0; i < count && made < OF_A_KIND; i++)
                RLM_TRY(
                    add_sequence(l, m, kind, rlm_lm_mix_val_place(m, sources[s], i), &made, err));
        }
    return 0;
}

static int write_lists(const list l[LISTS], const rlm_lm_mix *m, const char *path, rlm_error *err)
{
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    rlm_st_add_meta(&w, "video_sha256", m->store->model->video_sha);
    if (m->store->model->audio)
        rlm_st_add_meta(&w, "audio_sha256", m->store->model->audio_sha);
    for (int i = 0; i < LISTS; i++) {
        int64_t shape[2] = {l[i].count / TENSOR[i].columns, TENSOR[i].columns};
        rlm_tensor t = rlm_tensor_view(l[i].items, RLM_I32, TENSOR[i].columns > 1 ? 2 : 1, shape);
        if (l[i].count)
            rlm_st_add(&w, TENSOR[i].name, &t, RLM_I32);
    }
    int code = rlm_st_commit(&w, path, err);
    rlm_st_writer_free(&w);
    return code;
}

int rlm_lm_dump(rlm_lm_mix *m, const char *path, rlm_error *err)
{
    list l[LISTS] = {{0}};
    bool failed = false;
    for (int i = 0; i < m->store->count; i++)
        add_clip(l, m, i);
    int code = add_sequences(l, m, err);
    for (int i = 0; i < LISTS; i++)
        failed = failed || l[i].failed;
    if (!code)
        code = failed ? rlm_fail(err, RLM_E_NOMEM, "%s: no memory for the codes of %d clips", path,
                                 m->store->count)
                      : write_lists(l, m, path, err);
    for (int i = 0; i < LISTS; i++)
        rlm_free(l[i].items);
    return code;
}
