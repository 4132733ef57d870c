/* The rhythm of a training run: where it begins, steps, progress, validation, samples, checkpoints,
 * the reasons to stop. What a step is, the networks' own loops say. */
#include "src/train/train.h"

#include <stdio.h>

enum { LINE_EVERY = 20, PATH_ROOM = 4096 };

int rlm_train_init_open(rlm_safetensors *st, const char *init, const char *name, rlm_error *err)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, rlm_is_dir(init) ? "%s/%s" : "%s", init, name);
    return rlm_st_open(st, path, err);
}

int rlm_train_init(rlm_params *p, const char *init, const char *name, rlm_error *err)
{
    rlm_safetensors st;
    RLM_TRY(rlm_train_init_open(&st, init, name, err));
    int code = rlm_params_load(p, &st, "", err);
    rlm_st_close(&st);
    return code;
}

int rlm_train_freeze(rlm_params *p, const rlm_recipe *r, const rlm_train_options *o, rlm_error *err)
{
    if (!r->decoder_only)
        return 0;
    if (!o->init && !o->resume)
        return rlm_fail(err, RLM_E_ARG, "train: decoder_only needs --init or --resume");
    rlm_params_freeze(p, "decoder.");
    return 0;
}

static void name_model(char dir[PATH_ROOM], const rlm_train_options *o)
{
    snprintf(dir, PATH_ROOM, "%s/model", o->run_dir);
}

int rlm_train_begin(rlm_checkpoint *c, const rlm_train_options *o, const rlm_log *log,
                    rlm_journal **journal, rlm_error *err)
{
    if (o->resume) {
        char model[PATH_ROOM];
        name_model(model, o);
        rlm_sweep_temporaries(o->run_dir);
        rlm_sweep_temporaries(model);
        RLM_TRY(rlm_checkpoint_load(c, o->run_dir, err));
        if (c->note[0])
            rlm_logf(log, 1, "%s", c->note);
        for (int i = 0; i < c->optim_count; i++)
            rlm_optim_settle(c->optims[i]);
    }
    RLM_TRY(rlm_mkdirs(o->run_dir, err));
    return rlm_journal_open(journal, o->run_dir, c->step, err);
}

static bool due(int64_t step, int every)
{
    return every > 0 && step % every == 0;
}

/* The journal's latest line to whoever watches; true: asked to stop. */
static bool tell(const rlm_rhythm *r)
{
    const char *line = rlm_journal_line(r->journal, r->recipe->steps);
    bool stop = r->options->progress && r->options->progress(r->options->progress_cookie, line);
    if (due(*r->step, LINE_EVERY))
        rlm_logf(r->log, 2, "%s", line);
    return stop;
}

/* With the averaged weights in place. */
static int look(const rlm_rhythm *r, bool last, rlm_error *err)
{
    rlm_optim *optim = r->checkpoint->optims[0];
    int what = 0;
    what |= last || due(*r->step, r->recipe->validate_every) ? RLM_LOOK_SCORE : 0;
    what |= last || due(*r->step, r->recipe->sample_every) ? RLM_LOOK_SAMPLE : 0;
    if (!what)
        return 0;
    rlm_optim_swap_ema(optim);
    int code = r->repack(r->trainer, err);
    if (!code)
        code = r->look(r->trainer, what, err);
    rlm_optim_swap_ema(optim);
    RLM_TRY(code);
    return r->repack(r->trainer, err);
}

static int save_model(const rlm_rhythm *r, rlm_error *err)
{
    char dir[PATH_ROOM];
    name_model(dir, r->options);
    RLM_TRY(rlm_mkdirs(dir, err));
    return r->save(r->trainer, dir, err);
}

static int save(const rlm_rhythm *r, rlm_error *err)
{
    r->checkpoint->step = *r->step;
    RLM_TRY(rlm_checkpoint_save(r->checkpoint, r->options->run_dir, r->recipe->keep, err));
    return save_model(r, err);
}

int rlm_train_run(const rlm_rhythm *r, rlm_error *err)
{
    bool stop = false;
    double began = rlm_now();
    /* Killed behind the last checkpoint and before its model was whole: no step will write it. */
    if (r->options->resume && *r->step >= r->recipe->steps)
        RLM_TRY(save_model(r, err));
    while (*r->step < r->recipe->steps && !stop) {
        RLM_TRY(r->advance(r->trainer, err));
        stop = tell(r);
        stop |= r->options->max_seconds > 0 && rlm_now() - began > r->options->max_seconds;
        bool last = stop || *r->step == r->recipe->steps;
        RLM_TRY(look(r, last, err));
        if (last || due(*r->step, r->recipe->checkpoint_every))
            RLM_TRY(save(r, err));
    }
    return 0;
}
