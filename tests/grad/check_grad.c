/* Every backward rule against 4-point finite differences on the reference kernels
 * (loss = fixed random weights times the outputs, summed in double), and the best kernels of this
 * machine against the reference within bf16 accuracy. */
#include "tests/grad/rig.h"

/* ---- One case a rule ------------------------------------------------------------------------ */

static rlm_tensor linear_net(rlm_run *run, rig *r)
{
    rlm_tensor a = rlm_linear_forward(run, &r->linear[0], &r->in[0]);
    return rlm_linear_residual_forward(run, &r->linear[1], &a, &r->in[1]);
}

static void case_linear(void)
{
    rig r = {.forward = linear_net};
    input2(&r, 5, 7);
    input2(&r, 5, 3);
    rlm_linear_declare(&r.linear[0], &r.params, "a", 7, 6, true, 1.0f);
    rlm_linear_declare(&r.linear[1], &r.params, "b", 6, 3, false, 1.0f);
    check(&r);
}

static rlm_tensor conv_net(rlm_run *run, rig *r)
{
    rlm_tensor a = rlm_conv_forward(run, &r->conv[0], &r->in[0]);
    rlm_tensor b = rlm_conv_forward(run, &r->conv[1], &a);
    return rlm_conv_residual_forward(run, &r->conv[2], &b, &r->in[1]);
}

static void case_conv_video(void)
{
    rig r = {.forward = conv_net};
    input5(&r, 2, 5, 6, 4, 3);
    input5(&r, 2, 3, 3, 2, 2);
    rlm_conv_declare(
        &r.conv[0], &r.params, "a",
        &(rlm_conv_spec){.cin = 3, .cout = 4, .kt = 3, .kh = 3, .kw = 3, .bias = true});
    rlm_conv_declare(&r.conv[1], &r.params, "b",
                     &(rlm_conv_spec){.cin = 4,
                                      .cout = 3,
                                      .kt = 3,
                                      .kh = 3,
                                      .kw = 3,
                                      .st = 2,
                                      .sh = 2,
                                      .sw = 2,
                                      .bias = true});
    rlm_conv_declare(&r.conv[2], &r.params, "c",
                     &(rlm_conv_spec){.cin = 3, .cout = 2, .kt = 1, .kh = 1, .kw = 1});
    check(&r);
}

static void case_conv_audio(void)
{
    rig r = {.forward = conv_net};
    input5(&r, 2, 1, 1, 19, 3);
    input5(&r, 2, 1, 1, 10, 2);
    rlm_conv_declare(&r.conv[0], &r.params, "a",
                     &(rlm_conv_spec){.cin = 3,
                                      .cout = 4,
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = 5,
                                      .dilation = 3,
                                      .causal_w = true,
                                      .bias = true});
    rlm_conv_declare(&r.conv[1], &r.params, "b",
                     &(rlm_conv_spec){.cin = 4,
                                      .cout = 3,
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = 4,
                                      .sw = 2,
                                      .causal_w = true,
                                      .bias = true});
    rlm_conv_declare(
        &r.conv[2], &r.params, "c",
        &(rlm_conv_spec){.cin = 3, .cout = 2, .kt = 1, .kh = 1, .kw = 2, .causal_w = true});
    check(&r);
}

static rlm_tensor rmsnorm_net(rlm_run *run, rig *r)
{
    return rlm_rmsnorm_forward(run, &r->rmsnorm[0], &r->in[0]);
}

static void case_rmsnorm(void)
{
    rig r = {.forward = rmsnorm_net};
    input2(&r, 4, 9);
    rlm_rmsnorm_declare(&r.rmsnorm[0], &r.params, "n", 9);
    check(&r);
}

static rlm_tensor groupnorm_net(rlm_run *run, rig *r)
{
    return rlm_groupnorm_forward(run, &r->groupnorm, &r->in[0]);
}

static void case_groupnorm(void)
{
    for (int affine = 0; affine < 2; affine++) {
        rig r = {.forward = groupnorm_net};
        input5(&r, 2, 2, 3, 2, 8);
        rlm_groupnorm_declare(&r.groupnorm, &r.params, "n", 8, 4,
                              affine ? RLM_ACT_SILU : RLM_ACT_NONE, affine);
        check(&r);
    }
}

/* A block of the tokenizers: norm - conv - norm - conv with residual; or activations instead. */
static rlm_tensor prepared_net(rlm_run *run, rig *r)
{
    const rlm_tensor *x = &r->in[0];
    if (r->act != RLM_ACT_NONE) {
        rlm_tensor h = rlm_act_conv_forward(run, r->act, &r->conv[0], x, NULL);
        return rlm_act_conv_forward(run, r->act, &r->conv[1], &h, x);
    }
    rlm_tensor h = rlm_norm_conv_forward(run, &r->groupnorm, &r->conv[0], x, NULL);
    return rlm_norm_conv_forward(run, &r->groupnorm, &r->conv[1], &h, x);
}

static void case_prepared(void)
{
    for (int act = 0; act < 2; act++) {
        rig r = {.forward = prepared_net, .act = act ? RLM_ACT_ELU : RLM_ACT_NONE};
        input5(&r, 2, 2, 3, 2, 8);
        rlm_conv_declare(&r.conv[0], &r.params, "a",
                         &(rlm_conv_spec){.cin = 8, .cout = 8, .kt = 1, .kh = 3, .kw = 3});
        rlm_conv_declare(
            &r.conv[1], &r.params, "b",
            &(rlm_conv_spec){.cin = 8, .cout = 8, .kt = 3, .kh = 1, .kw = 1, .bias = true});
        rlm_groupnorm_declare(&r.groupnorm, &r.params, "n", 8, 4, RLM_ACT_SILU, true);
        check(&r);
    }
}

/* The same without biases, in the kernels that take both. */
static rlm_tensor pair_net(rlm_run *run, rig *r)
{
    return rlm_norm_conv_pair_forward(run, r->pair, r->conv, &r->in[0], &r->in[0]);
}

static void case_pair(void)
{
    rig r = {.forward = pair_net};
    input5(&r, 2, 3, 4, 4, 8);
    rlm_conv_declare(&r.conv[0], &r.params, "a",
                     &(rlm_conv_spec){.cin = 8, .cout = 20, .kt = 1, .kh = 3, .kw = 3});
    rlm_conv_declare(&r.conv[1], &r.params, "b",
                     &(rlm_conv_spec){.cin = 20, .cout = 8, .kt = 3, .kh = 1, .kw = 1});
    rlm_groupnorm_declare(&r.pair[0], &r.params, "m", 8, 2, RLM_ACT_SILU, true);
    rlm_groupnorm_declare(&r.pair[1], &r.params, "n", 20, 2, RLM_ACT_SILU, true);
    check(&r);
}

static rlm_tensor act_net(rlm_run *run, rig *r)
{
    return rlm_act_forward(run, r->act, &r->in[0]);
}

static void case_act(void)
{
    for (int act = RLM_ACT_NONE; act <= RLM_ACT_RELU; act++) {
        rig r = {.forward = act_net, .act = (rlm_act)act};
        input2(&r, 6, 7);
        for (int i = 0; i < 42; i++) /* away from the kink at 0 */
            rlm_f32(&r.in[0])[i] += rlm_f32(&r.in[0])[i] > 0 ? 0.05f : -0.05f;
        check(&r);
    }
}

static rlm_tensor add_net(rlm_run *run, rig *r)
{
    rlm_tensor y = rlm_add_forward(run, &r->in[0], &r->in[1]);
    return rlm_modulate_forward(run, &y, &r->in[0], &r->in[2]);
}

static void case_add_modulate(void)
{
    rig r = {.forward = add_net};
    for (int i = 0; i < 3; i++)
        input2(&r, 5, 6);
    check(&r);
}

static rlm_tensor swiglu_net(rlm_run *run, rig *r)
{
    rlm_tensor y = rlm_swiglu_forward(run, &r->in[0]);
    return rlm_slice_forward(run, &y, 2, 3);
}

static void case_swiglu_slice(void)
{
    rig r = {.forward = swiglu_net};
    input2(&r, 4, 14);
    check(&r);
}

static rlm_tensor depth_net(rlm_run *run, rig *r)
{
    return rlm_depth_to_space_forward(run, &r->in[0], r->ft, r->fh, r->fw, r->drop);
}

static rlm_tensor space_net(rlm_run *run, rig *r)
{
    return rlm_space_to_depth_forward(run, &r->in[0], r->ft, r->fh, r->fw);
}

static rlm_tensor upsample_net(rlm_run *run, rig *r)
{
    return rlm_upsample_forward(run, &r->in[0], r->ft, r->fh, r->fw, r->drop);
}

static void case_rearrange(void)
{
    rig d = {.forward = depth_net, .ft = 2, .fh = 2, .fw = 1, .drop = 1};
    input5(&d, 2, 3, 2, 2, 8);
    check(&d);
    rig s = {.forward = space_net, .ft = 1, .fh = 2, .fw = 2};
    input5(&s, 2, 3, 4, 2, 3);
    check(&s);
    rig u = {.forward = upsample_net, .ft = 2, .fh = 2, .fw = 2, .drop = 1};
    input5(&u, 2, 3, 2, 2, 3);
    check(&u);
}

static rlm_tensor haar_net(rlm_run *run, rig *r)
{
    return rlm_haar_forward(run, &r->in[0]);
}

static rlm_tensor haar_inverse_net(rlm_run *run, rig *r)
{
    return rlm_haar_inverse_forward(run, &r->in[0]);
}

static void case_haar(void)
{
    rig f = {.forward = haar_net};
    input5(&f, 1, 5, 8, 4, 3);
    check(&f);
    rig i = {.forward = haar_inverse_net};
    input5(&i, 1, 2, 2, 1, 192);
    check(&i);
}

static rlm_tensor lfq_net(rlm_run *run, rig *r)
{
    return rlm_lfq_forward(run, &r->in[0], NULL);
}

/* A sign has no slope: straight through means the gradient of the output, unchanged. */
static void case_lfq(void)
{
    rig r = {.forward = lfq_net};
    input2(&r, 6, 5);
    run_backward(&world.reference, &r);
    for (int i = 0; i < 30; i++)
        CHECK(r.in[0].grad[i] == out_weight(i));
    check_best(&r);
    rig_free(&r);
}

static rlm_tensor embedding_net(rlm_run *run, rig *r)
{
    rlm_tensor y = rlm_embedding_forward(run, &r->embedding, r->ids, r->rows, NULL);
    y = rlm_embedding_forward(run, &r->embedding, r->ids + 1, r->rows, &y);
    rlm_tensor g = rlm_gather_forward(run, &r->in[0], r->ids, r->rows);
    return rlm_add_forward(run, &y, &g);
}

static void case_embedding_gather(void)
{
    static const int32_t IDS[8] = {3, 0, -1, 3, 2, 4, 0, 3};
    rig r = {.forward = embedding_net, .ids = IDS, .rows = 7};
    input2(&r, 5, 6);
    rlm_embedding_declare(&r.embedding, &r.params, "e", 5, 6, 0.5f);
    check(&r);
}

/* ---- Sequences ------------------------------------------------------------------------------ */

static rlm_tensor attention_net(rlm_run *run, rig *r)
{
    rlm_tensor y = rlm_qk_rope_forward(run, &r->attention, &r->in[0], r->where.angle);
    return rlm_attention_forward(run, &r->attention, &r->where, &y);
}

/* Pre-norm block of the language model on already embedded rows. */
static rlm_tensor block_stretch(rlm_run *run, const void *layer, const void *context,
                                const rlm_tensor *x)
{
    const rig *r = layer;
    const rlm_attention_in *where = context;
    rlm_tensor qkv =
        rlm_qkv_forward(run, &r->rmsnorm[0], &r->linear[0], &r->attention, x, where->angle);
    rlm_tensor a = rlm_attention_forward(run, &r->attention, where, &qkv);
    rlm_tensor y = rlm_linear_residual_forward(run, &r->linear[1], &a, x);
    return rlm_mlp_forward(run, &r->rmsnorm[1], &r->linear[2], &r->linear[3], &y);
}

static rlm_tensor block_net(rlm_run *run, rig *r)
{
    return block_stretch(run, r, &r->where, &r->in[0]);
}

static rlm_tensor norm_stretch(rlm_run *run, const void *layer, const void *context,
                               const rlm_tensor *x)
{
    (void)context;
    return rlm_rmsnorm_forward(run, layer, x);
}

/* Two stretches behind one another, each computed again in backward. */
static rlm_tensor again_net(rlm_run *run, rig *r)
{
    run->again = &world.again;
    rlm_tensor x = rlm_again_forward(run, block_stretch, r, &r->where, &r->in[0]);
    return rlm_again_forward(run, norm_stretch, &r->rmsnorm[0], NULL, &x);
}

static float *new_angles(int rows, int half)
{
    float *a = rlm_alloc((size_t)rows * (size_t)half * sizeof *a);
    for (int i = 0; i < rows * half; i++)
        a[i] = 6.0f * rlm_rng_uniform(1, 2, (uint64_t)i);
    return a;
}

static void case_attention(void)
{
    static const int PREFIX[2] = {3, 0}, LENGTH[2] = {7, 5};
    rig r = {.forward = attention_net};
    add_input(&r, 3, (int64_t[]){2, 7, 3 * 2 * 8});
    rlm_attention_declare(&r.attention, &r.params, "a", 2, 8);
    float *angle = new_angles(14, 4);
    r.where = (rlm_attention_in){2, 7, PREFIX, LENGTH, angle};
    check(&r);
    rlm_free(angle);
}

static void declare_block(rig *r, int dim, int heads, int ffn)
{
    rlm_rmsnorm_declare(&r->rmsnorm[0], &r->params, "n0", dim);
    rlm_rmsnorm_declare(&r->rmsnorm[1], &r->params, "n1", dim);
    rlm_linear_declare(&r->linear[0], &r->params, "qkv", dim, 3 * dim, false, 1.0f);
    rlm_linear_declare(&r->linear[1], &r->params, "out", dim, dim, false, 1.0f);
    rlm_linear_declare(&r->linear[2], &r->params, "up", dim, 2 * ffn, false, 1.0f);
    rlm_linear_declare(&r->linear[3], &r->params, "down", ffn, dim, false, 1.0f);
    rlm_attention_declare(&r->attention, &r->params, "attn", heads, dim / heads);
}

static void check_block(rlm_tensor (*forward)(rlm_run *, rig *))
{
    static const int PREFIX[2] = {3, 1}, LENGTH[2] = {6, 5};
    rig r = {.forward = forward};
    add_input(&r, 3, (int64_t[]){2, 6, 8});
    declare_block(&r, 8, 2, 12);
    float *angle = new_angles(12, 2);
    r.where = (rlm_attention_in){2, 6, PREFIX, LENGTH, angle};
    check(&r);
    rlm_free(angle);
}

static void case_block(void)
{
    check_block(block_net);
}

static void case_again(void)
{
    check_block(again_net);
}

/* Sizes at which the fast kernels take their own paths; reference against best only. */
static void case_block_best(void)
{
    static const int PREFIX[2] = {40, 17}, LENGTH[2] = {97, 80};
    rig r = {.forward = block_net};
    add_input(&r, 3, (int64_t[]){2, 97, 128});
    declare_block(&r, 128, 2, 160);
    float *angle = new_angles(2 * 97, 32);
    r.where = (rlm_attention_in){2, 97, PREFIX, LENGTH, angle};
    CHECK(rlm_params_allocate(&r.params, true, NULL) == 0);
    rlm_params_initialise(&r.params, 5);
    for (int i = 0; i < r.params.count; i++) {
        rlm_param *p = r.params.items[i];
        for (int64_t j = 0; j < p->count && p->rank == 1; j++) /* gains */
            p->data[j] += 0.3f * rlm_rng_normal(9, (uint64_t)i, (uint64_t)j);
    }
    check_best(&r);
    rig_free(&r);
    rlm_free(angle);
}

static void case_conv_best(void)
{
    rig r = {.forward = conv_net};
    input5(&r, 1, 3, 12, 10, 64);
    input5(&r, 1, 2, 6, 5, 32);
    rlm_conv_declare(
        &r.conv[0], &r.params, "a",
        &(rlm_conv_spec){.cin = 64, .cout = 96, .kt = 3, .kh = 3, .kw = 3, .bias = true});
    rlm_conv_declare(&r.conv[1], &r.params, "b",
                     &(rlm_conv_spec){.cin = 96,
                                      .cout = 64,
                                      .kt = 3,
                                      .kh = 3,
                                      .kw = 3,
                                      .st = 2,
                                      .sh = 2,
                                      .sw = 2,
                                      .bias = true});
    rlm_conv_declare(&r.conv[2], &r.params, "c",
                     &(rlm_conv_spec){.cin = 64, .cout = 32, .kt = 1, .kh = 3, .kw = 3});
    CHECK(rlm_params_allocate(&r.params, true, NULL) == 0);
    rlm_params_initialise(&r.params, 5);
    check_best(&r);
    rig_free(&r);
}

/* A frozen input or parameter (no gradient memory) is left alone, and nothing else changes. */
static void case_frozen(void)
{
    rig r = {.forward = linear_net};
    input2(&r, 5, 7);
    input2(&r, 5, 3);
    rlm_linear_declare(&r.linear[0], &r.params, "a", 7, 6, true, 1.0f);
    rlm_linear_declare(&r.linear[1], &r.params, "b", 6, 3, false, 1.0f);
    finish_params(&r);
    run_backward(&world.reference, &r);
    float *want = copy_of(r.linear[1].w->grad, 18), *keep = r.in[0].grad;
    rlm_params *p = &r.params;
    float *block = p->grad;
    memset(block, 0, (size_t)p->total * sizeof *block);
    rlm_run run = {&world.reference, &world.arena, world.par, &world.tape};
    rlm_tensor y;
    r.in[0].grad = r.linear[0].w->grad = r.linear[0].bias->grad = NULL;
    run_forward(&run, &r, &y);
    float *dy = rlm_grad(&run, &y);
    for (int64_t i = 0; i < rlm_tensor_count(&y); i++)
        dy[i] = out_weight(i);
    rlm_backward(&run, &world.tape);
    CHECK(memcmp(want, r.linear[1].w->grad, 18 * sizeof *want) == 0);
    r.in[0].grad = keep;
    rlm_free(want);
    rig_free(&r);
}

static void case_every_rule_was_tried(void)
{
    for (int op = 0; op < RLM_OPS; op++) {
        bool fused = op == RLM_OP_QKV || op == RLM_OP_MLP || op == RLM_OP_PAIR; /* best kernels */
        if (!world.seen[op] && !(fused && !world.best.mlp_save))
            TEST_FAILED("operation %d of tape.h has no gradient check", op);
    }
}

int main(int argc, char **argv)
{
    rlm_error err = {0};
    TEST_BEGIN(argc, argv);
    if (rlm_kernels_init_training(&world.reference, "ref", &err) ||
        rlm_kernels_init_training(&world.best, NULL, &err) || rlm_par_open(&world.par, 2, &err) ||
        rlm_arena_reserve(&world.arena, (size_t)1 << 32, &err) ||
        rlm_arena_commit(&world.arena, (size_t)64 << 20, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    TEST_CASE(case_linear);
    TEST_CASE(case_conv_video);
    TEST_CASE(case_conv_audio);
    TEST_CASE(case_rmsnorm);
    TEST_CASE(case_groupnorm);
    TEST_CASE(case_prepared);
    TEST_CASE(case_pair);
    TEST_CASE(case_act);
    TEST_CASE(case_add_modulate);
    TEST_CASE(case_swiglu_slice);
    TEST_CASE(case_rearrange);
    TEST_CASE(case_haar);
    TEST_CASE(case_lfq);
    TEST_CASE(case_embedding_gather);
    TEST_CASE(case_attention);
    TEST_CASE(case_block);
    TEST_CASE(case_again);
    TEST_CASE(case_block_best);
    TEST_CASE(case_conv_best);
    TEST_CASE(case_frozen);
    if (argc < 2)
        TEST_CASE(case_every_rule_was_tried);
    rlm_tape_free(&world.tape);
    rlm_tape_free(&world.again);
    rlm_arena_release(&world.arena);
    rlm_par_close(&world.par);
    return TEST_END();
}
