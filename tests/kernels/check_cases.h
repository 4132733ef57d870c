/* One case of the kernel check: inputs, outputs and a call, the same for every table. */
#ifndef RLM_TESTS_CHECK_CASES_H
#define RLM_TESTS_CHECK_CASES_H

#include "src/kernels/kernels.h"

enum { CASE_INS = 7, CASE_OUTS = 4 };

/* How results are compared with the reference. */
typedef enum case_class {
    CASE_EXACT,   /* bit for bit */
    CASE_F32,     /* 1e-5 of a row's energy */
    CASE_PRODUCT, /* f32 levels 1e-5, bf16 levels 2^-8, of the energy of |x||w| */
    CASE_SOFT,    /* as PRODUCT, of a row's energy: what cannot be run on |x| */
    CASE_QUANT    /* of a row's energy; overlays may round x to 8 bits, or two products to bf16 */
} case_class;

typedef struct check_case check_case;
typedef void (*case_fn)(const rlm_kernels *k, rlm_par *par, check_case *c);

struct check_case {
    char name[120];
    case_class class;
    case_fn run;
    case_fn prepare; /* fills inputs from inputs with the reference (statistics, rstd); or NULL */
    int64_t in_size[CASE_INS], out_size[CASE_OUTS];
    int64_t out_row[CASE_OUTS]; /* elements of a row of energy; 0: all */
    float *in[CASE_INS], *out[CASE_OUTS];
    double allowed;       /* squared error in the energy, instead of the class's; 0: that */
    bool accumulates;     /* outputs start as noise; else as NaN */
    bool hostile;         /* also with an infinity and a NaN: they spoil their rows and no other */
    bool calm;            /* no large values: the operation is ill-conditioned there */
    rlm_weight_geom geom; /* of in[1], when cout > 0 */
    rlm_weight weight;    /* packed by the table that runs */
    bool packed;          /* use packings */
    unsigned levels;      /* only tables with one of these; 0: all */
    int32_t *ids;         /* ids_size of them, in [-1, ids_below) */
    int64_t ids_size;
    int ids_below;
    int p[8]; /* sizes and flags the call needs */
    rlm_conv_shape conv;
    rlm_groupnorm_shape groupnorm;
    rlm_shuffle_shape shuffle;
    rlm_haar_shape haar;
    rlm_spectrum_shape spectrum;
    rlm_rope_shape rope;
    rlm_attention_shape attention;
    rlm_cache_shape cache;
    rlm_adamw adamw;
    int prefix[4], length[4], seen[64];
    bool keep;   /* timing: what a call prepares is kept in `ready` */
    void *ready; /* heap */
};

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* Walks the table: each group is offered the index and takes it if it is in its range. */
typedef struct walk {
    int left; /* index within what is still to come */
} walk;

static inline bool take(walk *w, int count, int *i)
{
    if (w->left < count) {
        *i = w->left;
        return true;
    }
    w->left -= count;
    return false;
}

/* Offers the index to `variants` cases of every shape of a list; make(c, shape, variant). Used
 * where `w`, `bench` and `c` are in scope; returns true from there when one of them takes it. */
#define GROUP(list, bench_list, variants, make, item)                                              \
    do {                                                                                           \
        int count = bench ? COUNT(bench_list) : COUNT(list), i;                                    \
        if (take(w, count * (variants), &i)) {                                                     \
            int v = i % (variants), at = i / (variants);                                           \
            make(c, item(list, bench_list), v);                                                    \
            return true;                                                                           \
        }                                                                                          \
    } while (0)
#define ITEM(list, bench_list)    (bench ? bench_list[at] : list[at])
#define ADDRESS(list, bench_list) (bench ? &bench_list[at] : &list[at])

/* check_cases_sequence.c: rearrangement, quantisers, sequences. */
bool check_sequence_case_at(walk *w, bool bench, check_case *c);

/* check_cases_quant.c: what generation alone uses. */
bool check_quant_case_at(walk *w, bool bench, check_case *c);

/* check_cases_block.c: halves of a transformer block in training. */
bool check_block_case_at(walk *w, bool bench, check_case *c);
bool check_pair_case_at(walk *w, bool bench, check_case *c);

/* Case number i of the table, false past the end; bench: the large shapes to be timed. */
bool check_case_at(int i, bool bench, check_case *c);

#endif
