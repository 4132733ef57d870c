/* Reconstruction and lookup-free quantisation losses. The LFQ loop touches elements here instead of
 * in a kernel: it serves one tensor of rows x 18 values a step (a ten-thousandth of the step's
 * arithmetic), exists only in training, and its two sums over rows are clearer beside the formula.
 */
#include "src/train/train.h"

#include <assert.h>
#include <math.h>

double rlm_loss_recon(rlm_run *run, int kind, const rlm_tensor *x, const float *target, float scale)
{
    return run->k->recon(run->par, kind, rlm_tensor_count(x), rlm_f32(x), target, scale,
                         rlm_grad(run, x));
}

enum { BITS_MAX = 64 };

static double sigmoid(double a)
{
    if (a >= 0)
        return 1.0 / (1.0 + exp(-a));
    double e = exp(a);
    return e / (1.0 + e);
}

/* Entropy of a coin whose logit is a: softplus(a) - a sigmoid(a), without overflow; nats. */
static double coin_entropy(double a, double p)
{
    return (a > 0 ? a : 0.0) + log1p(exp(-fabs(a))) - a * p;
}

/* log((1 - p) / p), finite at 0 and 1. */
static double entropy_slope(double p)
{
    const double tiny = 1e-12;
    return log((1.0 - p + tiny) / (p + tiny));
}

/* Gradient of bit value z: d/dz of the three terms, mean taken over rows (entropies) or all
 * (commit). p the coin of this bit, slope that of the mean coin. */
static double lfq_gradient(double z, double k, double p, double slope, double gamma,
                           double w_entropy, double w_commit)
{
    double dp = k * p * (1.0 - p);
    double sign = z > 0 ? 1.0 : -1.0;
    return w_entropy * dp * (-k * z - gamma * slope) + w_commit * 2.0 * (z - sign);
}

rlm_lfq_loss rlm_loss_lfq(rlm_run *run, const rlm_tensor *z, float tau, float gamma,
                          float w_entropy, float w_commit)
{
    int64_t rows = rlm_tensor_rows(z);
    int bits = (int)rlm_tensor_last(z);
    assert(bits <= BITS_MAX && rows > 0);
    const float *x = rlm_f32(z);
    double k = 4.0 / tau, mean[BITS_MAX] = {0}, slope[BITS_MAX];
    rlm_lfq_loss loss = {0};
    for (int64_t r = 0; r < rows; r++) {
        for (int b = 0; b < bits; b++) {
            double v = x[r * bits + b], a = k * v, p = sigmoid(a), d = v - (v > 0 ? 1.0 : -1.0);
            mean[b] += p;
            loss.token_entropy += coin_entropy(a, p);
            loss.commitment += d * d;
        }
    }
    for (int b = 0; b < bits; b++) {
        double p = mean[b] / (double)rows, q = 1.0 - p;
        loss.batch_entropy -= (p > 0 ? p * log(p) : 0.0) + (q > 0 ? q * log(q) : 0.0);
        slope[b] = entropy_slope(p);
    }
    loss.token_entropy /= (double)rows * bits;
    loss.batch_entropy /= bits;
    loss.commitment /= (double)rows * bits;
    float *dz = rlm_grad(run, z);
    if (!dz)
        return loss;
    double we = w_entropy / (double)rows, wc = w_commit / ((double)rows * bits);
    for (int64_t r = 0; r < rows; r++)
        for (int b = 0; b < bits; b++) {
            double v = x[r * bits + b];
            dz[r * bits + b] += (float)lfq_gradient(v, k, sigmoid(k * v), slope[b], gamma, we, wc);
        }
    return loss;
}
