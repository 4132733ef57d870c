/* The rhythm of a training run: where it begins, steps, progress, validation, samples, checkpoints,
 * the reasons to stop. What a step is, the networks' own loops say. */
#include "src/train/train.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_EVERY = 20, PATH_ROOM = 4096, RECIPE_LIMIT = 1 << 20 };
static const size_t ARENA_RESERVE = (size_t)1 << 38;

int rlm_train_init_open(rlm_safetensors *st, const char *init, const char *name, rlm_error *err)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, rlm_is_dir(init) ? "%s/%s" : "%s", init, name);
    return rlm_st_open(st, path, err);
}

int rlm_train_weights(rlm_trainer *t, const char *name, rlm_error *err)
{
    rlm_safetensors st;
    RLM_TRY(rlm_params_allocate(&t->params, true, err));
    rlm_params_initialise(&t->params, t->recipe.seed);
    if (!t->o->init)
        return 0;
    RLM_TRY(rlm_train_init_open(&st, t->o->init, name, err));
    int code = rlm_params_load(&t->params, &st, "", err);
    rlm_st_close(&st);
    return code;
}

int rlm_train_freeze(rlm_trainer *t, rlm_error *err)
{
    if (!t->recipe.decoder_only)
        return 0;
    if (!t->o->init && !t->o->resume)
        return rlm_fail(err, RLM_E_ARG, "train: decoder_only needs --init or --resume");
    rlm_params_freeze(&t->params, "decoder.");
    return 0;
}

int rlm_train_plan(rlm_trainer *t, int (*step)(void *trainer, rlm_error *err), rlm_error *err)
{
    rlm_kernels empty;
    rlm_kernels_empty_training(&empty, &t->k);
    RLM_TRY(rlm_arena_reserve(&t->arena, ARENA_RESERVE, err));
    t->run =
        (rlm_run){.k = &empty, .arena = &t->arena, .par = t->par, .tape = &t->tape, .lazy = true};
    int code = step(t, err);
    t->run.k = &t->k;
    RLM_TRY(code);
    RLM_TRY(rlm_tape_check(&t->tape, err));
    rlm_tape_clear(&t->tape);
    rlm_arena_rewind(&t->arena, 0);
    return rlm_arena_commit(&t->arena, t->arena.peak, err);
}

static void name_model(char dir[PATH_ROOM], const rlm_train_options *o)
{
    snprintf(dir, PATH_ROOM, "%s/model", o->run_dir);
}

static void name_recipe(char path[PATH_ROOM], const rlm_train_options *o)
{
    snprintf(path, PATH_ROOM, "%s/recipe.json", o->run_dir);
}

/* The config goes into the run, so that --resume alone goes on with it. */
static int keep_recipe(const rlm_train_options *o, rlm_error *err)
{
    char path[PATH_ROOM], *text;
    size_t bytes;
    name_recipe(path, o);
    if (!o->config || !strcmp(o->config, path))
        return 0;
    RLM_TRY(rlm_file_read(o->config, RECIPE_LIMIT, &text, &bytes, err));
    int code = rlm_file_write(path, text, bytes, err);
    rlm_free(text);
    return code;
}

int rlm_train_begin(rlm_trainer *t, rlm_error *err)
{
    const char *run_dir = t->o->run_dir;
    if (t->o->resume) {
        char model[PATH_ROOM];
        name_model(model, t->o);
        rlm_sweep_temporaries(run_dir);
        rlm_sweep_temporaries(model);
        RLM_TRY(rlm_checkpoint_load(&t->checkpoint, run_dir, err));
        if (t->checkpoint.note[0])
            rlm_logf(&t->log, 1, "%s", t->checkpoint.note);
        for (int i = 0; i < t->checkpoint.optim_count; i++)
            rlm_optim_settle(t->checkpoint.optims[i]);
    }
    t->step = t->checkpoint.step;
    RLM_TRY(rlm_mkdirs(run_dir, err));
    RLM_TRY(keep_recipe(t->o, err));
    return rlm_journal_open(&t->journal, run_dir, t->step, err);
}

int rlm_train_repack(rlm_trainer *t, rlm_error *err)
{
    const rlm_checkpoint *c = &t->checkpoint;
    for (int i = 0; i < c->optim_count; i++)
        RLM_TRY(rlm_params_pack(c->optims[i]->params, &t->k, t->par, true, err));
    return 0;
}

double rlm_train_rate(const rlm_trainer *t)
{
    return t->recipe.lr * rlm_schedule(&t->recipe, t->step);
}

static bool due(int64_t step, int every)
{
    return every > 0 && step % every == 0;
}

/* The journal's latest line to whoever watches; true: asked to stop. */
static bool tell(const rlm_trainer *t)
{
    const char *line = rlm_journal_line(t->journal, t->recipe.steps);
    bool stop = t->o->progress && t->o->progress(t->o->progress_cookie, line);
    if (due(t->step, LINE_EVERY))
        rlm_logf(&t->log, 2, "%s", line);
    return stop;
}

/* With the averaged weights in place. */
static int look(const rlm_loop *l, rlm_trainer *t, bool last, rlm_error *err)
{
    int what = 0;
    what |= last || due(t->step, t->recipe.validate_every) ? RLM_LOOK_SCORE : 0;
    what |= last || due(t->step, t->recipe.sample_every) ? RLM_LOOK_SAMPLE : 0;
    if (!what)
        return 0;
    rlm_optim_swap_ema(&t->optim);
    int code = rlm_train_repack(t, err);
    if (!code)
        code = l->look(t, what, err);
    rlm_optim_swap_ema(&t->optim);
    RLM_TRY(code);
    return rlm_train_repack(t, err);
}

static int save_model(const rlm_loop *l, rlm_trainer *t, rlm_error *err)
{
    char dir[PATH_ROOM];
    name_model(dir, t->o);
    RLM_TRY(rlm_mkdirs(dir, err));
    return l->save(t, dir, err);
}

static int save(const rlm_loop *l, rlm_trainer *t, rlm_error *err)
{
    t->checkpoint.step = t->step;
    RLM_TRY(rlm_checkpoint_save(&t->checkpoint, t->o->run_dir, t->recipe.keep, err));
    return save_model(l, t, err);
}

static int run_steps(const rlm_loop *l, rlm_trainer *t, rlm_error *err)
{
    bool stop = false;
    double began = rlm_now();
    if (t->o->max_seconds > 0)
        rlm_journal_until(t->journal, began + t->o->max_seconds);
    /* Killed behind the last checkpoint and before its model was whole: no step will write it. */
    if (t->o->resume && t->step >= t->recipe.steps)
        RLM_TRY(save_model(l, t, err));
    while (t->step < t->recipe.steps && !stop) {
        RLM_TRY(l->advance(t, err));
        stop = tell(t);
        stop |= t->o->max_seconds > 0 && rlm_now() - began > t->o->max_seconds;
        bool last = stop || t->step == t->recipe.steps;
        RLM_TRY(look(l, t, last, err));
        if (last || due(t->step, t->recipe.checkpoint_every))
            RLM_TRY(save(l, t, err));
    }
    rlm_logf(&t->log, 2, "%s after step %lld of %lld: %s/model; --resume goes on%s",
             stop && t->step < t->recipe.steps ? "stopped" : "done", (long long)t->step,
             (long long)t->recipe.steps, t->o->run_dir,
             t->step < t->recipe.steps ? "" : " with more --steps");
    return 0;
}

static int open_all(const rlm_loop *l, rlm_trainer *t, rlm_error *err)
{
    RLM_TRY(rlm_recipe_load(&t->recipe, t->o, err));
    RLM_TRY(rlm_kernels_init_training(&t->k, t->o->cpu_mask, err));
    RLM_TRY(rlm_par_open(&t->par, t->o->threads, err));
    return l->open(t, err);
}

static void close_all(const rlm_loop *l, rlm_trainer *t)
{
    l->close(t);
    if (t->journal)
        rlm_journal_close(&t->journal);
    rlm_optim_free(&t->optim);
    rlm_params_free(&t->params);
    rlm_tape_free(&t->tape);
    if (t->arena.base)
        rlm_arena_release(&t->arena);
    if (t->par)
        rlm_par_close(&t->par);
    rlm_free(t);
}

int rlm_train_run(const rlm_loop *l, const rlm_train_options *o, rlm_error *err)
{
    rlm_trainer *t = rlm_calloc(1, l->bytes);
    if (!t)
        return rlm_fail(err, RLM_E_NOMEM, "training: no memory");
    rlm_train_options own = *o;
    char kept[PATH_ROOM];
    name_recipe(kept, o);
    if (o->resume && !o->config && access(kept, R_OK) == 0)
        own.config = kept;
    t->o = &own;
    t->log = (rlm_log){o->log, o->log_cookie};
    int code = open_all(l, t, err);
    if (!code && !t->done)
        code = run_steps(l, t, err);
    close_all(l, t);
    return code;
}
