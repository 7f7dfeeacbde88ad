/* The sums of vector_kernels.h over lanes. Included by vector_sse2.c and vector_avx2.c, each of which defines before:
 *   VECTOR_KERNELS     the name of its struct vector_kernels, VECTOR_NAME the text for it
 *   LANES              floats in a register
 *   lanes              the register's type, with lanes_zero(), lanes_load(const float *), lanes_narrow(const double *),
 *                      lanes_store(float *, lanes), lanes_add(a, b), lanes_multiply_add(a, b, sum), lanes_sum(a)
 *
 * Four registers a sum hide the latency of the additions. */
#include "workers/operations/vector_kernels.h"

#define SUMS(LOAD)                                                                                                     \
    lanes dot[4], square[4];                                                                                           \
    for (int r = 0; r < 4; r++)                                                                                        \
        dot[r] = square[r] = lanes_zero();                                                                             \
    size_t i = 0;                                                                                                      \
    for (; count - i >= (size_t)4 * LANES; i += (size_t)4 * LANES) {                                                   \
        for (int r = 0; r < 4; r++) {                                                                                  \
            lanes x = LOAD(a + i + (size_t)r * LANES);                                                                 \
            dot[r] = lanes_multiply_add(x, lanes_load(b + i + (size_t)r * LANES), dot[r]);                             \
            square[r] = lanes_multiply_add(x, x, square[r]);                                                           \
        }                                                                                                              \
    }                                                                                                                  \
    for (; count - i >= LANES; i += LANES) {                                                                           \
        lanes x = LOAD(a + i);                                                                                         \
        dot[0] = lanes_multiply_add(x, lanes_load(b + i), dot[0]);                                                     \
        square[0] = lanes_multiply_add(x, x, square[0]);                                                               \
    }                                                                                                                  \
    struct vector_sums sums = {                                                                                        \
        lanes_sum(lanes_add(lanes_add(dot[0], dot[1]), lanes_add(dot[2], dot[3]))),                                    \
        lanes_sum(lanes_add(lanes_add(square[0], square[1]), lanes_add(square[2], square[3])))};                       \
    for (; i < count; i++) {                                                                                           \
        float x = (float)a[i];                                                                                         \
        sums.dot += x * b[i];                                                                                          \
        sums.square += x * x;                                                                                          \
    }                                                                                                                  \
    return sums

static struct vector_sums sum_floats(const float *a, const float *b, size_t count)
{
    SUMS(lanes_load);
}

static struct vector_sums sum_doubles(const double *a, const float *b, size_t count)
{
    SUMS(lanes_narrow);
}

static void narrow(const double *from, float *to, size_t count)
{
    size_t i = 0;
    for (; count - i >= LANES; i += LANES)
        lanes_store(to + i, lanes_narrow(from + i));
    for (; i < count; i++)
        to[i] = (float)from[i];
}

const struct vector_kernels VECTOR_KERNELS = {VECTOR_NAME, sum_floats, sum_doubles, narrow};
