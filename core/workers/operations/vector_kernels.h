/* Inside of the operations: sums over vectors, in float32, built three times over one source (vector_body.h): plain C,
 * SSE2 and AVX2 with FMA. All add in eight or more lanes, so that the builds differ by rounding only: of n products at
 * most n × 2^-23 of the sum of their sizes. */
#ifndef LUADUCT_WORKERS_OPERATIONS_VECTOR_KERNELS_H
#define LUADUCT_WORKERS_OPERATIONS_VECTOR_KERNELS_H

#include <stddef.h>

/* Σ a·b and Σ a·a */
struct vector_sums {
    float dot, square;
};

struct vector_kernels {
    const char *name;
    /* a may lie at any multiple of 4 bytes, b too. */
    struct vector_sums (*floats)(const float *a, const float *b, size_t count);
    /* The same with a's doubles rounded to float32 first. */
    struct vector_sums (*doubles)(const double *a, const float *b, size_t count);
    void (*narrow)(const double *from, float *to, size_t count);
};

extern const struct vector_kernels vector_scalar;
#if defined(__x86_64__)
extern const struct vector_kernels vector_sse2, vector_avx2;
#endif

/* The widest that this processor has. */
static inline const struct vector_kernels *vector_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &vector_avx2;
    return &vector_sse2;
#else
    return &vector_scalar;
#endif
}

#endif
