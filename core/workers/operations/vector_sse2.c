/* The sums of vector_kernels.h with registers of four floats: every x86-64 has them. */
#if defined(__x86_64__)
#include <emmintrin.h>

#define VECTOR_KERNELS vector_sse2
#define VECTOR_NAME "sse2"
#define LANES 4
typedef __m128 lanes;

#define lanes_zero _mm_setzero_ps
#define lanes_load _mm_loadu_ps
#define lanes_store _mm_storeu_ps
#define lanes_add _mm_add_ps

static inline lanes lanes_narrow(const double *from)
{
    return _mm_movelh_ps(_mm_cvtpd_ps(_mm_loadu_pd(from)), _mm_cvtpd_ps(_mm_loadu_pd(from + 2)));
}

static inline lanes lanes_multiply_add(lanes a, lanes b, lanes sum)
{
    return _mm_add_ps(_mm_mul_ps(a, b), sum);
}

static inline float lanes_sum(lanes a)
{
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

#include "workers/operations/vector_body.h"
#endif
