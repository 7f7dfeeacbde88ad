/* The sums of vector_kernels.h without vectors: for other processors, and what the vector builds are tested against. */
#include "workers/operations/vector_kernels.h"

#define LANES 8

#define SUMS                                                                                                           \
    float dot[LANES] = {0}, square[LANES] = {0};                                                                       \
    for (size_t i = 0; i < count; i++) {                                                                               \
        float x = (float)a[i];                                                                                         \
        dot[i % LANES] += x * b[i];                                                                                    \
        square[i % LANES] += x * x;                                                                                    \
    }                                                                                                                  \
    struct vector_sums sums = {0, 0};                                                                                  \
    for (int i = 0; i < LANES; i++) {                                                                                  \
        sums.dot += dot[i];                                                                                            \
        sums.square += square[i];                                                                                      \
    }                                                                                                                  \
    return sums

static struct vector_sums sum_floats(const float *a, const float *b, size_t count)
{
    SUMS;
}

static struct vector_sums sum_doubles(const double *a, const float *b, size_t count)
{
    SUMS;
}

static void narrow(const double *from, float *to, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)from[i];
}

const struct vector_kernels vector_scalar = {"scalar", sum_floats, sum_doubles, narrow};
