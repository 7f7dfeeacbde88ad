/* The sums of vector_kernels.h with registers of eight floats. vector_best() calls them only where the processor has
 * AVX2 and FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define VECTOR_KERNELS vector_avx2
#define VECTOR_NAME "avx2"
#define LANES 8
typedef __m256 lanes;

#define lanes_zero _mm256_setzero_ps
#define lanes_load _mm256_loadu_ps
#define lanes_store _mm256_storeu_ps
#define lanes_add _mm256_add_ps
#define lanes_multiply_add _mm256_fmadd_ps

static inline lanes lanes_narrow(const double *from)
{
    return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(from + 4)), _mm256_cvtpd_ps(_mm256_loadu_pd(from)));
}

static inline float lanes_sum(lanes a)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

#include "workers/operations/vector_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
